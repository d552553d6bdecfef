"""Training: one run from a config, in a working directory."""

from tfgen.training.run import load, train

__all__ = ["load", "train"]
