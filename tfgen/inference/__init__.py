"""tfgen.inference"""

from tfgen import needs_tensorflow as needs_tensorflow
