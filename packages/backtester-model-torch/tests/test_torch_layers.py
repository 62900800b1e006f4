"""Layers do what the configuration says: shapes, steps, causality, and modules registered in code."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from backtester_model_core.config import ModelArchitecture, parse_config
from backtester_model_core.exceptions import ConfigError
from backtester_model_torch import PyTorchModelConfig, register_module
from backtester_model_torch.adapter import build_network
from backtester_model_torch.layers import Pooling, Residual, build_layer, shape_of_registered, sinusoids
from backtester_model_torch.registered import MODULES

STEPS, FEATURES = 12, 8

# -- what the tests share -------------------------------------------------------------------------------------------


def placed(*layers, lookback_period=STEPS, n_features=FEATURES):
    fields = {"model_architecture": {"layers": list(layers)}, "lookback_period": lookback_period}
    return parse_config(PyTorchModelConfig, fields).placed_layers(n_features, own=shape_of_registered)


def sequences(n=3, *, steps=STEPS, features=FEATURES, seed=0):
    return torch.randn(n, steps, features, generator=torch.Generator().manual_seed(seed))


def built(layer, *after):
    """One layer of a stack, in the way it is asked."""
    torch.manual_seed(0)
    return build_layer(placed(layer, *after)[0]).eval()


@pytest.fixture
def registered():
    """Register under names that are gone after the test."""
    before = set(MODULES)
    yield register_module
    for name in set(MODULES) - before:
        MODULES.discard(name)


GRU = {"type": "gru", "units": 3}
"""A last layer, so that the one before gives all its steps."""

EVERY_LAYER = [
    {"type": "dense", "units": 5, "activation": "gelu", "dropout": 0.1},
    {"type": "activation", "activation": "tanh"},
    {"type": "dropout", "rate": 0.3},
    {"type": "batch_norm"},
    {"type": "layer_norm"},
    {"type": "lstm", "units": 5},
    {"type": "lstm", "units": 5, "bidirectional": True},
    {"type": "gru", "units": 5, "dropout": 0.2},
    {"type": "conv1d", "filters": 5, "stride": 3},
    {"type": "conv1d", "filters": 5, "kernel_size": 4, "padding": "valid", "dilation": 2},
    {"type": "tcn", "filters": 5, "dilations": [1, 2]},
    {"type": "tcn", "filters": FEATURES, "dilations": [1, 2]},
    {"type": "attention", "heads": 2},
    {"type": "transformer_encoder", "heads": 2, "feedforward_units": 6},
    {"type": "transformer_encoder", "heads": 4, "feedforward_units": 6, "norm_first": False},
    {"type": "positional_encoding"},
    {"type": "positional_encoding", "kind": "learned"},
    {"type": "pooling", "size": 5},
    {"type": "pooling", "kind": "max", "size": 3},
    {"type": "residual", "layers": [{"type": "dense", "units": FEATURES}]},
    {"type": "residual", "layers": [{"type": "tcn", "filters": 5}], "projection": True},
]

# -- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", EVERY_LAYER, ids=str)
def test_a_layer_gives_the_shape_that_the_configuration_computed(layer):
    place = placed(layer, GRU)[0]

    assert tuple(built(layer, GRU)(sequences()).shape) == (3, *place.gives)


@pytest.mark.parametrize("layer", [*EVERY_LAYER, {"type": "pooling"}, {"type": "flatten"}], ids=str)
def test_as_the_last_layer_of_a_sequence_it_gives_a_row(layer):
    takes_sequences = ModelArchitecture(layers=[layer]).takes_sequences
    layers = placed(*([layer] if takes_sequences else [{"type": "lstm", "units": FEATURES}, layer]))

    network = nn.Sequential(*map(build_layer, layers)).eval()

    assert tuple(network(sequences()).shape) == (3, *layers[-1].gives)
    assert len(layers[-1].gives) == 1


def refusal(stack):
    """Why the shapes of a stack do not meet; ``None`` where they do."""
    try:
        placed(*stack)
    except ConfigError as error:
        return str(error)
    return None


@settings(max_examples=40)
@given(stack=st.lists(st.sampled_from(EVERY_LAYER), min_size=1, max_size=4))
def test_for_every_stack_the_network_answers_or_the_configuration_says_why_not(stack):
    whole = [*stack, GRU]
    if (reason := refusal(whole)) is not None:
        assert "cannot take (" in reason
    else:
        network = nn.Sequential(*map(build_layer, placed(*whole))).eval()
        assert tuple(network(sequences()).shape) == (3, 3)


def test_a_network_without_layers_is_a_linear_map():
    config = PyTorchModelConfig(model_architecture={"layers": []})

    network = build_network(config, 4, n_outputs=2)

    assert [tuple(weights.shape) for weights in network.parameters()] == [(2, 4), (2,)]


# -- what goes on from a sequence -------------------------------------------------------------------------------------


def test_the_last_step_of_a_convolution_goes_on():
    layer = {"type": "conv1d", "filters": 5}
    whole, last = built(layer, GRU), built(layer)

    assert torch.equal(last(sequences()), whole(sequences())[:, -1])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_final_state_of_a_recurrent_layer_goes_on(kind):
    layer = {"type": kind, "units": 5}
    whole, final = built(layer, GRU), built(layer)

    assert torch.equal(final(sequences()), whole(sequences())[:, -1])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_both_final_states_of_a_bidirectional_layer_go_on(kind):
    final = built({"type": kind, "units": 5, "bidirectional": True})

    state = final.layer(sequences())[1]
    ahead, back = state[0] if kind == "lstm" else state

    assert torch.allclose(final(sequences()), torch.cat([ahead, back], dim=1))


def test_forget_gates_start_open():
    layer = built({"type": "lstm", "units": 5}).layer

    assert layer.bias_ih_l0[5:10].tolist() == [1.0] * 5
    assert torch.cat([layer.bias_ih_l0[:5], layer.bias_ih_l0[10:], layer.bias_hh_l0]).abs().max() == 0


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "lstm", "units": 5},
        {"type": "gru", "units": 5},
        {"type": "conv1d", "filters": 5, "dilation": 2},
        {"type": "tcn", "filters": 5},
        {"type": "attention", "heads": 2, "causal": True},
        {"type": "transformer_encoder", "heads": 2, "causal": True},
    ],
    ids=str,
)
def test_a_causal_layer_sees_no_later_step(layer):
    model, given_ = built(layer, GRU), sequences()
    changed = given_.clone()
    changed[:, 7:] += 1.0

    before, after = model(given_), model(changed)

    assert torch.allclose(before[:, :7], after[:, :7], atol=1e-6)
    assert not torch.allclose(before[:, 7:], after[:, 7:], atol=1e-3)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [2, 5])
def test_a_stride_is_counted_back_from_the_last_step(kernel, stride):
    layer = {"type": "conv1d", "filters": 2, "kernel_size": kernel, "activation": "linear"}
    every, strided = built(layer, GRU), built({**layer, "stride": stride}, GRU)

    steps = list(range(STEPS - 1, -1, -stride))[::-1]

    assert torch.allclose(strided(sequences()), every(sequences())[:, steps], atol=1e-6)


def test_a_convolution_multiplies_the_steps_that_its_kernel_spans():
    layer = built(
        {"type": "conv1d", "filters": 1, "kernel_size": 2, "dilation": 3, "activation": "linear"}, GRU
    )
    weights = layer[0].convolution.weight[0].T  # (kernel, features)
    given_ = sequences(1)

    by_hand = (weights[0] * given_[0, 4]).sum() + (weights[1] * given_[0, 7]).sum()

    assert layer(given_)[0, 7, 0].item() == pytest.approx(by_hand.item(), abs=1e-6)


@pytest.mark.parametrize(("kind", "groups"), [("mean", [[2.0], [5.0]]), ("max", [[3.0], [6.0]])])
def test_pooled_groups_are_counted_back_from_the_last_step(kind, groups):
    steps = torch.arange(7, dtype=torch.float32).reshape(1, 7, 1)

    assert Pooling(kind, 3)(steps)[0].tolist() == groups


def test_sines_and_cosines_are_those_of_the_paper():
    table = sinusoids(3, 4)

    assert table[2].tolist() == pytest.approx(
        [math.sin(2), math.cos(2), math.sin(2 / 100), math.cos(2 / 100)], abs=1e-7
    )


def test_attention_is_the_formula():
    model = built({"type": "attention", "heads": 2}, GRU)[0]
    rows = sequences(1)
    query, key, value = (one(rows)[0].detach().numpy() for one in (model.query, model.key, model.value))

    parts = []
    for head in (slice(0, 4), slice(4, 8)):
        score = query[:, head] @ key[:, head].T / math.sqrt(4)
        odds = np.exp(score - score.max(axis=1, keepdims=True))
        parts.append(odds / odds.sum(axis=1, keepdims=True) @ value[:, head])
    by_hand = model.output(torch.from_numpy(np.concatenate(parts, axis=1)))

    assert torch.allclose(model(rows)[0], by_hand, atol=1e-6)


def test_batch_norm_takes_its_statistics_over_rows_and_steps():
    layer = built({"type": "batch_norm", "momentum": 0.5}, GRU).train()
    given_ = sequences(64) * 3 + 1

    standardised = layer(given_)

    assert standardised.mean(dim=(0, 1)).abs().max() < 1e-5
    assert torch.allclose(layer.running_mean, 0.5 * given_.mean(dim=(0, 1)), atol=1e-6)


def test_a_residual_adds_what_goes_in():
    layer = Residual(nn.Linear(2, 2), nn.Identity())
    rows = torch.ones(3, 2)

    assert torch.equal(layer(rows), layer.inner(rows) + rows)


def test_dropout_acts_in_training_only():
    layer = build_layer(placed({"type": "dropout", "rate": 0.5}, GRU)[0])
    ones = torch.ones(4, STEPS, FEATURES)

    assert set(layer.train()(ones).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(layer.eval()(ones), ones)


# -- modules registered in code ---------------------------------------------------------------------------------------


class Doubled(nn.Module):
    """Twice as many features, by a linear map."""

    def __init__(self, given, *, bias=True):
        super().__init__()
        self.layer = nn.Linear(given[-1], 2 * given[-1], bias=bias)

    def forward(self, rows):
        return self.layer(rows)


class Broken(nn.Module):
    def __init__(self, given):
        super().__init__()

    def forward(self, rows):
        return rows @ torch.zeros(3, 3)


class Scalar(nn.Module):
    def __init__(self, given):
        super().__init__()

    def forward(self, rows):
        return rows.sum()


def own(name, **fields):
    return {"type": "framework", "name": name, **fields}


def test_a_registered_module_is_a_layer_among_others(registered):
    registered("doubled")(Doubled)

    layers = placed(own("doubled", arguments={"bias": False}), own("doubled"), {"type": "lstm", "units": 3})

    assert [one.given for one in layers] == [(STEPS, 8), (STEPS, 16), (STEPS, 32)]
    assert len(list(build_layer(layers[0]).parameters())) == 1


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (Doubled, {"bais": True}, "it cannot be built: .*unexpected keyword argument 'bais'"),
        (Broken, {}, "its forward fails on a batch of two: .*cannot be multiplied|size mismatch"),
        (Scalar, {}, r"it answers a batch of two with \(\)"),
        (lambda given: "text", {}, "it makes a str, not a torch.nn.Module"),
    ],
)
def test_a_registered_module_that_does_not_fit_is_refused_with_its_place(
    registered, module, arguments, message
):
    registered("own")(module)

    with pytest.raises(ConfigError, match=message) as caught:
        placed({"type": "dense", "units": 4}, own("own", arguments=arguments))

    assert "model_architecture.layers[1] (own) cannot take (4,), which layers[0] (dense) gives" in str(
        caught.value
    )
