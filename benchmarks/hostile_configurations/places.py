"""Every place in a configuration that takes a text, found in the JSON schemas of the installed classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MARK = "\x00the text\x00"
MAX_DEPTH = 5


MEANT = {
    "sklearn": [
        *({"hyperparameters": {name: MARK}} for name in ("solver", "class_weight", "warm_start", "max_iter")),
        {"model_class": "RandomForestClassifier", "hyperparameters": {"criterion": MARK}},
        {"model_class": "RandomForestClassifier", "hyperparameters": {"max_features": MARK}},
        {
            "model_class": "HistGradientBoostingClassifier",
            "hyperparameters": {"categorical_features": [MARK]},
        },
        {"model_class": "MLPClassifier", "hyperparameters": {"activation": MARK, "max_iter": 2}},
        {"model_class": "SVC", "hyperparameters": {"kernel": MARK}},
        {"model_class": "VotingClassifier", "hyperparameters": {"estimators": [[MARK, MARK]]}},
        {"preprocessing": [{"name": "pca", "svd_solver": MARK}]},
        {"preprocessing": [{"name": "quantile_transformer", "output_distribution": MARK}]},
    ],
    "isolated": [
        {"python": MARK, "adapter": "sklearn"},
        {"python": "/usr/bin/python3", "adapter": MARK},
        {"python": "/usr/bin/python3", "adapter": "sklearn", "options": {"model_class": MARK}},
    ],
    "pytorch": [
        {"training_config": {"optimizer": {"name": "adam", MARK: 1}}},
        {"training_config": {"optimizer": {"name": "adam", "foreach": MARK}}},
        {"training_config": {"loss": {"name": "cross_entropy", "reduction": MARK}}},
    ],
    "tensorflow": [
        {"training_config": {"optimizer": {"name": "adam", MARK: 1}}},
        {"training_config": {"optimizer": {"name": "adam", "loss_scale_factor": MARK}}},
    ],
}
"""Places behind names that a schema does not list, by framework."""


def places_in(schema: Mapping[str, Any]) -> list[Any]:
    """Return one configuration for each place that takes a text: the least that is needed, with MARK there."""
    return list(_marked(schema, schema.get("$defs", {}), MAX_DEPTH))


def put_at_mark(value: Any, text: Any) -> Any:
    """Return a configuration with a text where the mark is."""
    if isinstance(value, dict):
        return {put_at_mark(key, text): put_at_mark(held, text) for key, held in value.items()}
    if isinstance(value, list):
        return [put_at_mark(held, text) for held in value]
    return text if value == MARK else value


def _marked(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int) -> Iterator[Any]:
    schema = _resolved(schema, known)
    if depth == 0:
        return
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _marked(option, known, depth)
    kind = schema.get("type")
    if kind == "string" or "enum" in schema or "const" in schema:
        yield MARK
    elif kind == "array":
        held = schema.get("items") or {"anyOf": schema.get("prefixItems", [])}
        yield from ([each] for each in _marked(held, known, depth - 1))
    elif kind == "object":
        yield from _marked_object(schema, known, depth)
    elif kind is None and not {"anyOf", "oneOf"} & schema.keys():  # anything plain
        yield from (MARK, [MARK], {"name": MARK})


def _marked_object(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int) -> Iterator[Any]:
    fields = schema.get("properties", {})
    needed = {name: _least(fields[name], known) for name in schema.get("required", ())}
    needed |= {
        name: _resolved(field, known)["const"]
        for name, field in fields.items()
        if "const" in _resolved(field, known)
    }
    for name, field in fields.items():
        for each in _marked(field, known, depth - 1):
            yield {**needed, name: each}
    held = schema.get("additionalProperties")
    if isinstance(held, Mapping) or held is True:
        held = held if isinstance(held, Mapping) else {}
        yield from ({"name": each} for each in _marked(held, known, depth - 1))
        yield {MARK: _least(held, known)}


def _least(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    """Return a value that a schema allows, as small as may be."""
    schema = _resolved(schema, known)
    for choice in ("const", "default"):
        if choice in schema:
            return schema[choice]
    if "enum" in schema:
        return schema["enum"][0]
    options = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
    if options:
        return _least(options[0], known)
    match schema.get("type"):
        case "integer" | "number":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
        case "array":
            return [_least(schema.get("items", {}), known)] * schema.get("minItems", 0)
        case "object":
            fields = schema.get("properties", {})
            return {name: _least(fields[name], known) for name in schema.get("required", ())}
        case "boolean":
            return True
    return "close"


def _resolved(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = {
            **known[schema["$ref"].rpartition("/")[2]],
            **{k: v for k, v in schema.items() if k != "$ref"},
        }
    return schema
