"""Training: one run from a config, in a working directory."""

from tfgen import needs_tensorflow as needs_tensorflow
from tfgen.training.run import load, train

__all__ = ["load", "train"]
