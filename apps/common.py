"""What the apps share: user errors as one line, and tables."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from absl import app, flags, logging


def run(main: Callable[..., None], usage: str, takes_arguments: bool = False) -> None:
    """Runs an app; an error of the user's is one line on standard error and exit status 2.

    Args:
        main: the app.
        usage: an example of how it is called.
        takes_arguments: give `main` the list of arguments that are no flags; else there are none.
    """

    def guarded(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # TensorFlow Datasets reports its every step
        try:
            if takes_arguments:
                main(argv[1:])
                return
            if len(argv) > 1:
                raise ValueError(f"arguments must be --flags; received: {argv[1:]}. {usage}")
            main()
        # ImportError: an extra that is not installed; FloatingPointError: a training that diverged.
        except (ValueError, OSError, ImportError, FloatingPointError) as error:
            fail(str(error))

    app.run(guarded, flags_parser=_parse)


def fail(message: str) -> None:
    """Prints the message as one line and leaves with status 2."""
    if "Traceback" in message:  # a config file's own error, as the flags library wraps it
        message = message.strip().splitlines()[-1]
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _parse(argv: list[str]) -> list[str]:
    """Config files and overrides are read here: their errors are the user's as well."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        fail(str(error))
    except (AttributeError, KeyError, TypeError, OSError, ImportError) as error:
        fail(f"--config: {error.args[0] if error.args else error}")
    return argv


def table(values: Mapping[str, Any]) -> str:
    """Two aligned columns; what is None is left out."""
    rows = [(key, _format(value)) for key, value in values.items() if value is not None]
    width = max(len(key) for key, _ in rows)
    return "\n".join(f"  {key:<{width}}  {value}" for key, value in rows)


def _format(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    if isinstance(value, list) and len(value) > 8 and all(isinstance(v, float) for v in value):
        return f"{len(value)} values from {_format(min(value))} to {_format(max(value))}"
    return str(value)
