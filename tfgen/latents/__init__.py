"""Parts of latent-variable models: priors p(z) and approximate posteriors q(z | x)."""

from tfgen.latents.posterior import DiagonalPosterior, Posterior
from tfgen.latents.prior import Prior, StandardNormalPrior

__all__ = [
    "DiagonalPosterior",
    "Posterior",
    "Prior",
    "StandardNormalPrior",
]
