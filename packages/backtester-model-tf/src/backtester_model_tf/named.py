"""Calls of what a configuration names: arguments are checked first, and refusals lead back to the option."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from backtester_model_core.exceptions import ConfigError
from backtester_model_tf.backend import tf

REFUSALS = (
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    AssertionError,
    tf.errors.OpError,
)
"""What Keras and TensorFlow raise on arguments and shapes that they cannot take."""


def keras_classes(module: Any, base: type) -> dict[str, Any]:
    """Return the public classes of a module of Keras's that descend from a base class, by name."""
    found = {name: getattr(module, name) for name in dir(module) if name[0].isupper()}
    return {
        name: thing
        for name, thing in found.items()
        if inspect.isclass(thing) and issubclass(thing, base) and thing is not base
    }


def call_named(
    option: str,
    name: str,
    thing: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    refused: Mapping[str, str],
    given: Mapping[str, Any] | None = None,
    further: Iterable[str] = (),
) -> Any:
    """Call what a name stands for with the arguments of a configuration.

    Args:
        option: Where the name stands, for messages.
        name: The name.
        thing: What it stands for.
        arguments: Arguments of the configuration.
        refused: Arguments that may not be set, each with the reason.
        given: Arguments that are set for it.
        further: Arguments that it takes although its signature does not name them.

    Raises:
        ConfigError: When it does not have an argument, or refuses its value.
    """
    parameters = inspect.signature(thing).parameters.values()
    is_open = any(one.kind is one.VAR_KEYWORD for one in parameters) and not _is_of_keras(thing)
    known = [one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    valid = sorted({*known, *further} - {*refused, *(given or {})})
    for argument, value in arguments.items():
        if argument in refused:
            raise ConfigError(f"{option} {name!r}: {argument} = {value!r} is refused: {refused[argument]}.")
        if argument not in valid and not is_open:
            raise ConfigError.unknown(f"argument of {option} {name!r}:", argument, valid)
    try:
        return thing(**(given or {}), **arguments)
    except REFUSALS as error:
        raise ConfigError(f"{option} {name!r} refuses its arguments: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message: Keras writes pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _is_of_keras(thing: Callable[..., Any]) -> bool:
    return thing.__module__.split(".")[0] == "keras"
