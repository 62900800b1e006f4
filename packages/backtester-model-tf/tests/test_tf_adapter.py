"""The TensorFlow adapter: what it learns, weights, seeds, early stopping, losses that break, updates, importance."""

from __future__ import annotations

import logging
import pickle
import random
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from backtester_model_core.adapter import HeldBack
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError, ModelError, TrainingError
from backtester_model_core.testing import random_bars, synthetic_rows
from backtester_model_core.walkforward import walk_forward
from backtester_model_tf import (
    TensorFlowModelConfig,
    register_callback,
    register_loss,
    register_optimizer,
    register_train_step,
)
from backtester_model_tf.adapter import TensorFlowAdapter
from backtester_model_tf.model import ANSWERED_ROWS, TensorFlowModel
from backtester_model_tf.training import IDLE, IdleNetworks

ADAPTER = TensorFlowAdapter()
CLASSES = (0.0, 1.0)
LAG = 30
QUICK = {"epochs": 3, "batch_size": 50, "learning_rate": 0.02}


def settings(layers: Any = (), **fields: Any) -> TensorFlowModelConfig:
    training = {**QUICK, **fields.pop("training_config", {})}
    return TensorFlowModelConfig(model_architecture={"layers": layers}, training_config=training, **fields)


def trained(config: TensorFlowModelConfig, rows: Any = None, **given: Any) -> TensorFlowModel:
    features, target, *ends = rows or synthetic_rows(200, model_type=config.model_type)
    classes = CLASSES if config.model_type == "classification" else None
    given = {"classes": classes, "seed": 0, **given, **({"ends": ends[0]} if ends else {})}
    return ADAPTER.train_model(ADAPTER.initialize_model(config), features, target, **given)


def regression(**fields: Any) -> TensorFlowModel:
    return trained(settings(model_type="regression", **fields))


def planted(n_rows: int, *, seed: int, shuffled: bool = False) -> Any:
    """Return rows whose first feature's sign thirty bars ago is the direction: (features, target, ends)."""
    rng = np.random.default_rng(seed)
    features, ends = rng.normal(size=(n_rows, 2)), np.arange(LAG, n_rows)
    target = (features[ends - LAG, 0] > 0).astype(np.int64)
    return features, rng.permutation(target) if shuffled else target, ends


def accuracy(model: TensorFlowModel, rows: Any) -> float:
    features, target, ends = rows
    return float(np.mean(ADAPTER.predict(model, features, ends=ends).argmax(axis=1) == target))


LSTM = settings(
    [{"type": "lstm", "units": 8, "bidirectional": True}],
    lookback_period=LAG + 1,
    training_config={"epochs": 7, "batch_size": 64},
)


# -- what is learned -----------------------------------------------------------------------------------------------


def test_an_lstm_learns_a_sign_of_thirty_bars_ago() -> None:
    model = trained(LSTM, planted(2000, seed=0))

    assert accuracy(model, planted(1000, seed=1)) > 0.95


def test_an_lstm_learns_nothing_when_the_pattern_is_shuffled() -> None:
    model = trained(LSTM, planted(2000, seed=0, shuffled=True))

    assert accuracy(model, planted(1000, seed=1)) == pytest.approx(0.5, abs=0.05)


SEQUENCES: dict[str, Any] = {
    "gru": [{"type": "gru", "units": 8}],
    "conv1d": [{"type": "conv1d", "filters": 8, "kernel_size": 4}, {"type": "flatten"}],
    "tcn": [{"type": "tcn", "filters": 8, "dilations": [1, 2], "kernel_size": 2}],
    "attention": [
        {"type": "dense", "units": 8},
        {"type": "positional_encoding", "kind": "learned"},
        {"type": "attention", "heads": 2},
        {"type": "flatten"},
    ],
    "transformer": [
        {"type": "dense", "units": 8},
        {"type": "positional_encoding"},
        {"type": "transformer_encoder", "heads": 2, "feedforward_units": 8},
        {"type": "flatten"},
    ],
    "keras": [
        {
            "type": "framework",
            "name": "SeparableConv1D",
            "arguments": {"filters": 8, "kernel_size": 4},
            "input": "sequence",
        },
        {"type": "flatten"},
    ],
}


