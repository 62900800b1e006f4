"""Layers: the shapes and meaning of the shared ones, Keras's own by name, registered ones, and what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest

from backtester_model_core.exceptions import ConfigError
from backtester_model_tf import TensorFlowModelConfig, register_layer
from backtester_model_tf.layers import UNUSABLE, build_network, keras_layers, shape_of_own, sinusoids

STEPS, FEATURES = 9, 6

SHARED: dict[str, Any] = {
    "dense": [{"type": "dense", "units": 5, "activation": "leaky_relu", "dropout": 0.1}],
    "dense on each step": [{"type": "dense", "units": 5}, {"type": "gru", "units": 3}],
    "activation": [{"type": "activation", "activation": "gelu"}],
    "dropout": [{"type": "dropout", "rate": 0.2}],
    "batch_norm": [{"type": "batch_norm"}],
    "layer_norm": [{"type": "layer_norm"}],
    "linear model": [],
    "lstm": [{"type": "lstm", "units": 4, "dropout": 0.1}],
    "stacked": [{"type": "lstm", "units": 4}, {"type": "lstm", "units": 3}],
    "bidirectional": [{"type": "lstm", "units": 4, "bidirectional": True}],
    "gru": [{"type": "gru", "units": 4}],
    "conv1d": [{"type": "conv1d", "filters": 4, "stride": 2}, {"type": "flatten"}],
    "conv1d valid": [{"type": "conv1d", "filters": 4, "padding": "valid", "stride": 3}, {"type": "flatten"}],
    "conv1d wide": [{"type": "conv1d", "filters": 4, "kernel_size": 1, "stride": 5}, {"type": "flatten"}],
    "conv1d dilated": [{"type": "conv1d", "filters": 4, "dilation": 3}, {"type": "flatten"}],
    "tcn": [{"type": "tcn", "filters": 4, "dilations": [1, 2]}],
    "attention": [{"type": "attention", "heads": 2, "dropout": 0.1}],
    "transformer": [{"type": "transformer_encoder", "heads": 3, "feedforward_units": 7}],
    "transformer, norm after": [{"type": "transformer_encoder", "heads": 2, "norm_first": False}],
    "positions": [{"type": "positional_encoding"}, {"type": "flatten"}],
    "learned positions": [{"type": "positional_encoding", "kind": "learned"}, {"type": "flatten"}],
    "mean": [{"type": "pooling"}],
    "max of groups": [{"type": "pooling", "kind": "max", "size": 2}, {"type": "flatten"}],
    "mean of groups": [{"type": "pooling", "size": 4}, {"type": "flatten"}],
    "maximum": [{"type": "pooling", "kind": "max"}],
    "residual": [{"type": "residual", "layers": [{"type": "dense", "units": FEATURES}]}],
    "residual gru": [
        {"type": "residual", "layers": [{"type": "gru", "units": 4}], "projection": True},
        {"type": "dense", "units": 2},
    ],
    "keras": [
        {"type": "framework", "name": "SpatialDropout1D", "arguments": {"rate": 0.1}, "input": "sequence"}
    ],
}


def settings(layers: Any, **fields: Any) -> TensorFlowModelConfig:
    return TensorFlowModelConfig(lookback_period=STEPS, model_architecture={"layers": layers}, **fields)


def network_of(layers: Any, **fields: Any) -> Any:
    return build_network(settings(layers, **fields), FEATURES, n_outputs=2, network_class=keras.Model)


def body_of(network: Any) -> Any:
    """Return the network without its output layer."""
    return keras.Model(network.input, network.layers[-1].input)


def features_of(layers: Any) -> np.ndarray:
    """Return what goes into the output layer for two seeded inputs."""
    network = network_of(layers)
    inner = body_of(network)
    return np.asarray(inner(inputs_for(network)))


def inputs_for(network: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, *network.input_shape[1:])).astype(np.float32)


# -- the shared layers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", SHARED.values(), ids=SHARED)
def test_a_shared_layer_gives_the_shape_that_the_configuration_foresees(layers: Any) -> None:
    config = settings(layers)
    placed = config.placed_layers(FEATURES, own=shape_of_own)

    foreseen = placed[-1].gives if placed else (FEATURES,)

    assert features_of(layers).shape == (2, *foreseen)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("padding", ["causal", "valid"])
def test_strides_are_counted_back_from_the_newest_step(stride: int, padding: str) -> None:
    convolution = {"type": "conv1d", "filters": 1, "kernel_size": 1, "stride": stride, "padding": padding}
    network = network_of([{**convolution, "activation": "linear"}, {"type": "flatten"}])
    inner = body_of(network)
    kernel, bias = np.ones((1, FEATURES, 1)), np.zeros(1)
    next(one for one in network.layers if isinstance(one, keras.layers.Conv1D)).set_weights([kernel, bias])
    inputs = inputs_for(network)

    sums = inputs.sum(axis=2)[:, ::-1][:, ::stride][:, ::-1]

    assert np.allclose(np.asarray(inner(inputs)), sums, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "conv1d", "filters": 3},
        {"type": "tcn", "filters": 3, "dilations": [1, 2]},
        {"type": "attention", "heads": 2, "causal": True},
        {"type": "transformer_encoder", "heads": 2, "causal": True},
        {"type": "lstm", "units": 3},
    ],
    ids=lambda layer: layer["type"],
)
def test_a_causal_layer_gives_no_step_what_came_after_it(layer: dict[str, Any]) -> None:
    network = network_of([layer, {"type": "flatten"}])
    inner = body_of(network)
    inputs = inputs_for(network)
    other = inputs.copy()
    other[:, 5:] = 9.0

    first, second = (np.asarray(inner(one)).reshape(2, STEPS, -1) for one in (inputs, other))

    assert np.allclose(first[:, :5], second[:, :5], atol=1e-6)
    assert not np.allclose(first[:, 5:], second[:, 5:])


def test_a_bidirectional_layer_ends_with_both_final_states() -> None:
    network = network_of([{"type": "lstm", "units": 3, "bidirectional": True}])
    inner = body_of(network)
    inputs = inputs_for(network)
    oldest = inputs.copy()
    oldest[:, 1:] = 0.0

    both, backwards = np.asarray(inner(inputs)), np.asarray(inner(oldest))

    assert both.shape == (2, 6)
    assert np.abs(backwards[:, 3:]).min() > 1e-4  # the final state backwards has just seen the oldest step


def test_a_forget_gate_starts_open() -> None:
    lstm = network_of([{"type": "lstm", "units": 2}]).layers[1]

    assert lstm.get_weights()[2].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_leaky_relu_has_the_shared_slope() -> None:
    network = network_of([{"type": "activation", "activation": "leaky_relu"}])
    inner = body_of(network)

    assert np.asarray(inner(np.full((1, FEATURES), -1.0, dtype=np.float32))) == pytest.approx(-0.01)


def test_places_are_sines_and_cosines() -> None:
    places = sinusoids(3, 4)

    assert places[0].tolist() == [0, 1, 0, 1]
    assert places[2] == pytest.approx([np.sin(2), np.cos(2), np.sin(0.02), np.cos(0.02)], abs=1e-6)


def test_a_shape_that_does_not_meet_names_the_layer_and_both_shapes() -> None:
    layers = [{"type": "pooling"}, {"type": "framework", "name": "LSTM", "arguments": {"units": 3}}]

    with pytest.raises(
        ConfigError, match=r"layers\[1\] \(LSTM\) cannot take \(6,\).*layers\[0\] \(pooling\)"
    ):
        network_of(layers)


# -- layers of Keras's own -----------------------------------------------------------------------------------------


def own(name: str, **arguments: Any) -> Any:
    return [{"type": "framework", "name": name, "arguments": arguments, "input": "sequence"}]


def test_a_layer_of_keras_is_built_with_its_arguments() -> None:
    network = network_of(own("SimpleRNN", units=5, activation="relu"))

    assert network.layers[1].get_config()["activation"] == "relu"
    assert network.layers[-1].input.shape == (None, 5)


SIZES = {
    "units": 4,
    "filters": 4,
    "kernel_size": 3,
    "rate": 0.1,
    "size": 2,
    "num_heads": 2,
    "key_dim": 3,
    "n": 2,
}


@pytest.mark.parametrize("name", sorted(keras_layers()))
def test_every_layer_of_keras_is_built_or_refused_with_a_reason(name: str) -> None:
    needed = {
        key
        for key, one in inspect.signature(keras_layers()[name]).parameters.items()
        if one.default is one.empty
    }
    arguments = {key: value for key, value in SIZES.items() if key in needed}
    try:
        answer = str(network_of([*own(name, **arguments), {"type": "flatten"}]).output_shape)
    except ConfigError as error:
        answer = str(error)

    assert answer == "(None, 2)" or name in answer


@pytest.mark.parametrize("name", sorted(UNUSABLE))
def test_a_layer_that_runs_code_or_holds_others_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}' is refused: "):
        network_of(own(name))


@pytest.mark.parametrize("name", ["keras.layers.Lambda", "os.system", "builtins>exec", "Layer", "dense"])
def test_a_name_is_a_key_and_never_a_path(name: str) -> None:
    with pytest.raises(ConfigError, match="Unknown layer"):
        network_of(own(name))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Dense", {"unitz": 3}, "Did you mean 'units'?"),
        ("Dense", {"units": "many"}, "refuses its arguments"),
        ("Dense", {"units": 10**9}, "size above 4096"),
        ("Reshape", {"target_shape": [3, 10**9]}, "size above 4096"),
        ("Dense", {"units": 3, "activation": "os.system"}, "refuses its arguments"),
        ("LSTM", {"units": 3, "stateful": True}, "answered by itself"),
        ("LSTM", {"units": 3, "return_state": True}, "only a layer's output goes on"),
        ("Dense", {"units": 3, "dtype": "float64"}, "mixed_precision"),
        ("Dropout", {"rate": 0.1, "seed": 3}, "random_state"),
        ("LayerNormalization", {"axis": 0}, "other rows of the batch"),
        ("Softmax", {"axis": -3}, "other rows of the batch"),
        ("Add", {}, "fails on a batch of two"),
        ("Conv2D", {"filters": 3, "kernel_size": 2}, "fails on a batch of two"),
        ("Reshape", {"target_shape": [3, 3, 6]}, "does not give a row"),
    ],
)
def test_an_argument_is_refused_with_the_reason(name: str, arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        network_of(own(name, **arguments))

    assert message in str(refused.value)


# -- registered layers ---------------------------------------------------------------------------------------------


@register_layer("tests.scaled")
class Scaled(keras.layers.Layer):
    """Multiply by a number."""

    def __init__(self, by: float = 1.0) -> None:
        super().__init__()
        self.by = by

    def call(self, rows: Any) -> Any:
        return rows * self.by


@register_layer("tests.no_layer")
def make_none(**arguments: Any) -> Any:
    return None


@register_layer("tests.mixing")
class Mixing(keras.layers.Layer):
    """Take the mean of the batch away, so that rows depend on each other."""

    def call(self, rows: Any) -> Any:
        return rows - keras.ops.mean(rows, axis=0)


def test_a_registered_layer_is_used_by_its_name() -> None:
    network = network_of([{"type": "framework", "name": "tests.scaled", "arguments": {"by": 3.0}}])
    inner = body_of(network)
    inputs = inputs_for(network)

    assert np.allclose(np.asarray(inner(inputs)), 3 * inputs)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"name": "tests.no_layer"}, "makes a NoneType, not a keras Layer"),
        ({"name": "tests.mixing"}, "other rows of the batch"),
        ({"name": "tests.scaled", "arguments": {"bye": 1}}, "Did you mean 'by'?"),
        ({"name": "tests.scald"}, "Did you mean 'tests.scaled'?"),
    ],
)
def test_a_registered_layer_is_checked_like_any_other(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        network_of([{"type": "framework", **layer}])

    assert message in str(refused.value)
