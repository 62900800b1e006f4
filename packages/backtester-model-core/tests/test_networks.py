"""Trained networks as steps: each layer against its formula, written out number by number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from backtester_model_core.compiled import numba_works
from backtester_model_core.config import NetworkModelConfig
from backtester_model_core.exceptions import ModelError
from backtester_model_core.networks import NetworkWeights, network_step
from backtester_model_core.networks.activations import ACTIVATIONS
from backtester_model_core.networks.recurrent import gru_run, lstm_run, run_gru, run_lstm
from backtester_model_core.scaling import Scaling

STEPS, P = 5, 2
WINDOW = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.0], [2.0, 1.0], [0.25, -0.5]])
RUNS = [
    "as it is",
    "plain",
    pytest.param("compiled", marks=pytest.mark.skipif(not numba_works(), reason="numba")),
]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return (0.5 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def outputs_of(layers: list[dict[str, Any]], arrays: list[Any], width: int) -> list[float]:
    """Return what a stack gives for the window, its classes' scores being the stack's outputs."""
    config = NetworkModelConfig(framework="any", lookback_period=STEPS, model_architecture={"layers": layers})
    found = []
    for one in range(width):
        head = (np.eye(width)[:, [one]], np.zeros(1))
        weights = NetworkWeights(
            config.placed_layers(P), arrays, head, Scaling.none(P), target=Scaling.none(1)
        )
        found.append(network_step(weights, takes_sequences=True, compiled=False)(WINDOW))
    return found  # type: ignore[return-value]


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def lstm_by_hand(gates: np.ndarray, recurrent: np.ndarray) -> np.ndarray:
    """Return the states as Gers et al. (2000) have them, one unit after the other."""
    u = len(recurrent)
    h, c, states = [0.0] * u, [0.0] * u, []
    for given in gates.tolist():
        scores = [given[at] + sum(h[k] * float(recurrent[k, at]) for k in range(u)) for at in range(4 * u)]
        c = [
            sigmoid(scores[u + k]) * c[k] + sigmoid(scores[k]) * math.tanh(scores[2 * u + k])
            for k in range(u)
        ]
        h = [sigmoid(scores[3 * u + k]) * math.tanh(c[k]) for k in range(u)]
        states.append(h)
    return np.array(states)


def gru_by_hand(gates: np.ndarray, recurrent: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Return the states as Cho et al. (2014) have them, the reset gate after the product."""
    u = len(recurrent)
    h, states = [0.0] * u, []
    for given in gates.tolist():
        added = [
            float(constant[at]) + sum(h[k] * float(recurrent[k, at]) for k in range(u)) for at in range(3 * u)
        ]
        reset, kept = ([sigmoid(given[at] + added[at]) for at in range(i * u, i * u + u)] for i in (0, 1))
        new = [math.tanh(given[2 * u + k] + reset[k] * added[2 * u + k]) for k in range(u)]
        h = [(1.0 - kept[k]) * new[k] + kept[k] * h[k] for k in range(u)]
        states.append(h)
    return np.array(states)


@pytest.mark.parametrize("how", RUNS)
def test_the_states_of_an_lstm_are_those_of_its_formula(how: str) -> None:
    gates, recurrent, states = numbers(STEPS, 24), numbers(6, 24, seed=1), np.empty((STEPS, 6), np.float32)
    expected = lstm_by_hand(gates, recurrent)
    run = run_lstm if how == "as it is" else lstm_run(compiled=how == "compiled")

    run(gates, recurrent, np.empty(6, np.float32), states)

    assert states == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("how", RUNS)
def test_the_states_of_a_gru_are_those_of_its_formula(how: str) -> None:
    gates, recurrent, constant = numbers(STEPS, 18), numbers(6, 18, seed=1), numbers(18, seed=2)
    states = np.empty((STEPS, 6), np.float32)
    expected = gru_by_hand(gates, recurrent, constant)
    run = run_gru if how == "as it is" else gru_run(compiled=how == "compiled")

    run(gates, recurrent, constant, states)

    assert states == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_of_a_last_recurrent_layer_the_final_state_goes_on(kind: str) -> None:
    size = 4 if kind == "lstm" else 3
    matrix, recurrent, constant = (
        numbers(P, 2 * size),
        numbers(2, 2 * size, seed=1),
        numbers(2 * size, seed=2),
    )
    extra = [] if kind == "lstm" else [numbers(2 * size, seed=3)]
    gates = WINDOW @ matrix + constant
    by_hand = lstm_by_hand(gates, recurrent) if kind == "lstm" else gru_by_hand(gates, recurrent, *extra)

    found = outputs_of([{"type": kind, "units": 2}], [[matrix, recurrent, constant, *extra]], 2)

    assert found == pytest.approx(by_hand[-1], abs=1e-6)