@pytest.mark.parametrize("layers", SEQUENCES.values(), ids=SEQUENCES)
def test_every_kind_of_sequence_layer_learns_a_sign_of_three_bars_ago(layers: Any) -> None:
    rng = np.random.default_rng(0)
    features, ends = rng.normal(size=(600, 2)), np.arange(3, 600)
    target = (features[ends - 3, 0] > 0).astype(np.int64)
    config = settings(layers, lookback_period=4, training_config={"epochs": 8, "batch_size": 32})

    model = trained(config, (features, target, ends))

    assert accuracy(model, (features, target, ends)) > 0.85


def test_a_linear_model_of_rows_finds_the_line() -> None:
    model = regression(training_config={"epochs": 30, "learning_rate": 0.1})
    features, _ = synthetic_rows(200, seed=1, model_type="regression")

    assert np.corrcoef(ADAPTER.predict(model, features), 2 * (features[:, 0] - features[:, 1]))[0, 1] > 0.99


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        "mae",
        {"name": "huber", "delta": 0.5},
        {"name": "quantile", "quantile": 0.5},
        "LogCosh",
        "tests.absolute",
    ],
    ids=str,
)
def test_every_loss_of_a_regression_learns_the_line(loss: Any) -> None:
    model = regression(training_config={"loss": loss, "epochs": 8, "learning_rate": 0.1})
    features, target = synthetic_rows(200, seed=1, model_type="regression")

    assert np.corrcoef(ADAPTER.predict(model, features), target)[0, 1] > 0.8


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "cross_entropy", "label_smoothing": 0.1},
        {"name": "CategoricalFocalCrossentropy", "gamma": 1.0},
    ],
    ids=str,
)
def test_every_loss_of_a_classification_learns_the_line(loss: Any) -> None:
    model = trained(settings(training_config={"loss": loss, "epochs": 8, "learning_rate": 0.1}))
    features, target = synthetic_rows(200, seed=1)

    assert np.mean(ADAPTER.predict(model, features).argmax(axis=1) == target) > 0.8


def test_a_quantile_is_a_quantile() -> None:
    high = regression(
        training_config={"loss": {"name": "quantile", "quantile": 0.9}, "epochs": 60, "learning_rate": 0.05}
    )
    features, target = synthetic_rows(200, model_type="regression")

    assert np.mean(target < ADAPTER.predict(high, features)) == pytest.approx(0.9, abs=0.05)


def test_the_unit_of_a_target_does_not_matter() -> None:
    features, target = synthetic_rows(200, model_type="regression")
    config = settings(model_type="regression")

    small = trained(config, (features, target * 1e-4 + 3.0))

    plain = trained(config, (features, target))
    expected = ADAPTER.predict(plain, features) * 1e-4 + 3.0
    assert np.allclose(ADAPTER.predict(small, features), expected, atol=1e-8)


# -- weights and classes -------------------------------------------------------------------------------------------


def test_a_class_that_weighs_more_is_foreseen_more_often() -> None:
    plain = trained(settings())
    heavy = trained(settings(training_config={"class_weight": {"0": 1.0, "1": 20.0}, "epochs": 10}))
    features = synthetic_rows(200)[0]

    rises = [ADAPTER.predict(model, features)[:, 1].mean() for model in (plain, heavy)]

    assert rises[1] > rises[0] + 0.1


def test_a_class_that_was_never_seen_is_impossible_and_noted() -> None:
    features, target = synthetic_rows(100)
    model = trained(settings(), (features, target), classes=(-1.0, 0.0, 1.0))

    assert (ADAPTER.predict(model, features)[:, 2] == 0).all()
    assert "No training row has the class 1: its probability is 0." in ADAPTER.training_notes(model)


def test_class_weights_that_do_not_name_the_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="class_weight names the classes 2, but the label has 0, 1"):
        trained(settings(training_config={"class_weight": {"2": 1.0}}))


# -- seeds ---------------------------------------------------------------------------------------------------------

RANDOM_LAYERS = [
    {"type": "dense", "units": 8, "dropout": 0.3},
    {"type": "framework", "name": "GaussianNoise", "arguments": {"stddev": 0.1}},
]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    config = settings(RANDOM_LAYERS)

    first, again, other = (trained(config, seed=seed).weights for seed in (1, 1, 2))

    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])


def test_a_kept_network_starts_as_a_new_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(RANDOM_LAYERS, training_config={"optimizer": "nadam", "scheduler": "exponential"})
    kept = [trained(config).weights for _ in range(2)][1]
    monkeypatch.setattr("backtester_model_tf.adapter.IDLE", IdleNetworks(0))

    assert all(map(np.array_equal, kept, trained(config).weights))


