"""Command-line apps, one for each verb: `python -m apps.<verb>`."""

import os

# TensorFlow reports a missing GPU as errors; Python's own messages say what matters to the user.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
