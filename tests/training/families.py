"""A small model of each family, with the noise that it trains with, and a batch of eight."""

import keras
import numpy as np

from tfgen import models, objectives
from tfgen.build import build

LEARNING_RATE = 0.01
IMAGE, LEVELS = (4, 4, 1), 5
ADAPTATION = [0, -1, 1, -1, 1, -1, 0, -1]  # labels in turn with unlabelled examples
DOMAINS = [[0, 0], [1, 1], [0, 1], [1, 0], [0, 0], [1, 1], [0, 1], [1, 0]]
LABELLED = {"num_classes": 2, "encoder": {"type": "MLPEncoder", "units": [4]}}
CAUSAL = {
    **LABELLED,
    "decoder": {"type": "MLPDecoder", "units": [4]},
    "semantic_size": 2,
    "variation_size": 1,
}


def _images(model, objective=None, y=None, **arguments):
    return {"type": model, "event_shape": IMAGE, "num_levels": LEVELS, **arguments}, objective, y


# Arguments of the model, of its objective (None: its own) and the conditions (None: of the class).
FAMILIES = {
    "made": _images("MADE", hidden=[8], dropout=0.5),
    "pixelcnn": _images("PixelCNN", filters=4, num_blocks=1, top_filters=4),
    "gated pixelcnn": _images("GatedPixelCNN", filters=4, num_layers=1, num_classes=2),
    "pixelrnn": _images("PixelRNN", filters=4, num_layers=1),
    "pixelcnn++": _images("PixelCNNPP", filters=4, num_blocks=1, num_mixtures=2, num_scales=1),
    "wavenet": (
        {
            "type": "WaveNet",
            "event_shape": (12,),
            "num_levels": LEVELS,
            "num_classes": 2,
            "dilations": (1, 2),
            "num_stacks": 1,
        },
        None,
        None,
    ),
    "nice": _images("NICE", units=8, num_layers=1),
    "realnvp": _images("RealNVP", num_scales=1, num_couplings=1, filters=4, num_blocks=1),
    "glow": _images("Glow", num_scales=1, num_steps=1, filters=4),
    "maf": ({"type": "MAF", "event_shape": (3,), "num_layers": 2, "hidden": [6]}, None, None),
    "vae": _images("VAE", latent_shape=[3]),
    "iwae": _images("VAE", {"type": "IWAE", "num_samples": 3}, latent_shape=[3]),
    "mutual posterior": _images("VAE", {"type": "MutualPosterior"}, latent_shape=[3]),
    "vae, vampprior": _images(
        "VAE", latent_shape=[3], prior={"type": "VampPrior", "num_components": 2}
    ),
    "vae, iaf": _images("VAE", latent_shape=[3], posterior={"type": "IAFPosterior"}),
    "laplace vae": (
        {
            "type": "VAE",
            "event_shape": (5,),
            "latent_shape": [3],
            "likelihood": {"type": "Gaussian"},
            "posterior": {"type": "LaplacePosterior"},
        },
        None,
        None,
    ),
    "resnet iaf vae": _images("ResNetIAFVAE", filters=4, depths=(1,), latent_channels=2),
    "csg": _images("CSG", **CAUSAL),
    "csg-da": _images(
        "CSG",
        {"type": "CausalELBO", "adaptation_weight": 0.1},
        ADAPTATION,
        **CAUSAL,
        test_prior="adapted",
    ),
    "lacim": _images("LaCIM", None, DOMAINS, **CAUSAL, num_domains=2),
    "classifier": _images("Classifier", **LABELLED),
    "dann": _images(
        "Classifier",
        {"type": "DomainAdversarial", "weight": 0.5},
        ADAPTATION,
        **LABELLED,
        adversary={"type": "DomainAdversary", "units": [4]},
    ),
}


def made(name):
    """A compiled model and its batch (x, y) of eight; y is None where nothing is conditioned."""
    spec, objective, y = FAMILIES[name]
    keras.utils.set_random_seed(0)
    model = build(models, spec)
    model.compile(
        objective=None if objective is None else build(objectives, objective),
        optimizer=keras.optimizers.SGD(LEARNING_RATE),
        jit_compile=False,
    )
    rng = np.random.default_rng(1)
    if model.num_levels is None:
        x = rng.normal(size=(8, *model.event_shape)).astype("float32")
    else:
        x = rng.integers(0, model.num_levels, (8, *model.event_shape)).astype("uint8")
    if y is None and model.num_classes is not None:
        y = np.arange(8) % model.num_classes
    return model, x, None if y is None else np.asarray(y, "int32")
