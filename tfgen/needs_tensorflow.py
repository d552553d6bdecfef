"""An `ImportError` under other backends: the first import of every package that needs TensorFlow.

Distributions and bijectors are TensorFlow Probability's, data are `tf.data`'s, and what is served
is a SavedModel.
"""

from tfgen.checks import check_backend

check_backend("This part of tfgen")
