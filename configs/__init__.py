"""Experiments: one file for each system and data set."""
