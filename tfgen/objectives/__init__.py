"""Objectives: what is minimised over a model."""

from tfgen import needs_tensorflow as needs_tensorflow
from tfgen.objectives.causal import CausalELBO
from tfgen.objectives.causal_baselines import (
    BNM,
    CNBB,
    DAN,
    CrossEntropy,
    DomainAdversarial,
    MarginDisparity,
)
from tfgen.objectives.elbo import ELBO
from tfgen.objectives.iwae import IWAE
from tfgen.objectives.mutual_posterior import MutualPosterior
from tfgen.objectives.negative_log_prob import NegativeLogProb
from tfgen.objectives.objective import Objective, Player

__all__ = [
    "BNM",
    "CNBB",
    "DAN",
    "ELBO",
    "IWAE",
    "CausalELBO",
    "CrossEntropy",
    "DomainAdversarial",
    "MarginDisparity",
    "MutualPosterior",
    "NegativeLogProb",
    "Objective",
    "Player",
]
