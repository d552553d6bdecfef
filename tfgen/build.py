"""From a specification, `{"type": "RealNVP", "event_shape": (8, 8, 1)}`, to an object."""

import difflib
import importlib
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tfgen.checks import check_argument
from tfgen.configurable import Configurable

_KERAS_LAYER_ARGUMENTS = {"name", "dtype", "trainable"}


def build(namespace: ModuleType, spec: Any, **arguments: Any) -> Any:
    """Builds the object that `spec` describes; an object that is already built passes through.

    Args:
        namespace: the module in whose index a plain type name is looked up, e.g. `tfgen.models`.
        spec: a mapping with the key `type` and the constructor's arguments. A dotted type,
            `"my_package.models.MyFlow"`, is imported, so that outside classes need no registry.
        **arguments: further constructor arguments, used where `spec` does not give its own.

    Raises:
        ValueError: an unknown type or argument; the message lists what is allowed.
    """
    if not isinstance(spec, Mapping):
        return spec
    given = dict(spec)
    check_argument("type" in given, "spec", "a mapping with the key 'type'", given)
    name = given.pop("type")
    cls = _resolve(namespace, name)
    allowed = constructor_arguments(cls)
    for key in given:
        if key not in allowed:
            close = difflib.get_close_matches(key, allowed, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{name} has no argument {key!r}.{hint} Allowed: {', '.join(sorted(allowed))}."
            )
    given = {**{k: v for k, v in arguments.items() if k in allowed}, **given}
    try:
        return cls(**given)
    except TypeError as error:
        raise ValueError(f"{name} could not be built from {given}: {error}") from error


def constructor_arguments(cls: type) -> set[str]:
    """The names that `cls(...)` accepts, superclasses' keyword arguments included."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base is Configurable or base is object:
            break
        if "__init__" not in base.__dict__:
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        names |= {p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD}
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            return names
    return names | _KERAS_LAYER_ARGUMENTS


def _resolve(namespace: ModuleType, name: Any) -> type:
    if isinstance(name, str) and "." in name:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"type {name!r} cannot be imported: {error}") from error
        return found
    index = [
        key
        for key, value in vars(namespace).items()
        if isinstance(value, type) and issubclass(value, Configurable)
    ]
    if name not in index:
        raise ValueError(
            f"type must be one of {', '.join(sorted(index))} (the index of {namespace.__name__}) "
            f"or a dotted name; received: {name!r}."
        )
    return getattr(namespace, name)
