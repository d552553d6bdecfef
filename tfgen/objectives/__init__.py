"""Objectives: what is minimised over a model."""

from tfgen.objectives.causal import CausalELBO
from tfgen.objectives.elbo import ELBO
from tfgen.objectives.iwae import IWAE
from tfgen.objectives.mutual_posterior import MutualPosterior
from tfgen.objectives.negative_log_prob import NegativeLogProb
from tfgen.objectives.objective import Objective, Player

__all__ = [
    "ELBO",
    "IWAE",
    "CausalELBO",
    "MutualPosterior",
    "NegativeLogProb",
    "Objective",
    "Player",
]
