"""A compiled step answers one row, or the window that ends with it, as ``predict`` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backtester_model_core.compiled import numba_is_here
from backtester_model_core.config import parse_config
from backtester_model_core.exceptions import ModelError
from backtester_model_core.networks import NetworkWeights, network_step
from backtester_model_core.testing import synthetic_rows
from backtester_model_torch import PyTorchModelConfig
from backtester_model_torch.adapter import PyTorchAdapter, TorchModel
from backtester_model_torch.row_steps import arrays_of

ADAPTER = PyTorchAdapter()

STEPS = 6
ENGINES = [False, pytest.param(True, marks=pytest.mark.skipif(not numba_is_here(), reason="needs numba"))]
GRU = {"type": "gru", "units": 3}
ACTIVATIONS = ("elu", "gelu", "leaky_relu", "mish", "relu", "selu", "sigmoid", "silu", "softplus", "tanh")

LAYERS: dict[str, list[dict[str, Any]]] = {
    "linear": [],
    **{
        " ".join(names): [{"type": "dense", "units": 5, "activation": name, "dropout": 0.1} for name in names]
        for names in (ACTIVATIONS[:5], ACTIVATIONS[5:])
    },
    "dense": [{"type": "dense", "units": 5, "use_bias": False}, {"type": "dropout", "rate": 0.2}],
    "norms": [{"type": "batch_norm"}, {"type": "activation", "activation": "tanh"}, {"type": "layer_norm"}],
    "lstm": [{"type": "lstm", "units": 5, "dropout": 0.1}],
    "lstms": [{"type": "dense", "units": 3}, {"type": "lstm", "units": 5}, {"type": "lstm", "units": 4}],
    "gru": [{"type": "gru", "units": 5}],
    "norms of steps": [{"type": "batch_norm"}, {"type": "layer_norm"}, GRU],
    "conv1d": [{"type": "conv1d", "filters": 4, "stride": 2}, {"type": "flatten"}],
    "conv1d, last step": [{"type": "conv1d", "filters": 4, "dilation": 2, "activation": "silu"}],
    "conv1d valid": [{"type": "conv1d", "filters": 4, "padding": "valid"}, {"type": "pooling"}],
    "maximum": [{"type": "pooling", "kind": "max"}],
    "groups": [{"type": "pooling", "size": 4}, GRU],
    "maxima of groups": [{"type": "pooling", "kind": "max", "size": 2}, {"type": "flatten"}],
}


def trained(layers: list[dict[str, Any]], *, n_classes: int | None = None, seen: int = 3) -> Any:
    """Train for an epoch on features of very different sizes."""
    features, score = synthetic_rows(80, model_type="regression", seed=1)
    features = np.array([1e3, 0.0, -3.0, 1e-4]) + np.array([10.0, 1e-3, 1.0, 1e-5]) * features
    fields = {
        "model_type": "regression" if n_classes is None else "classification",
        "model_architecture": {"layers": layers},
        "lookback_period": STEPS,
        "training_config": {"epochs": 1},
    }
    config = parse_config(PyTorchModelConfig, fields)
    ends = np.arange(STEPS - 1, len(score)) if ADAPTER.context_rows(config) else None
    target, classes = 0.01 * score, None
    if n_classes is not None:
        target, classes = np.searchsorted([-0.5, 0.5][: seen - 1], score), tuple(map(float, range(n_classes)))
    wanted = target if ends is None else target[ends]
    model = ADAPTER.train_model(
        ADAPTER.initialize_model(config), features, wanted, classes=classes, seed=0, ends=ends
    )
    return model, features, ends


def assert_step_is_predict(step: Any, model: Any, features: np.ndarray, ends: np.ndarray | None) -> None:
    asked = features.tolist() if ends is None else [features[end - STEPS + 1 : end + 1] for end in ends]

    answers = np.array([step(one) for one in asked])

    assert np.abs(answers - ADAPTER.predict(model, features, ends=ends)).max() <= 1e-6


@pytest.mark.parametrize("name", LAYERS)
def test_a_network_of_any_shared_layer_answers_as_predict_does(name: str) -> None:
    model, features, ends = trained(LAYERS[name], n_classes=3)

    assert_step_is_predict(ADAPTER.compile_step(model), model, features, ends)


@pytest.mark.parametrize("compiled", ENGINES)
@pytest.mark.parametrize("name", ["dense", "lstms", "gru"])
def test_a_regression_answers_in_the_units_of_its_target(name: str, compiled: bool) -> None:
    model, features, ends = trained(LAYERS[name])
    step = network_step(weights_of(model), takes_sequences=ends is not None, compiled=compiled)

    assert_step_is_predict(step, model, features, ends)


def test_a_class_that_no_row_had_keeps_its_place() -> None:
    model, features, ends = trained([], n_classes=3, seen=2)
    step = ADAPTER.compile_step(model)

    assert_step_is_predict(step, model, features, ends)
    assert step(features[0].tolist())[2] == 0.0


def test_a_step_leaves_the_window_as_it_was() -> None:
    model, features, _ = trained(LAYERS["lstm"])
    window = features[:STEPS].copy()

    ADAPTER.compile_step(model)(window)

    assert np.array_equal(window, features[:STEPS])


@pytest.mark.parametrize(
    "layers",
    [
        [{"type": "lstm", "units": 4, "bidirectional": True}],
        [{"type": "attention", "heads": 2}],
        [{"type": "residual", "layers": [{"type": "dense", "units": 4}]}],
        [{"type": "positional_encoding"}, {"type": "flatten"}],
    ],
)
def test_a_network_with_another_layer_is_asked_through_predict(layers: list[dict[str, Any]]) -> None:
    model, *_ = trained(layers)

    with pytest.raises(ModelError, match="asked through predict"):
        ADAPTER.compile_step(model)


def weights_of(model: TorchModel) -> NetworkWeights:
    assert model.features is not None
    placed = model.config.placed_layers(len(model.features.centre))
    return NetworkWeights(placed, *arrays_of(model.network, placed), model.features, model.target, model.seen)