def test_few_networks_are_kept() -> None:
    idle = IdleNetworks(2)
    for key in "abc":
        idle.give(key, keras.Sequential())

    assert sorted(idle._networks) == ["b", "c"]


def test_training_leaves_the_random_numbers_and_settings_of_others_alone() -> None:
    tf.random.set_seed(3)
    drawn, policy = tf.random.uniform(()).numpy(), keras.config.dtype_policy()
    tf.random.set_seed(3)
    state, numbers = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002 - others may use them
    trained(settings(RANDOM_LAYERS))

    assert random.getstate() == state
    assert np.array_equal(np.random.get_state()[1], numbers)  # noqa: NPY002
    assert tf.random.uniform(()).numpy() == drawn
    assert keras.config.dtype_policy() is policy


def test_without_a_seed_each_training_is_another() -> None:
    first, second = (trained(settings(), seed=None).weights[0] for _ in range(2))

    assert not np.array_equal(first, second)


# -- early stopping and losses that break --------------------------------------------------------------------------


def noise(n_rows: int = 60) -> Any:
    return synthetic_rows(n_rows, signal=0.0)


STOPPING = {"epochs": 40, "learning_rate": 0.05, "early_stopping": {"patience": 2}}


def test_training_stops_early_and_keeps_the_best_weights() -> None:
    layers = [{"type": "dense", "units": 64, "activation": "relu"}]
    later = HeldBack(*synthetic_rows(200, seed=9, signal=0.0))

    model = trained(settings(layers, training_config=STOPPING), noise(), validation=later)

    note = ADAPTER.training_notes(model)[-1]
    n_epochs, best = _epochs_of(note)
    assert n_epochs == best + 2
    assert n_epochs < 40


def _epochs_of(note: str) -> tuple[int, int]:
    words = note.replace(",", "").split()
    return int(words[1]), int(words[words.index("was") + 1])


def test_the_weights_of_the_best_epoch_are_those_of_a_training_that_ends_there() -> None:
    layers = [{"type": "dense", "units": 64, "activation": "relu"}]
    later = HeldBack(*synthetic_rows(200, seed=9, signal=0.0))
    stopped = trained(settings(layers, training_config=STOPPING), noise(), validation=later)
    _, best = _epochs_of(ADAPTER.training_notes(stopped)[-1])

    until_then = trained(
        settings(layers, training_config={**STOPPING, "epochs": best, "early_stopping": None}), noise()
    )

    assert all(map(np.array_equal, stopped.weights, until_then.weights))


def test_without_later_rows_training_runs_to_its_end_and_says_so() -> None:
    model = trained(settings(training_config={"early_stopping": {}}))

    assert "No later rows were held back, so the training did not stop early." in model.notes


def test_later_rows_are_wanted_for_what_looks_at_them() -> None:
    asked = [
        settings(training_config=training)
        for training in (
            {},
            {"early_stopping": {}},
            {"scheduler": "plateau"},
            {"callbacks": ["ReduceLROnPlateau"]},
            {"callbacks": [{"name": "EarlyStopping", "monitor": "loss"}]},
        )
    ]

    assert [ADAPTER.uses_validation(config) for config in asked] == [False, True, True, True, False]
    assert not ADAPTER.uses_validation(ModelConfig(framework="tensorflow"))


@register_train_step("tests.breaks_in_epoch_3")
def break_in_epoch_3(network: Any, inputs: Any, target: Any, weight: Any) -> Any:
    with tf.GradientTape() as tape:
        loss = network.compute_loss(
            x=inputs, y=target, y_pred=network(inputs, training=True), sample_weight=weight
        )
        broken = tf.cast(network.optimizer.iterations >= 8, tf.float32)
        loss = loss + tf.where(broken > 0, float("nan"), 0.0)
    network.optimizer.apply_gradients(
        zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables, strict=True)
    )
    return loss


def test_a_loss_that_breaks_ends_the_training_at_its_best_epoch(caplog: pytest.LogCaptureFixture) -> None:
    model = trained(settings(training_config={"epochs": 9, "train_step": "tests.breaks_in_epoch_3"}))

    expected = "The loss was not finite in epoch 3 of 9, so the training stopped and went back to epoch 2."
    assert expected in model.notes[-1]
    assert expected in caplog.text
    assert np.isfinite(ADAPTER.predict(model, synthetic_rows(10)[0])).all()
    two = trained(settings(training_config={"epochs": 2, "train_step": "tests.breaks_in_epoch_3"}))
    assert all(map(np.array_equal, model.weights, two.weights))


