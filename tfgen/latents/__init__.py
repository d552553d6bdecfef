"""Parts of latent-variable models: priors p(z) and approximate posteriors q(z | x)."""

from tfgen import needs_tensorflow as needs_tensorflow
from tfgen.latents.iaf import IAFPosterior
from tfgen.latents.laplace import LaplacePosterior
from tfgen.latents.posterior import DiagonalPosterior, FullCovariancePosterior, Posterior
from tfgen.latents.prior import (
    AutoregressiveFlowPrior,
    CouplingFlowPrior,
    FlowPrior,
    GaussianMixturePrior,
    Prior,
    StandardNormalPrior,
    VampPrior,
)

__all__ = [
    "AutoregressiveFlowPrior",
    "CouplingFlowPrior",
    "DiagonalPosterior",
    "FlowPrior",
    "FullCovariancePosterior",
    "GaussianMixturePrior",
    "IAFPosterior",
    "LaplacePosterior",
    "Posterior",
    "Prior",
    "StandardNormalPrior",
    "VampPrior",
]
