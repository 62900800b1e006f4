"""From a file or a mapping to a configuration, or to one error that names every key at fault."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from backtester_model_core.config.model import ModelConfig
from backtester_model_core.exceptions import ConfigError, MissingExtraError, nearest

MAX_CONFIG_BYTES = 1_000_000

ConfigT = TypeVar("ConfigT", bound=ModelConfig)


def parse_config(config_class: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Validate a mapping as one configuration class.

    Raises:
        ConfigError: With one line for each key at fault and the nearest valid name.
    """
    try:
        return config_class.model_validate(dict(values))
    except pydantic.ValidationError as error:
        lines = [_explain(config_class, fault) for fault in error.errors(include_url=False)]
        plural = "s" if len(lines) != 1 else ""
        header = f"{len(lines)} fault{plural} in the {config_class.__name__}:"
        raise ConfigError("\n".join([header, *(f"  - {line}" for line in lines)])) from error


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Read a TOML, JSON or YAML file into a mapping, without running anything in it.

    Raises:
        ConfigError: When the file is missing, too large, not a mapping, or cannot be parsed.
        MissingExtraError: For YAML without the ``yaml`` extra.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in {".toml", ".json", ".yaml", ".yml"}:
        raise ConfigError(f"{file}: a configuration ends in .toml, .json, .yaml or .yml")
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). Check the path.") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{file}: {len(raw):,} bytes; a configuration has at most {MAX_CONFIG_BYTES:,}")
    try:
        values = _parse_text(raw.decode("utf-8"), suffix)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid {suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{file}: the top level must be a table of names and values")
    return values


def _parse_text(text: str, suffix: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text)
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError.needs("Reading a YAML configuration", "yaml") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _explain(config_class: type[pydantic.BaseModel], fault: Any) -> str:
    """Write one validation fault as a sentence that names the key and the nearest valid name."""
    location = [part for part in fault["loc"] if isinstance(part, str)]
    where = ".".join(str(part) for part in fault["loc"]) or "the configuration"
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key. {nearest(location[-1], _group_at(config_class, location[:-1]).model_fields)}"
    if fault["type"] == "missing":
        return f"{where}: required, but not given"
    if fault["type"] == "literal_error":
        valid = [part.strip(" '") for part in fault["ctx"]["expected"].replace(" or ", ", ").split(",")]
        given = fault["input"]
        return f"{where}: {given!r} is not valid. {nearest(str(given), valid)} Valid: {', '.join(valid)}."
    message = fault["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(fault["input"], (dict, pydantic.BaseModel)) else f" (given {fault['input']!r})"
    return f"{where}: {message[:1].lower()}{message[1:]}{shown}"


def _group_at(config_class: type[pydantic.BaseModel], path: list[str]) -> type[pydantic.BaseModel]:
    """Follow a path of field names down to the group that holds the last of them."""
    group = config_class
    for name in path:
        annotation = group.model_fields[name].annotation if name in group.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            group = annotation
    return group
