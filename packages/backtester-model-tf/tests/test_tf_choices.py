"""Names in a training configuration: every one of Keras's that is offered works, every other has its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from backtester_model_core.exceptions import ConfigError, MissingExtraError
from backtester_model_tf import (
    KerasTrainingConfig,
    TensorFlowModelConfig,
    choices,
    register_callback,
    register_optimizer,
)
from backtester_model_tf.adapter import TensorFlowAdapter
from backtester_model_tf.choices import (
    UNUSABLE_CALLBACKS,
    UNUSABLE_OPTIMIZERS,
    USABLE_CALLBACKS,
    absolute,
    build_callbacks,
    build_loss,
    build_optimizer,
    build_schedule,
    cross_entropy,
    huber,
    keras_optimizers,
    pinball,
)


def training(**fields: Any) -> KerasTrainingConfig:
    return KerasTrainingConfig(**fields)


def refusal_of(model_type: str = "classification", **fields: Any) -> str:
    config = TensorFlowModelConfig(model_type=model_type, training_config=fields)
    with pytest.raises(ConfigError) as refused:
        TensorFlowAdapter().initialize_model(config)
    return str(refused.value)


# -- optimizers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(keras_optimizers()) - set(UNUSABLE_OPTIMIZERS)))
def test_every_optimizer_of_keras_takes_the_shared_options(name: str) -> None:
    built = build_optimizer(training(optimizer=name, learning_rate=0.5, gradient_clip=2.0, weight_decay=0.25))

    assert type(built).__name__.lower() == name
    assert float(built.learning_rate.numpy()) == 0.5
    assert (built.global_clipnorm, built.weight_decay) == (2.0, 0.25)


def test_weights_decay_only_where_that_is_asked_for() -> None:
    decays = [build_optimizer(training(optimizer=name)).weight_decay for name in ("adam", "sgd", "AdamW")]

    assert decays == [None, None, 0.01]
    assert build_optimizer(training(optimizer="adamw", weight_decay=0.0)).weight_decay == 0.0


@register_optimizer("tests.no_optimizer")
def make_none(learning_rate: float) -> None:
    return None


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("adamm", "Did you mean 'adam'?"),
        ("keras.optimizers.Adam", "Unknown training_config.optimizer"),
        ("LossScaleOptimizer", "mixed_precision = true scales the loss"),
        ({"name": "adam", "learning_rate": 1.0}, "training_config.learning_rate sets it"),
        ({"name": "adam", "clipnorm": 1.0}, "gradient_clip"),
        ({"name": "adam", "use_ema": True}, "not an average of them"),
        ({"name": "adam", "beta1": 0.9}, "Did you mean 'beta_1'?"),
        ({"name": "sgd", "momentum": 7}, "refuses its arguments"),
        ("tests.no_optimizer", "makes a NoneType, not a keras.optimizers.Optimizer"),
    ],
    ids=str,
)
def test_an_optimizer_is_refused_with_the_reason(optimizer: Any, message: str) -> None:
    assert message in refusal_of(optimizer=optimizer)


# -- losses --------------------------------------------------------------------------------------------------------

TARGET, OUTPUT = np.array([0.0, 0.0, 4.0]), np.array([1.0, -3.0, 1.0])


def test_losses_are_those_of_their_formulas() -> None:
    assert np.allclose(absolute(TARGET, OUTPUT), [1, 3, 3])
    assert np.allclose(huber(TARGET, OUTPUT, delta=2.0), [0.5, 4, 4])
    assert np.allclose(pinball(TARGET, OUTPUT, quantile=0.9), [0.1, 2.7, 2.7])


def test_cross_entropy_is_that_of_the_softmax() -> None:
    scores = np.log(np.array([[0.8, 0.2], [0.4, 0.6]], dtype=np.float32))

    plain, smooth = (cross_entropy(np.array([0, 1]), scores, smoothing=share) for share in (0.0, 0.2))

    assert np.allclose(plain, [-np.log(0.8), -np.log(0.6)])
    assert np.allclose(smooth[0], -(0.9 * np.log(0.8) + 0.1 * np.log(0.2)))


def test_a_weight_multiplies_a_rows_loss() -> None:
    loss = build_loss(training(), "regression")

    value = loss(np.array([0.0, 0.0]), np.array([[1.0], [2.0]]), sample_weight=np.array([2.0, 0.5]))

    assert float(value) == pytest.approx((2 * 1 + 0.5 * 4) / 2)


@pytest.mark.parametrize(
    ("model_type", "loss", "message"),
    [
        ("classification", "LogCosh", "Unknown training_config.loss for classification"),
        ("regression", "BinaryCrossentropy", "Unknown training_config.loss for regression"),
        ("regression", {"name": "LogCosh", "reduction": "sum"}, "the model sets it"),
    ],
)
def test_a_loss_is_refused_with_the_reason(model_type: Any, loss: Any, message: str) -> None:
    assert message in refusal_of(model_type, loss=loss)


# -- schedules -----------------------------------------------------------------------------------------------------


def test_a_shared_schedule_sets_each_epochs_rate() -> None:
    (callback,) = build_schedule(
        training(learning_rate=0.4, scheduler={"name": "step", "every": 2}), has_later=False
    )

    assert [callback.schedule(epoch, None) for epoch in range(5)] == [0.4, 0.4, 0.2, 0.2, 0.1]


def test_a_plateau_looks_at_later_rows_where_there_are_some() -> None:
    asked = training(learning_rate=0.4, scheduler={"name": "plateau", "patience": 3, "minimum": 0.1})

    built = [build_schedule(asked, has_later=has_later)[0] for has_later in (True, False)]

    assert [one.monitor for one in built] == ["val_loss", "loss"]
    assert (built[0].patience, built[0].min_lr) == (4, pytest.approx(0.04))


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("cosin", "Did you mean 'cosine'?"),
        ({"name": "CosineDecay", "decay_steps": 10, "initial_learning_rate": 1.0}, "learning_rate sets it"),
        ({"name": "CosineDecay"}, "refuses its arguments"),
    ],
)
def test_a_schedule_is_refused_with_the_reason(scheduler: Any, message: str) -> None:
    assert message in refusal_of(scheduler=scheduler)


def test_two_things_that_set_the_learning_rate_are_refused() -> None:
    piecewise = {"name": "PiecewiseConstantDecay", "boundaries": [5], "values": [0.1, 0.01]}

    assert "Leave one of them out" in refusal_of(scheduler=piecewise, callbacks=["ReduceLROnPlateau"])


# -- callbacks -----------------------------------------------------------------------------------------------------


def test_callbacks_are_built_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "find_spec", lambda _: object())
    built, notes = build_callbacks(training(callbacks=USABLE_CALLBACKS), has_later=True, folder=tmp_path)

    assert tuple(type(one).__name__ for one in built) == USABLE_CALLBACKS
    assert notes == []


def test_a_callback_whose_package_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "find_spec", lambda _: None)

    with pytest.raises(MissingExtraError, match="pip install tensorboard"):
        build_callbacks(training(callbacks=["TensorBoard"]), has_later=True, folder=None)


def test_every_callback_of_keras_is_offered_or_refused_with_a_reason() -> None:
    bases = {"Callback", "CallbackList", "History"}

    names = {name for name in dir(keras.callbacks) if name[0].isupper()} - bases

    assert names == {*USABLE_CALLBACKS, *UNUSABLE_CALLBACKS}


def test_what_a_callback_needs_and_does_not_have_is_noted() -> None:
    built, notes = build_callbacks(
        training(callbacks=["EarlyStopping", "CSVLogger"]), has_later=False, folder=None
    )

    assert built == []
    assert notes == [
        "EarlyStopping was left out: no later rows were held back for it to look at.",
        "CSVLogger was left out: no run folder is known that it could write to.",
    ]


@register_callback("tests.no_callback")
def make_no_callback() -> None:
    return None


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("EarlyStoping", "Did you mean 'EarlyStopping'?"),
        ("RemoteMonitor", "it sends over the network"),
        ("LambdaCallback", "it runs code"),
        ("ModelCheckpoint", "a format that can hold code"),
        ({"name": "CSVLogger", "filename": "/etc/passwd"}, "it writes into the run folder"),
        ({"name": "EarlyStopping", "verbose": 1}, "the logger is told"),
        ({"name": "ReduceLROnPlateau", "factor": 2.0}, "refuses its arguments"),
        ("tests.no_callback", "makes a NoneType, not a keras.callbacks.Callback"),
    ],
    ids=str,
)
def test_a_callback_is_refused_with_the_reason(callback: Any, message: str) -> None:
    assert message in refusal_of(callbacks=[callback])


def test_an_unknown_training_step_says_how_to_register_one() -> None:
    assert "backtester_model_tf.register_train_step" in refusal_of(train_step="mine")
