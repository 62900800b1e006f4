"""Every field that a network adds to a configuration changes what happens: two values, and where they differ.

A field without a scenario, and a scenario in which nothing changes, are failures: no option may be read by nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import pydantic
import pytest
import torch

from backtester_model_core.adapter import HeldBack
from backtester_model_core.config import ModelConfig, parse_config
from backtester_model_core.config.layers import Layer
from backtester_model_core.exceptions import BacktesterModelError
from backtester_model_torch import PyTorchModelConfig, register_callback
from backtester_model_torch.adapter import PyTorchAdapter
from backtester_model_torch.registered import CALLBACKS
from backtester_model_torch.training import Callback

ADAPTER = PyTorchAdapter()
N_ROWS, STEPS = 120, 4
DENSE = {"type": "dense", "units": 8, "activation": "relu"}
TRAINING = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01}


@dataclass(frozen=True)
class Scenario:
    """Two values of one field, and what else is configured in both."""

    one: Any
    other: Any
    given: Mapping[str, Any] = field(default_factory=dict)


def training(one, other, *, given=None, **fields):
    return Scenario(one, other, {"training_config": {**TRAINING, **(given or {})}, **fields})


REGRESSION = {"model_type": "regression"}
LAYERS = "model_architecture.layers"
PLATEAU = {"scheduler": {"name": "plateau", "patience": 0, "factor": 0.1}, "epochs": 9, "learning_rate": 0.1}
STOPPING = {"early_stopping": {"patience": 1}, "epochs": 20, "learning_rate": 0.3}

SCENARIOS: dict[str, Scenario] = {
    LAYERS: Scenario([DENSE], [DENSE, DENSE]),
    "input_shape": Scenario([3], [5]),
    "device": Scenario("cpu", "cuda:99"),
    "training_config.optimizer.name": training("adam", "sgd"),
    "training_config.optimizer.arguments": training(
        {}, {"momentum": 0.9}, given={"optimizer": {"name": "sgd"}}
    ),
    "training_config.learning_rate": training(0.01, 0.001),
    "training_config.weight_decay": training(0.0, 0.5),
    "training_config.epochs": training(1, 2),
    "training_config.batch_size": training(16, 32),
    "training_config.shuffle": training(True, False),
    "training_config.loss": training("mse", "mae", **REGRESSION),
    "training_config.class_weight": training(None, {"0": 1, "1": 9}),
    "training_config.early_stopping": training(
        None, {"patience": 1}, given={"epochs": 20, "learning_rate": 0.3}
    ),
    "training_config.scheduler": training(None, "exponential"),
    "training_config.gradient_clip": training(None, 0.001, given={"optimizer": "sgd"}),
    "training_config.callbacks": training([], ["stopping"]),
    "training_config.mixed_precision": training(False, True, device="cpu"),
    "training_config.compile": training(False, True),
}


def fields_of(config_class, above=""):
    """Every field of a configuration, those of its groups by their path."""
    for name, info in config_class.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            yield from fields_of(kind, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def merged(base, path, value):
    """A nested mapping with one value more."""
    name, _, rest = path.partition(".")
    return {**base, name: merged(base.get(name, {}), rest, value) if rest else value}


def seen_with(fields):
    """What a configuration comes to: forecasts and notes, or the refusal, and how often torch was asked to compile."""
    compiled = []
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N_ROWS, 3))
    score = rows.sum(axis=1) + rng.normal(size=N_ROWS)
    try:
        config = parse_config(PyTorchModelConfig, {"lookback_period": STEPS, **fields})
        classes = None if config.model_type == "regression" else (0.0, 1.0)
        target = score if classes is None else (score > 0).astype(np.int64)
        n_context = ADAPTER.context_rows(config)
        ends = np.arange(n_context, N_ROWS) if n_context else None
        used = target[n_context:]
        real, torch.compile = torch.compile, lambda network: compiled.append(1) or network
        try:
            model = ADAPTER.train_model(
                ADAPTER.initialize_model(config),
                rows,
                used,
                classes=classes,
                validation=HeldBack(rows, np.where(np.arange(len(used)) % 3, used, used[::-1]), ends),
                seed=0,
                ends=ends,
            )
        finally:
            torch.compile = real
        return ADAPTER.predict(model, rows, ends=ends).tolist(), ADAPTER.training_notes(model), compiled
    except BacktesterModelError as error:
        return str(error)


@pytest.fixture(autouse=True)
def stopping():
    """A callback that ends training after an epoch."""

    @register_callback("stopping")
    class Stopping(Callback):
        def on_epoch_end(self, state):
            state.stop = True

    yield
    CALLBACKS.discard("stopping")


@pytest.mark.parametrize(("path", "scenario"), SCENARIOS.items(), ids=SCENARIOS)
def test_a_field_changes_what_happens(path, scenario):
    one, other = (
        seen_with(merged(dict(scenario.given), path, value)) for value in (scenario.one, scenario.other)
    )

    assert one != other


@pytest.mark.parametrize("path", ["training_config.optimizer.name", "training_config.loss"])
def test_the_same_value_changes_nothing(path):
    """Else the differences above could be chance."""
    scenario = SCENARIOS[path]
    fields = merged(dict(scenario.given), path, scenario.one)

    assert seen_with(fields) == seen_with(fields)


def test_every_field_has_a_scenario():
    added = set(fields_of(PyTorchModelConfig)) - set(fields_of(ModelConfig))

    assert set(SCENARIOS) == added


# -- arguments of layers, losses, schedules and of early stopping -----------------------------------------------------

BASIC: Mapping[str, Mapping[str, Any]] = {
    "dense": {"units": 4},
    "activation": {"activation": "tanh"},
    "dropout": {"rate": 0.1},
    "lstm": {"units": 4},
    "gru": {"units": 4},
    "conv1d": {"filters": 4},
    "tcn": {"filters": 4},
    "attention": {"heads": 3},
    "transformer_encoder": {"heads": 3},
    "residual": {"layers": [{"type": "dense", "units": 3}]},
}
OTHER: Mapping[str, Any] = {
    "units": 5,
    "filters": 5,
    "activation": "sigmoid",
    "use_bias": False,
    "dropout": 0.5,
    "rate": 0.5,
    "momentum": 0.1,
    "epsilon": 0.1,
    "bidirectional": True,
    "kernel_size": 2,
    "stride": 2,
    "dilation": 2,
    "padding": "valid",
    "dilations": [1],
    "heads": 1,
    "causal": True,
    "feedforward_units": 9,
    "norm_first": False,
    "kind": {"positional_encoding": "learned", "pooling": "max"},
    "size": 2,
    "layers": [{"type": "dense", "units": 3}, {"type": "dense", "units": 3}],
    "projection": True,
}
KINDS = {kind.model_fields["type"].default: kind for kind in get_args(get_args(Layer)[0])}
ARGUMENTS = [
    (kind, name)
    for kind, group in KINDS.items()
    for name in group.model_fields
    if name != "type" and kind != "framework"  # a registered module's arguments are tried where it is built
]


@pytest.mark.parametrize(("kind", "name"), ARGUMENTS, ids=lambda value: value)
def test_an_argument_of_a_layer_changes_what_happens(kind, name):
    plain = {"type": kind, **BASIC.get(kind, {})}
    value = OTHER[name][kind] if name == "kind" else OTHER[name]
    after = [] if kind in {"pooling", "flatten"} else [{"type": "attention", "heads": 1}, {"type": "pooling"}]

    def stack(layer):
        layers = [{"type": "dense", "units": 3, "activation": "tanh"}, layer, *after]
        return {"model_architecture": {"layers": layers}, "training_config": TRAINING}

    assert seen_with(stack(plain)) != seen_with(stack({**plain, name: value}))


@pytest.mark.parametrize(
    ("fields", "name", "value", "model_type"),
    [
        ({"loss": {"name": "cross_entropy"}}, "label_smoothing", 0.3, "classification"),
        ({"loss": {"name": "huber"}}, "delta", 0.1, "regression"),
        ({"loss": {"name": "quantile"}}, "quantile", 0.9, "regression"),
        ({"scheduler": {"name": "step", "every": 1}}, "every", 2, "regression"),
        ({"scheduler": {"name": "step", "every": 1}}, "factor", 0.1, "regression"),
        ({"scheduler": {"name": "exponential"}}, "factor", 0.1, "regression"),
        ({"scheduler": {"name": "cosine"}}, "warmup_epochs", 1, "regression"),
        ({"scheduler": {"name": "cosine"}}, "minimum", 0.5, "regression"),
        (PLATEAU, "factor", 0.9, "regression"),
        (PLATEAU, "patience", 3, "regression"),
        (PLATEAU, "min_delta", 9.0, "regression"),
        (PLATEAU, "minimum", 0.5, "regression"),
        (STOPPING, "patience", 3, "regression"),
        (STOPPING, "min_delta", 9.0, "regression"),
        (STOPPING, "restore_best", False, "regression"),
    ],
    ids=str,
)
def test_an_argument_in_training_changes_what_happens(fields, name, value, model_type):
    group = next(key for key in ("loss", "scheduler", "early_stopping") if key in fields)
    plain = {**TRAINING, **fields}
    changed = {**plain, group: {**fields[group], name: value}}

    assert seen_with({"model_type": model_type, "training_config": plain}) != seen_with(
        {"model_type": model_type, "training_config": changed}
    )
