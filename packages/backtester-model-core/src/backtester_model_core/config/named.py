"""A thing chosen by its name, with plain arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import pydantic

from backtester_model_core.config.groups import Group, Name

MAX_ITEMS = 1000
MAX_TEXT = 200


def plain_data(*, max_depth: int, has_tables: bool = False) -> pydantic.BeforeValidator:
    """Let a number, a text or a list of those through, with lists as tuples; refuse anything else.

    Infinity and NaN are refused because JSON, in which configurations are recorded, does not have them.

    Args:
        max_depth: How deep lists may be nested.
        has_tables: Whether tables of those go through, too.
    """
    held = "list or table" if has_tables else "list"

    def check(value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if isinstance(value, str) and len(value) <= MAX_TEXT:
            return value
        if depth < max_depth and isinstance(value, (list, tuple)) and len(value) <= MAX_ITEMS:
            return tuple(check(item, depth + 1) for item in value)
        if depth < max_depth and has_tables and isinstance(value, Mapping) and len(value) <= MAX_ITEMS:
            return {str(key): check(item, depth + 1) for key, item in value.items()}
        raise ValueError(
            f"a parameter is a finite number, a text of at most {MAX_TEXT} characters, true, false, or a {held} of "
            f"those, at most {MAX_ITEMS} long and {max_depth} deep"
        )

    return pydantic.BeforeValidator(check)


def name_as_table(value: Any) -> Any:
    """Take a bare name such as ``"adam"`` for the table ``{name = "adam"}``."""
    return {"name": value} if isinstance(value, str) else value


PlainValue: TypeAlias = Annotated[Any, plain_data(max_depth=2)]


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
