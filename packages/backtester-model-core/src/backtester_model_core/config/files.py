"""From a file or a mapping to a configuration, or to one error that names every key at fault."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import pydantic

from backtester_model_core.exceptions import MAX_FAULTS_SHOWN, ConfigError, MissingExtraError, nearest

if TYPE_CHECKING:
    import yaml

MAX_CONFIG_BYTES = 1_000_000
MAX_YAML_NODES = 100_000
"""Values in a YAML file, those behind an alias counted each time: a few lines can stand for billions."""
MAX_TOML_DOTS = 4_000_000
"""Sum over lines of the dots squared: memory that dotted keys, ``a.b.c = 1``, may take to read."""

ConfigT = TypeVar("ConfigT", bound=pydantic.BaseModel)


def parse_config(config_class: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Validate a mapping as one configuration class.

    Raises:
        ConfigError: With one line for each key at fault and the nearest valid name; all are counted, twenty shown.
    """
    try:
        return config_class.model_validate(dict(values))
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False)
        lines = [f"{len(found)} fault{'s' if len(found) != 1 else ''} in the {config_class.__name__}:"]
        lines += [f"  - {_explain(config_class, fault)}" for fault in found[:MAX_FAULTS_SHOWN]]
        if len(found) > MAX_FAULTS_SHOWN:
            lines.append(f"  (and {len(found) - MAX_FAULTS_SHOWN:,} more)")
        raise ConfigError("\n".join(lines)) from error


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
        with file.open("rb") as stream:
            raw = stream.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). Check the path.") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{file}: too large; a configuration has at most {MAX_CONFIG_BYTES:,} bytes")
    try:
        values = _parse_text(raw.decode("utf-8-sig"), suffix)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid {suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{file}: the top level must be a table of names and values")
    return values


def _parse_text(text: str, suffix: str) -> Any:
    if suffix == ".toml":
        if sum(line.count(".") ** 2 for line in text.split("\n")) > MAX_TOML_DOTS:
            raise ValueError("keys with too many dots")
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    return _parse_yaml(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, and refuse a key that is given twice: the first would be lost."""
    _check_keys(name for name, _ in pairs)
    return dict(pairs)


def _check_keys(keys: Iterable[str]) -> None:
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} is given twice")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _parse_yaml(text: str) -> Any:
    """Construct plain values only, once it is known how many the text stands for."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError.needs("Reading a YAML configuration", "yaml") from error
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _check_nodes(root)
        return loader.construct_document(root)
    except (yaml.YAMLError, AttributeError, LookupError, TypeError) as error:
        # Beside its own errors the loader lets slip what a tag such as !!timestamp makes of odd text.
        raise ValueError(str(error)) from error


def _check_nodes(root: yaml.Node) -> None:
    """Refuse aliases that stand for too much or for themselves, and keys that are given twice."""
    sizes: dict[int, int | None] = {}

    def count(node: yaml.Node) -> int:
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                raise ValueError("an alias stands for something that holds it")
            return known
        sizes[id(node)] = None
        size = 1
        for child in _children(node):
            size += count(child)
            if size > MAX_YAML_NODES:
                raise ValueError(f"more than {MAX_YAML_NODES:,} values, those behind aliases counted")
        sizes[id(node)] = size
        return size

    count(root)


def _children(node: yaml.Node) -> list[yaml.Node]:
    """Return what a YAML sequence or mapping holds; nothing for a scalar."""
    held: list[Any] = node.value if isinstance(node.value, list) else []
    pairs = [entry for entry in held if isinstance(entry, tuple)]
    _check_keys(key.value for key, _ in pairs if isinstance(key.value, str) and key.value != "<<")
    return [part for pair in pairs for part in pair] if pairs else held


_SHORT = Repr()
_SHORT.maxlevel = 1
_SHORT.maxstring = _SHORT.maxother = 60


def _explain(config_class: type[pydantic.BaseModel], fault: Any) -> str:
    """Write one validation fault as a sentence that names the key and the nearest valid name."""
    location = [part for part in fault["loc"] if isinstance(part, str)]
    where = ".".join(str(part) for part in fault["loc"]) or "the configuration"
    given = _SHORT.repr(fault["input"])
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key. {nearest(location[-1], _group_at(config_class, location[:-1]).model_fields)}"
    if fault["type"] == "missing":
        return f"{where}: required, but not given"
    if fault["type"] == "union_tag_invalid":
        valid = [part.strip(" '") for part in fault["ctx"]["expected_tags"].split(",")]
        kind, tag = fault["ctx"]["discriminator"].strip("'"), fault["ctx"]["tag"]
        return f"{where}: unknown {kind} {tag!r}. {nearest(tag, valid)}"
    if fault["type"] == "union_tag_not_found":
        kind = fault["ctx"]["discriminator"].strip("'")
        return f"{where}.{kind}: required, but not given"
    if fault["type"] == "literal_error":
        valid = [part.strip(" '") for part in fault["ctx"]["expected"].replace(" or ", ", ").split(",")]
        hint = nearest(fault["input"], valid) if isinstance(fault["input"], str) else ""
        near = f"{hint} " if hint.startswith("Did") else ""
        return f"{where}: {given} is not valid. {near}Valid: {', '.join(valid)}."
    message = fault["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(fault["input"], (dict, pydantic.BaseModel)) else f" (given {given})"
    return f"{where}: {message[:1].lower()}{message[1:]}{shown}"


def _group_at(config_class: type[pydantic.BaseModel], path: list[str]) -> type[pydantic.BaseModel]:
    """Follow a path of field names, and of the tags that choose among several groups, to the group at its end."""
    group, choice = config_class, list[type[pydantic.BaseModel]]()
    for name in path:
        if name in group.model_fields:
            choice = list(_groups_in(group.model_fields[name].annotation))
        group = next((one for one in choice if len(choice) == 1 or name in _tags(one)), group)
    return group


def _groups_in(*annotations: Any) -> Iterator[type[pydantic.BaseModel]]:
    """Find the groups inside an annotation, such as those of a list or of a choice."""
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            yield annotation
        else:
            yield from _groups_in(*get_args(annotation))


def _tags(group: type[pydantic.BaseModel]) -> set[str]:
    """Return the values that choose this group among several."""
    fields = (group.model_fields[name] for name in ("type", "name") if name in group.model_fields)
    return {str(value) for field in fields for value in get_args(field.annotation)}
