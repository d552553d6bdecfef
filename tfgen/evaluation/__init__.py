"""Evaluation: quantities that need a trained model and a split."""

from tfgen.evaluation.likelihood import Likelihood

__all__ = ["Likelihood"]
