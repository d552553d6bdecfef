"""Argument checks whose messages name the argument, what is allowed and what came."""

from typing import Any

import keras


def check_argument(condition: Any, name: str, allowed: str, received: Any) -> None:
    """Raises `ValueError("<name> must be <allowed>; received: <received>")` unless `condition`."""
    if not condition:
        raise ValueError(f"{name} must be {allowed}; received: {received!r}.")


def check_integer(name: str, value: Any, minimum: int) -> None:
    """Raises `ValueError` unless `value` is an integer of at least `minimum`."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    check_argument(is_integer and value >= minimum, name, f"an integer >= {minimum}", value)


def check_one_of(name: str, value: Any, allowed: Any) -> None:
    """Raises `ValueError` unless `value` is among `allowed`."""
    listed = ", ".join(repr(item) for item in allowed)
    check_argument(value in allowed, name, f"one of {listed}", value)


def check_backend(name: str) -> None:
    """Raises `ImportError` unless Keras runs on TensorFlow, which `name` needs."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ImportError(
            f"{name} needs Keras's TensorFlow backend; received: {backend!r}. Set "
            "KERAS_BACKEND=tensorflow. Under JAX there are the layers of tfgen.layers."
        )
