"""Objectives: what is minimised over a model."""

from tfgen.objectives.negative_log_prob import NegativeLogProb
from tfgen.objectives.objective import Objective, Player

__all__ = ["NegativeLogProb", "Objective", "Player"]
