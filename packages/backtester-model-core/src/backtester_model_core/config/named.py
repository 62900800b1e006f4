"""A thing chosen by its name, with plain arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import pydantic

from backtester_model_core.config.groups import Group, Name

MAX_ITEMS = 1000
MAX_TEXT = 200
MAX_DEPTH = 2


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a number, a text or a list of those, with lists as tuples; refuse anything else.

    Infinity and NaN are refused because JSON, in which configurations are recorded, does not have them.
    """
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    if isinstance(value, (list, tuple)) and len(value) <= MAX_ITEMS and depth < MAX_DEPTH:
        return tuple(_plain(item, depth + 1) for item in value)
    raise ValueError(
        f"a parameter is a finite number, a text of at most {MAX_TEXT} characters, true, false, or a list of "
        f"those, at most {MAX_ITEMS} long and {MAX_DEPTH} deep"
    )


def name_as_table(value: Any) -> Any:
    """Take a bare name such as ``"adam"`` for the table ``{name = "adam"}``."""
    return {"name": value} if isinstance(value, str) else value


PlainValue: TypeAlias = Annotated[Any, pydantic.BeforeValidator(_plain)]


class Named(Group):
    """A bare name, or a table of the name and its arguments, such as ``{name = "sgd", momentum = 0.9}``."""

    name: Name = pydantic.Field(description="What is chosen.")
    arguments: dict[Name, PlainValue] = pydantic.Field(
        default_factory=dict, max_length=100, description="Its arguments, checked by who knows the name."
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_short_forms(cls, value: Any) -> Any:
        table = name_as_table(value)
        if isinstance(table, Mapping) and "arguments" not in table:
            arguments = {key: item for key, item in table.items() if key != "name"}
            return {**{key: table[key] for key in ("name",) if key in table}, "arguments": arguments}
        return table
