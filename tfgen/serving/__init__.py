"""Models as SavedModels that any TensorFlow runtime serves: written, warmed up, described, checked.

`tfgen.export` is the way in; `session.py` and `warmup.py` hold what a server does with the result.
"""

from tfgen import needs_tensorflow as needs_tensorflow