def test_a_loss_that_breaks_at_once_is_an_error_with_advice() -> None:
    config = settings(
        [{"type": "dense", "units": 8}],
        model_type="regression",
        training_config={"optimizer": "sgd", "learning_rate": 100.0, "epochs": 30},
    )

    with pytest.raises(TrainingError, match=r"not finite in epoch 1 of 30. Lower learning_rate"):
        trained(config, (synthetic_rows(2000)[0] * 1e6, synthetic_rows(2000, model_type="regression")[1]))


def test_an_error_of_keras_in_training_is_a_training_error() -> None:
    with pytest.raises(TrainingError, match=r"Keras cannot train this network: .*wrong on purpose"):
        regression(training_config={"loss": "tests.fails"})


@register_loss("tests.absolute")
def absolute(target: Any, output: Any) -> Any:
    return tf.abs(target - output)


@register_loss("tests.fails")
def fail(target: Any, output: Any) -> Any:
    raise ValueError("wrong on purpose")


# -- the loop ------------------------------------------------------------------------------------------------------


@register_optimizer("tests.plain_descent")
class PlainDescent(keras.optimizers.SGD):
    """Descend."""


@register_callback("tests.counts")
class Counts(keras.callbacks.Callback):
    """Count epochs, and stop after as many."""

    seen: ClassVar[list[int]] = []

    def __init__(self, stop_after: int = 99) -> None:
        super().__init__()
        self.stop_after = stop_after

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(epoch)
        self.model.stop_training = epoch + 1 >= self.stop_after


def test_registered_parts_take_part() -> None:
    Counts.seen.clear()
    training = {
        "optimizer": {"name": "tests.plain_descent", "momentum": 0.5},
        "callbacks": [{"name": "tests.counts", "stop_after": 2}],
        "epochs": 9,
    }

    trained(settings(training_config=training))

    assert Counts.seen == [0, 1]


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": "sgd", "scheduler": "step"},
        {"optimizer": {"name": "RMSprop", "rho": 0.8}, "scheduler": "plateau"},
        {"optimizer": "adamw", "weight_decay": 0.1, "gradient_clip": 0.5},
        {"optimizer": "Lion", "scheduler": {"name": "cosine", "warmup_epochs": 1}},
        {"scheduler": {"name": "ExponentialDecay", "decay_steps": 10, "decay_rate": 0.9}},
        {"callbacks": ["TerminateOnNaN", {"name": "ReduceLROnPlateau", "monitor": "loss"}]},
        {"shuffle": False, "mixed_precision": True},
        {"batch_size": 199},
    ],
    ids=str,
)
def test_a_choice_of_training_trains(training: dict[str, Any]) -> None:
    model = trained(settings(training_config=training))

    assert np.isfinite(ADAPTER.predict(model, synthetic_rows(20)[0])).all()


def test_logs_go_into_the_run_folder(tmp_path: Path) -> None:
    training = {"epochs": 2, "batch_size": 256, "callbacks": ["CSVLogger"]}
    config = {"framework": "tensorflow", "training_config": training, "validation": {"test_size": 250}}

    result = walk_forward(config, random_bars(500), out=tmp_path)

    logs = sorted(tmp_path.glob("logs/*/001/epochs.csv"))
    assert len(logs) == len(result.windows)
    assert logs[0].read_text().splitlines()[0] == "epoch,loss,val_loss"  # Keras leaves room for it
    assert len(logs[0].read_text().splitlines()) == 3


def test_progress_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    trained(settings())

    assert [record.message.split(":")[0] for record in caplog.records if "epoch" in record.message] == [
        f"epoch {number} of 3" for number in (1, 2, 3)
    ]


def test_what_the_cpu_cannot_do_is_noted() -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    model = trained(settings(training_config={"mixed_precision": True}))

    assert "mixed_precision needs a GPU: on the CPU all is in single precision." in model.notes
    assert model.notes[0].endswith("on the CPU.")


def test_half_precision_computes_where_it_is_asked_for() -> None:
    model = trained(settings([{"type": "dense", "units": 4}]))

    network = model.build(policy="mixed_float16")

    assert network.layers[1].compute_dtype == "float16"
    assert network.layers[-1].compute_dtype == "float32"


# -- answers -------------------------------------------------------------------------------------------------------


