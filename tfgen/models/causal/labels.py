"""Labels of domains, some of them unknown."""

from typing import Any

import tensorflow as tf

from tfgen.checks import check_argument

UNLABELLED = -1  # the label of an image of the test domain


def one_hot(y: Any, num_classes: int, dtype: Any, what: str = "labels") -> tf.Tensor:
    """`[B, C]`; of `UNLABELLED` all zeros.

    Raises:
        ValueError: other types or shapes, or a label outside 0..C-1.
    """
    y = tf.convert_to_tensor(y)
    integer = y.dtype.is_integer and y.shape.rank in (0, 1)
    check_argument(integer, "y", f"integer {what} of shape ['B']", f"{y.dtype.name} {y.shape}")
    if tf.executing_eagerly():
        inside = bool(tf.reduce_all((y >= UNLABELLED) & (y < num_classes)))
        allowed = f"{what} 0..{num_classes - 1}, or {UNLABELLED} for none"
        check_argument(inside, "y", allowed, y.numpy())
    return tf.one_hot(y, num_classes, dtype=dtype)


def split_domains(y: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Labels and domains of y `[B, 2]`; of y `[B]` no domains."""
    y = tf.convert_to_tensor(y)
    if y.shape.rank == 2 and y.shape[1] == 2:
        return y[:, 0], y[:, 1]
    return y, None
