"""Evaluation: quantities that need a trained model and a split."""

from tfgen import needs_tensorflow as needs_tensorflow
from tfgen.evaluation.active_units import active_units
from tfgen.evaluation.inference_gap import inference_gap
from tfgen.evaluation.likelihood import Likelihood
from tfgen.evaluation.mutual_information import mutual_information
from tfgen.evaluation.representation import representation

__all__ = [
    "Likelihood",
    "active_units",
    "inference_gap",
    "mutual_information",
    "representation",
]
