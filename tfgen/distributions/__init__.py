"""Distributions and likelihoods that TFP lacks."""

from tfgen import needs_tensorflow as needs_tensorflow
from tfgen.distributions.autoregressive_likelihood import AutoregressiveLikelihood
from tfgen.distributions.discretized_logistic import DiscretizedLogistic
from tfgen.distributions.discretized_logistic_mixture import MixtureOfDiscretizedLogistics
from tfgen.distributions.flow_distribution import FlowDistribution
from tfgen.distributions.likelihood import (
    Bernoulli,
    Categorical,
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianMixture,
    Likelihood,
)
from tfgen.distributions.model_distribution import ModelDistribution

__all__ = [
    "AutoregressiveLikelihood",
    "Bernoulli",
    "Categorical",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "FlowDistribution",
    "Gaussian",
    "GaussianMixture",
    "Likelihood",
    "MixtureOfDiscretizedLogistics",
    "ModelDistribution",
]
