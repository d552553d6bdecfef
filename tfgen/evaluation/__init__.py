"""Evaluation: quantities that need a trained model and a split."""

from tfgen.evaluation.active_units import active_units
from tfgen.evaluation.likelihood import Likelihood

__all__ = ["Likelihood", "active_units"]
