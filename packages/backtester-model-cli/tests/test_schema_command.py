from __future__ import annotations

import json

from backtester_model_core.factory import ModelFactory


def test_a_schema_has_the_fields_of_every_model_and_those_of_the_framework(invoke) -> None:
    done = invoke("schema", "sklearn")

    properties = json.loads(done.stdout)["properties"]
    assert {"prediction_horizon", "confidence_threshold", "hyperparameters"} <= set(properties)
    assert properties["prediction_horizon"]["minimum"] == 1


def test_every_field_of_a_schema_is_described(invoke) -> None:
    schema = json.loads(invoke("schema", "sklearn").stdout)

    for name, field in schema["properties"].items():
        group = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
        assert field.get("description") or group.get("description"), name


def test_an_unknown_framework_is_refused_with_what_is_installed(invoke) -> None:
    installed = ", ".join(info.name for info in ModelFactory.available())

    done = invoke("schema", "jax")

    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"Error: No adapter for framework 'jax'; installed: {installed}. ")
    assert done.stderr.count("\n") == 1
