"""Distributions and likelihoods that TFP lacks."""

from tfgen.distributions.likelihood import Bernoulli, Categorical, Likelihood

__all__ = ["Bernoulli", "Categorical", "Likelihood"]
