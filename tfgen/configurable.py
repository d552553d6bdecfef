"""Constructor arguments are the configuration."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras

from tfgen.checks import check_argument


@contextlib.contextmanager
def _dtype_policy_scope(dtype: Any) -> Iterator[None]:
    """Parts made in an owner's constructor take the owner's dtype policy, not the global one."""
    if dtype is None:
        yield
        return
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(dtype))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if "_arguments" in self.__dict__:  # called by the subclass's constructor, already recorded
            init(self, *args, **kwargs)
            return
        arguments: dict[str, Any] = {}
        for name, value in signature.bind(self, *args, **kwargs).arguments.items():
            kind = signature.parameters[name].kind
            arguments.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
        del arguments[next(iter(signature.parameters))]  # self
        # Past Keras's attribute tracking, which would wrap the containers.
        object.__setattr__(self, "_arguments", arguments)
        with _dtype_policy_scope(arguments.get("dtype")):
            init(self, *args, **kwargs)
            self._constructed()

    # Keras reads the argument names without following `__wrapped__`.
    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


class Configurable:
    """Mixin: `get_config` is what the constructor received, for layers, models and plain objects.

    Every subclass is registered with Keras under its top-level package's name and its own, so
    subclasses write neither `get_config` nor a decorator. Put it first among the bases:
    `class Squeeze(Configurable, keras.Layer)`. A constructor may not take `*args`. A second class
    of one name in a package takes another one in files: `class Block(Configurable,
    registered_name="PixelBlock")`.

    A part that a layer or model makes in its own constructor gets the owner's `dtype` policy.
    (Plain Keras gives it the global policy, so that `Model(dtype="mixed_bfloat16")` computes in
    float32 below its first level.)

    Attributes:
        passes_masks: whether a layer hands on Keras's mask of time steps; all others refuse one.
    """

    passes_masks = False
    _arguments: dict[str, Any]

    def __init_subclass__(cls, registered_name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        package = cls.__module__.partition(".")[0]
        keras.saving.register_keras_serializable(package, registered_name)(cls)
        if "__init__" in cls.__dict__:
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def _constructed(self) -> None:
        """Called once, after the outermost constructor has returned."""

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Keras's hook, called where an input carries a mask of time steps.

        Raises:
            ValueError: unless `passes_masks`. (Plain Keras warns, and counts masked steps as data.)
        """
        refused = [mask for mask in keras.tree.flatten(previous_mask) if mask is not None]
        allowed = f"None: {type(self).__name__} treats all of its input as data"
        check_argument(self.passes_masks or not refused, "mask", allowed, refused)
        return previous_mask

    def get_config(self) -> dict[str, Any]:
        config = {
            name: keras.saving.serialize_keras_object(value)
            for name, value in self.__dict__.get("_arguments", {}).items()
        }
        if isinstance(self, keras.Layer):
            config["name"] = self.name
            config["trainable"] = self.trainable
            config["dtype"] = keras.dtype_policies.serialize(self.dtype_policy)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        arguments = {
            name: keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
            if isinstance(value, dict | list)
            else value
            for name, value in config.items()
        }
        return cls(**arguments)
