"""Networks: layers, the shapes that go through them, and training, checked before any framework is asked."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.config import ModelArchitecture, NetworkModelConfig, TrainingConfig, parse_config
from backtester_model_core.config.training import CosineSchedule, ExponentialSchedule, StepSchedule
from backtester_model_core.exceptions import ConfigError, ModelError

LSTM_AND_DENSE = [
    {"type": "lstm", "units": 32, "dropout": 0.1},
    {"type": "dense", "units": 16, "activation": "relu"},
]


# -- what the tests share -------------------------------------------------------------------------------------------


def parsed(**fields):
    return parse_config(NetworkModelConfig, {"framework": "any", **fields})


def network(*layers, **fields):
    return parsed(model_architecture={"layers": list(layers)}, **fields)


def trained_by(**fields):
    return parsed(training_config=fields)


def shapes(*layers, n_features=8, lookback_period=30, own=None):
    """What each layer is given, and what goes on from the last."""
    placed = network(*layers, lookback_period=lookback_period).placed_layers(n_features, own=own)
    return [one.given for one in placed] + [placed[-1].gives]


def refused(expected, *layers, n_features=8, **fields):
    with pytest.raises(ConfigError) as caught:
        network(*layers, **fields).placed_layers(n_features)
    assert expected in str(caught.value)


# -- architectures: shapes --------------------------------------------------------------------------------------------


def test_rows_go_in_where_no_layer_takes_a_sequence():
    config = network({"type": "dense", "units": 16}, {"type": "batch_norm"}, lookback_period=30)

    assert (config.steps, config.shape_of_input(8)) == (1, (8,))
    assert [one.gives for one in config.placed_layers(8)] == [(16,), (16,)]


def test_windows_go_in_where_a_layer_takes_a_sequence():
    config = network(*LSTM_AND_DENSE, lookback_period=30)

    assert (config.steps, config.shape_of_input(8)) == (30, (30, 8))


def test_after_the_last_sequence_layer_the_last_step_goes_on():
    layers = network({"type": "gru", "units": 4}, *LSTM_AND_DENSE).placed_layers(8)

    assert [one.given for one in layers] == [(30, 8), (30, 4), (32,)]
    assert [one.last_step for one in layers] == [False, True, False]


def test_a_layer_that_gives_a_row_by_itself_has_no_last_step():
    layers = network({"type": "conv1d", "filters": 4}, {"type": "flatten"}).placed_layers(8)

    assert [one.last_step for one in layers] == [False, False]
    assert layers[-1].gives == (120,)


def test_a_layer_for_rows_acts_on_every_step_before_a_sequence_layer():
    assert shapes({"type": "dense", "units": 16}, {"type": "lstm", "units": 4}) == [(30, 8), (30, 16), (4,)]


def test_no_layer_at_all_is_a_linear_model():
    config = network()

    assert config.placed_layers(8) == ()


@pytest.mark.parametrize(
    ("layer", "gives"),
    [
        ({"type": "dense", "units": 5}, (30, 5)),
        ({"type": "activation", "activation": "tanh"}, (30, 8)),
        ({"type": "dropout", "rate": 0.5}, (30, 8)),
        ({"type": "batch_norm"}, (30, 8)),
        ({"type": "layer_norm"}, (30, 8)),
        ({"type": "lstm", "units": 5}, (30, 5)),
        ({"type": "lstm", "units": 5, "bidirectional": True}, (30, 10)),
        ({"type": "gru", "units": 5}, (30, 5)),
        ({"type": "conv1d", "filters": 5, "kernel_size": 7}, (30, 5)),
        ({"type": "conv1d", "filters": 5, "kernel_size": 7, "padding": "valid"}, (24, 5)),
        ({"type": "conv1d", "filters": 5, "kernel_size": 3, "padding": "valid", "dilation": 4}, (22, 5)),
        ({"type": "conv1d", "filters": 5, "kernel_size": 3, "stride": 4}, (8, 5)),
        ({"type": "conv1d", "filters": 5, "kernel_size": 3, "stride": 4, "padding": "valid"}, (7, 5)),
        ({"type": "tcn", "filters": 5}, (30, 5)),
        ({"type": "attention", "heads": 4}, (30, 8)),
        ({"type": "transformer_encoder", "heads": 2}, (30, 8)),
        ({"type": "positional_encoding"}, (30, 8)),
        ({"type": "pooling", "size": 7}, (4, 8)),
        ({"type": "residual", "layers": [{"type": "dense", "units": 8}]}, (30, 8)),
        ({"type": "residual", "layers": [{"type": "gru", "units": 9}], "projection": True}, (30, 9)),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
def test_each_layer_gives_the_shape_that_is_written_down(layer, gives):
    assert shapes(layer, {"type": "gru", "units": 3})[1] == gives


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pooling_over_all_steps_gives_a_row(kind):
    assert shapes({"type": "pooling", "kind": kind}, {"type": "dense", "units": 3})[1:] == [(8,), (3,)]


@given(
    steps=st.integers(1, 60),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 7),
    padding=st.sampled_from(["causal", "valid"]),
)
def test_a_convolution_has_an_output_for_each_place_of_its_kernel(steps, kernel, stride, padding):
    """Counted one by one from the last step back, against the closed form."""
    layer = {"type": "conv1d", "filters": 2, "kernel_size": kernel, "stride": stride, "padding": padding}
    first = 0 if padding == "causal" else kernel - 1
    places = len(range(steps - 1, first - 1, -stride))
    if places == 0:
        refused(f"its kernel spans {kernel} steps", layer, lookback_period=steps)
    else:
        assert shapes(layer, {"type": "gru", "units": 1}, lookback_period=steps)[1] == (places, 2)


# -- architectures: shapes that do not meet ---------------------------------------------------------------------------


def test_a_sequence_layer_after_a_row_names_both_sides():
    refused(
        "model_architecture.layers[1] (lstm) cannot take (?,), which layers[0] (flatten) gives: it takes a sequence, "
        "(steps, features)",
        {"type": "flatten"},
        {"type": "lstm", "units": 4},
    )


def test_heads_that_do_not_divide_the_features_are_refused_when_these_are_known():
    layers = ({"type": "attention", "heads": 3},)

    assert network(*layers).placed_layers(9)[0].gives == (9,)
    refused("model_architecture.layers[0] (attention) cannot take (30, 8), which is what goes in", *layers)
    refused("its 3 heads do not divide 8 features", *layers)


def test_a_residual_whose_sides_differ_names_both():
    refused(
        "layers[1] (residual) cannot take (30, 16), which layers[0] (dense) gives: its layers make (30, 4) of it",
        {"type": "dense", "units": 16},
        {"type": "residual", "layers": [{"type": "lstm", "units": 4}]},
    )


def test_a_projection_does_not_bring_back_steps():
    inner = [{"type": "conv1d", "filters": 4, "padding": "valid"}]
    refused("its layers make (28, 4) of it", {"type": "residual", "layers": inner, "projection": True})


def test_a_fault_inside_a_residual_is_named_by_its_own_place():
    inner = [{"type": "flatten"}, {"type": "gru", "units": 4}]
    refused(
        "model_architecture.layers[0].layers[1] (gru) cannot take (?,), which layers[0] (flatten) gives",
        {"type": "residual", "layers": inner},
    )


def test_groups_longer_than_the_sequence_are_refused():
    refused("it groups 40 steps and is given 30", {"type": "pooling", "size": 40})


def test_a_flattened_window_has_a_bound():
    refused("it would give 150,000 features", {"type": "flatten"}, lookback_period=500, n_features=300)


@given(
    units=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    kinds=st.lists(st.sampled_from(["dense", "lstm", "gru", "tcn"]), min_size=5, max_size=5),
)
def test_for_every_stack_each_layer_takes_what_the_one_before_gives(units, kinds):
    layers = [
        {"type": kind, "filters" if kind == "tcn" else "units": count}
        for kind, count in zip(kinds, units, strict=False)
    ]
    placed = network(*layers).placed_layers(8)

    assert [one.given for one in placed[1:]] == [one.gives for one in placed[:-1]]
    assert placed[-1].gives == (units[-1],)


# -- architectures: a framework's own layers --------------------------------------------------------------------------


def test_a_framework_says_what_its_own_layer_gives():
    own = {"type": "framework", "name": "doubling", "arguments": {"by": 2}, "input": "sequence"}

    def doubled(layer, given):
        return (given[0], given[1] * layer.arguments["by"])

    assert shapes(own, {"type": "lstm", "units": 4}, own=doubled) == [(30, 8), (30, 16), (4,)]


def test_what_follows_a_frameworks_own_layer_is_checked_once_it_has_answered():
    layers = ({"type": "framework", "name": "mean"}, {"type": "lstm", "units": 4})

    config = network(*layers)

    with pytest.raises(
        ConfigError, match=r"layers\[1\] \(lstm\) cannot take \(8,\), which layers\[0\] \(mean\) gives"
    ):
        config.placed_layers(8, own=lambda layer, given: given[1:])


@pytest.mark.parametrize(
    ("before", "wanted", "message"),
    [
        ([{"type": "flatten"}], "sequence", "it takes a sequence"),
        ([{"type": "dense", "units": 3}], "row", "it takes a row"),
    ],
)
def test_a_frameworks_own_layer_says_what_it_must_be_given(before, wanted, message):
    own = {"type": "framework", "name": "own", "input": wanted}

    refused(message, *before, own, {"type": "framework", "name": "last", "input": "sequence"})


def test_the_output_layer_takes_a_row():
    own = {"type": "framework", "name": "repeating"}

    with pytest.raises(ConfigError, match=r"layers\[0\] gives \(5, 8\), but the output layer takes a row"):
        network(own).placed_layers(8, own=lambda layer, given: (5, *given))


def test_shapes_behind_a_residual_with_an_own_layer_wait_for_the_framework():
    own = {"type": "residual", "layers": [{"type": "framework", "name": "own"}]}
    config = network(own, {"type": "dense", "units": 4})

    assert config.model_architecture.placed((8,)) == ()
    assert [one.gives for one in config.placed_layers(8, own=lambda layer, given: given)] == [(8,), (4,)]


# -- architectures: what is written wrongly ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"type": "lstmm", "units": 4}, "layers.0: unknown type 'lstmm'. Did you mean 'lstm'?"),
        ({"units": 4}, "layers.0.type: required, but not given"),
        ({"type": "lstm"}, "layers.0.lstm.units: required, but not given"),
        ({"type": "lstm", "units": 4, "unitz": 4}, "layers.0.lstm.unitz: unknown key. Did you mean 'units'?"),
        ({"type": "dense", "units": 0}, "layers.0.dense.units: input should be greater than or equal to 1"),
        (
            {"type": "dense", "units": 10**9},
            "layers.0.dense.units: input should be less than or equal to 4096",
        ),
        ({"type": "dense", "units": 4, "activation": "rely"}, "Did you mean 'relu'?"),
        ({"type": "dropout", "rate": 1.0}, "layers.0.dropout.rate: input should be less than 1"),
        ({"type": "residual", "layers": []}, "a residual layer holds at least one layer"),
        ({"type": "conv1d", "filters": 4, "stride": 2, "dilation": 2}, "cannot both be above 1"),
        ({"type": "tcn", "filters": 4, "dilations": []}, "dilations: tuple should have at least 1 item"),
        ({"type": "framework", "name": "x", "arguments": {"f": {}}}, "a parameter is a finite number"),
    ],
    ids=str,
)
def test_a_layer_that_is_written_wrongly_is_refused_with_its_place(layer, message):
    with pytest.raises(ConfigError) as caught:
        network(layer)

    assert message in str(caught.value)


def test_residuals_nest_at_most_three_deep():
    layer = {"type": "dense", "units": 8}
    for _ in range(4):
        layer = {"type": "residual", "layers": [layer]}

    with pytest.raises(ConfigError, match="nest at most 3 deep"):
        network(layer)


def test_a_sequence_layer_inside_a_residual_asks_for_windows():
    inner = [{"type": "dense", "units": 4}, {"type": "gru", "units": 8}]
    config = network({"type": "residual", "layers": inner}, {"type": "dense", "units": 3})

    assert [one.last_step for one in config.placed_layers(8)] == [True, False]
    assert [one.gives for one in config.placed_layers(8)[0].inner] == [(30, 4), (30, 8)]


def test_a_configuration_comes_back_from_json_as_it_was():
    config = network(
        *LSTM_AND_DENSE,
        {"type": "residual", "layers": [{"type": "dense", "units": 16}]},
        {"type": "framework", "name": "own", "arguments": {"sizes": [1, 2]}},
        training_config={
            "optimizer": {"name": "sgd", "momentum": 0.9},
            "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
            "class_weight": {"0": 1.0, "1": 2.5},
            "scheduler": "cosine",
            "early_stopping": {"patience": 3},
            "callbacks": ["one", {"name": "two", "every": 5}],
        },
    )

    again = parse_config(NetworkModelConfig, json.loads(config.model_dump_json()))

    assert again == config


# -- the shape of the input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([], [30, 8], "input_shape is (30, 8), but the layers are given (?,): no layer takes a sequence"),
        (
            LSTM_AND_DENSE,
            [8],
            "the layers are given (30, ?): a layer takes a sequence, of lookback_period 30 rows",
        ),
        (LSTM_AND_DENSE, [20, 8], "input_shape is (20, 8), but the layers are given (30, ?)"),
    ],
)
def test_an_input_shape_that_contradicts_the_layers_is_refused(layers, shape, message):
    with pytest.raises(ConfigError) as caught:
        network(*layers, input_shape=shape)

    assert message in str(caught.value)


def test_an_input_shape_that_contradicts_the_features_is_refused():
    config = network(*LSTM_AND_DENSE, input_shape=[30, 8])

    assert config.placed_layers(8)[0].given == (30, 8)
    with pytest.raises(ConfigError, match=r"input_shape is \(30, 8\), but the features give \(30, 9\)"):
        config.placed_layers(9)


def test_an_input_shape_lets_shapes_be_checked_before_there_are_features():
    with pytest.raises(ConfigError, match="4 heads do not divide 6 features"):
        network({"type": "attention"}, input_shape=[30, 6])


# -- training ---------------------------------------------------------------------------------------------------------


def test_names_stand_for_tables_without_arguments():
    config = trained_by(optimizer="sgd", scheduler="step", loss="cross_entropy", callbacks=["one"])

    assert config == trained_by(
        optimizer={"name": "sgd"},
        scheduler={"name": "step"},
        loss={"name": "cross_entropy"},
        callbacks=[{"name": "one"}],
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "mse"}, "training_config.loss 'mse' is not for classification. Valid: cross_entropy"),
        ({"loss": {"name": "cross_entropy", "smoothing": 1}}, "loss.cross_entropy.smoothing: unknown key"),
        ({"epochs": 0}, "training_config.epochs: input should be greater than or equal to 1"),
        ({"epoch": 5}, "training_config.epoch: unknown key. Did you mean 'epochs'?"),
        (
            {"scheduler": {"name": "plateau", "patienc": 3}},
            "plateau.patienc: unknown key. Did you mean 'patience'?",
        ),
        ({"early_stopping": {"patienc": 3}}, "early_stopping.patienc: unknown key. Did you mean 'patience'?"),
        ({"class_weight": {"0": -1}}, "input should be greater than 0"),
        ({"optimizer": {"momentum": 0.9}}, "training_config.optimizer.name: required"),
        ({"gradient_clip": math.inf}, "training_config.gradient_clip: input should be a finite number"),
    ],
    ids=str,
)
def test_training_that_is_written_wrongly_is_refused(fields, message):
    with pytest.raises(ConfigError) as caught:
        trained_by(**fields)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"loss": "cross_entropy"}, "not for regression"), ({"class_weight": "balanced"}, "has no classes")],
)
def test_what_is_for_classes_is_refused_for_a_regression(fields, message):
    with pytest.raises(ConfigError, match=message):
        parsed(model_type="regression", training_config=fields)


def test_the_loss_follows_from_the_task():
    training = TrainingConfig()

    assert [training.loss_for(task).name for task in ("classification", "regression")] == [
        "cross_entropy",
        "mse",
    ]
    assert TrainingConfig(loss="huber").loss_for("regression").delta == 1.0


@pytest.mark.parametrize(
    ("fields", "uses"),
    [
        ({}, False),
        ({"early_stopping": {}}, True),
        ({"scheduler": "plateau"}, True),
        ({"scheduler": "step"}, False),
    ],
)
def test_later_rows_are_wanted_for_what_looks_at_their_loss(fields, uses):
    assert TrainingConfig(**fields).uses_validation is uses


@pytest.mark.parametrize(
    ("fields", "decay"),
    [({}, 0.0), ({"optimizer": "AdamW"}, 0.01), ({"optimizer": "adamw", "weight_decay": 0.0}, 0.0)],
)
def test_weights_decay_by_default_where_the_optimizer_is_named_for_it(fields, decay):
    assert TrainingConfig(**fields).decay == decay


def test_a_step_schedule_drops_after_every_so_many_epochs():
    shares = [StepSchedule(every=2, factor=0.5).share(epoch, 5) for epoch in range(5)]

    assert shares == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_an_exponential_schedule_drops_after_every_epoch():
    assert [ExponentialSchedule(factor=0.5).share(epoch, 3) for epoch in range(3)] == [1.0, 0.5, 0.25]


def test_a_cosine_schedule_rises_and_falls():
    schedule = CosineSchedule(warmup_epochs=1, minimum=0.2)

    assert [schedule.share(epoch, 5) for epoch in (0, 1, 3)] == pytest.approx([0.5, 1.0, 0.6])
    assert schedule.share(5, 5) == pytest.approx(0.2)


def test_balanced_class_weights_give_each_class_the_same_total():
    training = TrainingConfig(class_weight="balanced")

    weights = training.row_weights(np.array([0, 0, 0, 1]), classes=(0.0, 1.0), weight=None)

    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])


def test_class_weights_multiply_sample_weights():
    training = TrainingConfig(class_weight={-1.0: 1.0, 1.0: 3.0})

    weights = training.row_weights(np.array([0, 1]), classes=(-1.0, 1.0), weight=np.array([3.0, 1.0]))

    assert weights.tolist() == [1.0, 1.0]


def test_rows_without_weights_all_count_the_same():
    assert TrainingConfig().row_weights(np.array([0, 1]), classes=(0.0, 1.0), weight=None) is None


def test_class_weights_that_name_other_classes_are_refused():
    training = TrainingConfig(class_weight={-1.0: 1.0, 1.0: 3.0})

    with pytest.raises(ConfigError, match="names the classes -1, 1, but the label has 0, 1"):
        training.row_weights(np.array([0, 1]), classes=(0.0, 1.0), weight=None)


def test_steps_that_are_not_known_yet_stay_unknown():
    layers = [
        {"type": "conv1d", "filters": 4, "padding": "valid"},
        {"type": "pooling", "size": 2},
        {"type": "residual", "layers": [{"type": "dense", "units": 4}]},
        {"type": "flatten"},
    ]

    placed = ModelArchitecture(layers=layers).placed((None, 8))

    assert [one.gives for one in placed] == [(None, 4), (None, 4), (None, 4), (None,)]


def test_an_architecture_needs_no_model_around_it():
    stack = ModelArchitecture(layers=LSTM_AND_DENSE)

    assert stack.takes_sequences
    assert stack.placed((12, 8))[-1].gives == (16,)


# -- windows ----------------------------------------------------------------------------------------------------------


def test_rows_one_by_one_need_no_ends():
    assert network({"type": "dense", "units": 4}).window_rows(None) is None


def test_windows_are_as_long_as_the_look_back():
    config = network(*LSTM_AND_DENSE, lookback_period=12)

    assert config.window_rows(np.array([11, 12])) == 12


def test_a_window_of_one_row_ends_at_every_row():
    assert network(*LSTM_AND_DENSE, lookback_period=1).window_rows(None) == 1


def test_windows_that_nobody_says_the_ends_of_are_refused():
    config = network(*LSTM_AND_DENSE, lookback_period=12)

    with pytest.raises(ModelError, match="takes windows of 12 rows, so it must be told where they end"):
        config.window_rows(None)