def test_a_convolution_counts_its_strides_back_from_the_last_step() -> None:
    layers = [
        {"type": "conv1d", "filters": 1, "kernel_size": 2, "stride": 2, "activation": "linear"},
        {"type": "flatten"},
    ]
    kernel = np.array(
        [[[1.0], [0.0]], [[0.0], [10.0]]]
    )  # the first feature one step ago, and ten times the second now

    found = outputs_of(layers, [[kernel, np.array([100.0])], []], 3)

    assert found == [100.0 + 0.0 - 20.0, 100.0 + 0.5 + 0.0, 100.0 + 2.0 - 5.0]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({"type": "pooling"}, [0.55, 0.3]),
        ({"type": "pooling", "kind": "max"}, [2.0, 3.0]),
    ],
)
def test_pooling_takes_the_mean_or_maximum_of_all_steps(layer: dict[str, Any], expected: list[float]) -> None:
    assert outputs_of([layer], [[]], 2) == pytest.approx(expected, abs=1e-7)


def test_groups_are_counted_back_from_the_last_step() -> None:
    layers = [{"type": "pooling", "kind": "max", "size": 2}, {"type": "flatten"}]

    assert outputs_of(layers, [[], []], 4) == [0.5, 3.0, 2.0, 1.0]


def test_normalisations_are_those_of_their_formulas() -> None:
    layers = [
        {"type": "batch_norm", "epsilon": 0.1},
        {"type": "layer_norm", "epsilon": 0.05},
        {"type": "flatten"},
    ]
    batch = [np.array([2.0, 1.0]), np.array([0.0, 1.0]), np.array([0.25, 0.5]), np.array([0.9, 3.9])]
    layer = [np.array([3.0, 1.0]), np.array([0.0, 5.0])]

    # The last step (0.25, -0.5) becomes (0, 0.5): of mean 0.25 and variance 0.0625.
    found = outputs_of(layers, [batch, layer, []], 10)[-2:]

    root = math.sqrt(0.0625 + 0.05)
    assert found == pytest.approx([3 * -0.25 / root, 0.25 / root + 5.0], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "at_minus_one", "at_two"),
    [
        ("elu", math.expm1(-1), 2.0),
        ("gelu", -0.15865525393145707, 1.9544997361036416),
        ("leaky_relu", -0.01, 2.0),
        ("mish", -math.tanh(math.log1p(math.exp(-1))), 2 * math.tanh(math.log1p(math.exp(2)))),
        ("relu", 0.0, 2.0),
        ("selu", 1.0507009873554805 * 1.6732632423543772 * math.expm1(-1), 2 * 1.0507009873554805),
        ("sigmoid", sigmoid(-1), sigmoid(2)),
        ("silu", -sigmoid(-1), 2 * sigmoid(2)),
        ("softplus", math.log1p(math.exp(-1)), math.log1p(math.exp(2))),
        ("tanh", math.tanh(-1), math.tanh(2)),
    ],
)
def test_an_activation_is_that_of_its_formula(name: str, at_minus_one: float, at_two: float) -> None:
    activation = ACTIVATIONS[name]
    assert activation is not None

    found = activation(np.array([-1.0, 2.0], dtype=np.float32))

    assert found == pytest.approx([at_minus_one, at_two], abs=3e-7)
    assert found.dtype == np.float32


# -- answers -----------------------------------------------------------------------------------------------------


def dense_step(*, target: Scaling | None = None, seen: np.ndarray | None = None) -> Any:
    """Return the step of a network of one dense layer that doubles, between features scaled and three outputs."""
    config = NetworkModelConfig(
        framework="any", model_architecture={"layers": [{"type": "dense", "units": 2, "activation": "relu"}]}
    )
    features = Scaling(np.array([1e6, 0.0]), np.array([2.0, 0.5]))
    head = (np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.array([0.0, 0.0, 9.0]))
    arrays = [(2 * np.eye(2), np.zeros(2))]
    weights = NetworkWeights(config.placed_layers(P), arrays, head, features, target, seen)
    return network_step(weights, takes_sequences=False, compiled=False)


def test_a_regression_is_given_in_the_units_of_its_target() -> None:
    step = dense_step(target=Scaling(np.array([0.5]), np.array([0.125])))

    assert step([1e6 + 3.0, -1.0]) == 0.5 + 0.125 * 3.0


def test_a_class_that_was_not_seen_has_no_probability() -> None:
    step = dense_step(seen=np.array([True, True, False]))

    assert step([1e6 + 1.0, 0.25]) == pytest.approx([0.5, 0.5, 0.0])


def test_a_layer_without_a_fast_form_is_named() -> None:
    layers = [{"type": "lstm", "units": 2, "bidirectional": True}]

    with pytest.raises(ModelError, match=r"layers\[0\] \(lstm\) is asked through predict"):
        outputs_of(layers, [[]], 4)
