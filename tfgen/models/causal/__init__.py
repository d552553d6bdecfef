"""Models of images and labels whose latents are split into causes of the label and the rest."""
