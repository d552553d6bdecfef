"""Command-line apps, one for each verb: `python -m apps.<verb>`."""