def test_an_answer_does_not_depend_on_the_rows_beside_it() -> None:
    model = trained(settings([{"type": "dense", "units": 8, "activation": "tanh"}, {"type": "batch_norm"}]))
    features = synthetic_rows(2 * ANSWERED_ROWS + 7)[0]

    whole = ADAPTER.predict(model, features)
    single = np.concatenate([ADAPTER.predict(model, features[row : row + 1]) for row in range(0, 519, 37)])

    assert np.array_equal(whole[::37], single)


def test_no_row_gets_no_answer() -> None:
    model = trained(settings())

    assert ADAPTER.predict(model, np.empty((0, 4))).shape == (0, 2)


def test_windows_answer_at_their_ends_only() -> None:
    config = settings([{"type": "gru", "units": 4}], lookback_period=4)
    features, target = synthetic_rows(100)
    ends = np.arange(3, 100)
    model = trained(config, (features, target[3:], ends))

    chosen = ADAPTER.predict(model, features, ends=np.array([50, 7]))

    assert np.array_equal(chosen, ADAPTER.predict(model, features, ends=ends)[[47, 4]])
    assert ADAPTER.context_rows(config) == 3
    assert ADAPTER.context_rows(settings()) == 0


def test_windows_without_ends_are_refused() -> None:
    config = settings([{"type": "gru", "units": 4}], lookback_period=4)

    with pytest.raises(ModelError, match="takes windows of 4 rows, so it must be told where they end"):
        trained(config)


def test_an_untrained_model_has_nothing_to_say() -> None:
    with pytest.raises(ModelError, match="Train it first"):
        ADAPTER.predict(ADAPTER.initialize_model(settings()), np.zeros((1, 4)))


def test_another_frameworks_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes a TensorFlowModelConfig, not a ModelConfig"):
        ADAPTER.initialize_model(ModelConfig(framework="tensorflow"))
    assert ADAPTER.context_rows(ModelConfig(framework="tensorflow")) == 0


def test_a_model_that_has_answered_still_travels() -> None:
    model = trained(settings())
    features = synthetic_rows(10)[0]
    answer = ADAPTER.predict(model, features)

    twin = pickle.loads(pickle.dumps(model))

    assert np.array_equal(ADAPTER.predict(twin, features), answer)


# -- continuing and weighing ---------------------------------------------------------------------------------------


def test_an_update_continues_a_copy() -> None:
    features, target = synthetic_rows(200)
    model = trained(settings(), (features, target))
    before = [weight.copy() for weight in model.weights]

    updated = ADAPTER.update_model(model, features, target, seed=0)

    assert all(map(np.array_equal, model.weights, before))
    losses = [
        -np.log(ADAPTER.predict(one, features)[np.arange(200), target]).mean() for one in (model, updated)
    ]
    assert losses[1] < losses[0]


def test_an_update_may_bring_a_class_that_was_not_seen() -> None:
    features, target = synthetic_rows(100)
    model = trained(settings(), (features, target), classes=(0.0, 1.0, 2.0))

    updated = ADAPTER.update_model(model, features, target + 1, seed=0)

    assert (ADAPTER.predict(updated, features)[:, 2] > 0).all()


def test_features_that_decide_weigh_most() -> None:
    features, target = synthetic_rows(300)
    model = trained(settings(training_config={"epochs": 10}), (features, target))

    importance = ADAPTER.feature_importance(model, features, target, seed=0)

    assert set(np.argsort(importance)[2:]) == {0, 1}
    assert (importance >= 0).all()


def test_features_of_a_regression_of_windows_are_weighed_too() -> None:
    features, target = synthetic_rows(200, model_type="regression")
    config = settings(
        [{"type": "flatten"}], lookback_period=2, model_type="regression", training_config={"epochs": 10}
    )
    model = trained(config, (features, target[1:], np.arange(1, 200)))

    importance = ADAPTER.feature_importance(model, features, target[1:], seed=0, ends=np.arange(1, 200))

    assert set(np.argsort(importance)[2:]) == {0, 1}


# -- memory --------------------------------------------------------------------------------------------------------


def test_a_thousand_answers_and_many_trainings_trace_nothing_anew() -> None:
    model = trained(settings())
    row = synthetic_rows(1)[0]
    ADAPTER.predict(model, row)
    answer, kept = model.answer, list(IDLE._networks.values())
    traced = [network.train_function for network in kept]

    for _ in range(1000):
        ADAPTER.predict(model, row)
    for seed in range(5):
        trained(settings(), seed=seed)

    assert model.answer is answer
    assert set(map(id, IDLE._networks.values())) == set(map(id, kept))
    assert all(one.train_function is before for one, before in zip(kept, traced, strict=True))
