"""What the names in a training configuration stand for: optimizers, losses, schedules and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from backtester_model_core.config import Named, TrainingConfig
from backtester_model_core.config.training import (
    SHARED_LOSSES,
    SHARED_SCHEDULES,
    AbsoluteLoss,
    CrossEntropyLoss,
    HuberLoss,
    PlateauSchedule,
    QuantileLoss,
)
from backtester_model_core.exceptions import ConfigError, MissingExtraError
from backtester_model_tf.backend import keras
from backtester_model_tf.config import WATCHING, KerasTrainingConfig
from backtester_model_tf.named import call_named, keras_classes
from backtester_model_tf.registered import CALLBACKS, LOSSES, OPTIMIZERS, TRAIN_STEPS

ops = keras.ops

Loss: TypeAlias = Callable[[Any, Any], Any]
"""From (target, output) to one number a row."""

# -- optimizers ----------------------------------------------------------------------------------------------------

UNUSABLE_OPTIMIZERS: Mapping[str, str] = {
    "lossscaleoptimizer": "training_config.mixed_precision = true scales the loss where that is needed",
    "multioptimizer": "it is made of other optimizers, which a configuration cannot give",
    "optimizermap": "it is made of other optimizers, which a configuration cannot give",
    "schedulefreeadamw": "it answers by other weights than it trains, which early stopping would not see",
}
_AVERAGE = "the weights that stay are those by which the loss was measured, not an average of them"
_CLIP = "training_config.gradient_clip bounds the norm of all gradients together"
REFUSED_OF_OPTIMIZERS: Mapping[str, str] = {
    "clipnorm": _CLIP,
    "clipvalue": _CLIP,
    "ema_momentum": _AVERAGE,
    "ema_overwrite_frequency": _AVERAGE,
    "global_clipnorm": _CLIP,
    "learning_rate": "training_config.learning_rate sets it",
    "loss_scale_factor": UNUSABLE_OPTIMIZERS["lossscaleoptimizer"],
    "name": "nobody reads it",
    "use_ema": _AVERAGE,
    "weight_decay": "training_config.weight_decay sets it, for every optimizer alike",
}


@cache
def keras_optimizers() -> Mapping[str, Any]:
    """Return Keras's optimizers by their names in lower case."""
    found = keras_classes(keras.optimizers, keras.optimizers.Optimizer)
    return {name.lower(): thing for name, thing in found.items()}


def build_optimizer(training: TrainingConfig) -> Any:
    """Build an optimizer of Keras's or a registered one, with its schedule where that is one of Keras's.

    Raises:
        ConfigError: When there is none of that name, or it does not take the arguments.
    """
    option, name = "training_config.optimizer", training.optimizer.name
    key, known = name.lower(), keras_optimizers()
    if key in UNUSABLE_OPTIMIZERS:
        raise ConfigError(f"{option} {name!r} cannot be used: {UNUSABLE_OPTIMIZERS[key]}.")
    if name not in OPTIMIZERS and key not in known:
        valid = [*(one for one in known if one not in UNUSABLE_OPTIMIZERS), *OPTIMIZERS]
        raise ConfigError.unknown(option, name, valid)
    given: dict[str, Any] = {"learning_rate": _learning_rate(training)}
    if training.gradient_clip is not None:
        given["global_clipnorm"] = training.gradient_clip
    if training.decay > 0 or key == "adamw":  # whose own default is not 0
        given["weight_decay"] = training.decay
    found = OPTIMIZERS[name] if name in OPTIMIZERS else known[key]
    optimizer = call_named(
        option, name, found, training.optimizer.arguments, refused=REFUSED_OF_OPTIMIZERS, given=given
    )
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ConfigError(
            f"{option} {name!r} makes a {type(optimizer).__name__}, not a keras.optimizers.Optimizer."
        )
    return optimizer


# -- losses --------------------------------------------------------------------------------------------------------


class RowLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras is untyped
    """The mean over a batch of one number a row."""

    def __init__(self, of_rows: Loss, *, is_classifier: bool) -> None:
        super().__init__(name="loss", dtype="float32")
        self.of_rows, self.is_classifier = of_rows, is_classifier

    def call(self, target: Any, output: Any) -> Any:
        """Return (n,) losses of (n,) targets and (n, n_outputs) outputs."""
        if self.is_classifier:
            return self.of_rows(ops.cast(target, "int32"), output)
        return self.of_rows(target, output[:, 0])


def build_loss(training: TrainingConfig, model_type: str) -> RowLoss:
    """Return what training makes small.

    Raises:
        ConfigError: When there is no loss of that name for the task, or it does not take the arguments.
    """
    chosen = training.loss_for(model_type)
    if isinstance(chosen, Named):
        of_rows = _named_loss(chosen, model_type)
    elif isinstance(chosen, CrossEntropyLoss):
        of_rows = partial(cross_entropy, smoothing=chosen.label_smoothing)
    elif isinstance(chosen, HuberLoss):
        of_rows = partial(huber, delta=chosen.delta)
    elif isinstance(chosen, QuantileLoss):
        of_rows = partial(pinball, quantile=chosen.quantile)
    else:
        of_rows = absolute if isinstance(chosen, AbsoluteLoss) else squared
    return RowLoss(of_rows, is_classifier=model_type == "classification")


def cross_entropy(target: Any, output: Any, *, smoothing: float) -> Any:
    """Return minus the log probability of each row's class, a share of it spread over all classes."""
    logs = ops.log_softmax(output)
    of_class = ops.squeeze(ops.take_along_axis(logs, target[:, None], axis=1), axis=1)
    return -(1 - smoothing) * of_class - smoothing * ops.mean(logs, axis=1)


def squared(target: Any, output: Any) -> Any:
    """Return the squared errors."""
    return ops.square(target - output)


def absolute(target: Any, output: Any) -> Any:
    """Return the absolute errors."""
    return ops.abs(target - output)


def huber(target: Any, output: Any, *, delta: float) -> Any:
    """Return half the squared errors up to ``delta``, and lines beyond."""
    error = ops.abs(target - output)
    near = ops.minimum(error, delta)
    return near * (error - near / 2)


def pinball(target: Any, output: Any, *, quantile: float) -> Any:
    """Return ``quantile`` times what a target lies above, or ``1 - quantile`` times what it lies below."""
    above = target - output
    return ops.maximum(quantile * above, (quantile - 1) * above)


KERAS_LOSSES: Mapping[str, tuple[str, ...]] = {
    "classification": ("CategoricalFocalCrossentropy",),
    "regression": ("LogCosh",),
}
"""Losses of Keras's own that suit scores of classes and standardised targets, beside the shared ones."""


def _named_loss(chosen: Named, model_type: str) -> Loss:
    option, name = "training_config.loss", chosen.name
    if name in LOSSES:
        return partial(LOSSES[name], **chosen.arguments)
    if name not in KERAS_LOSSES[model_type]:
        valid = [*SHARED_LOSSES[model_type], *KERAS_LOSSES[model_type], *LOSSES]
        raise ConfigError.unknown(f"{option} for {model_type}", name, valid)
    loss = call_named(
        option,
        name,
        getattr(keras.losses, name),
        chosen.arguments,
        refused=dict.fromkeys(("dtype", "from_logits", "name", "reduction", "axis"), "the model sets it"),
        given={"from_logits": True} if model_type == "classification" else {},
    )
    if model_type == "classification":
        return lambda target, output: loss.call(ops.one_hot(target, output.shape[-1]), output)
    return lambda target, output: loss.call(target[:, None], output[:, None])


# -- schedules -----------------------------------------------------------------------------------------------------


def _learning_rate(training: TrainingConfig) -> Any:
    """Return the learning rate, or a schedule of Keras's, which goes by steps."""
    chosen = training.scheduler
    if not isinstance(chosen, Named):
        return training.learning_rate
    option = "training_config.scheduler"
    known = keras_classes(keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule)
    if chosen.name not in known:
        raise ConfigError.unknown(option, chosen.name, [*SHARED_SCHEDULES, *known])
    start = {"initial_learning_rate": training.learning_rate}
    return call_named(
        option,
        chosen.name,
        known[chosen.name],
        chosen.arguments,
        refused={"initial_learning_rate": "training_config.learning_rate sets it", "name": "nobody reads it"},
        given={} if chosen.name == "PiecewiseConstantDecay" else start,
    )


def build_schedule(training: TrainingConfig, *, has_later: bool) -> list[Any]:
    """Return the callback that changes the learning rate from epoch to epoch, if there is one."""
    chosen, epochs = training.scheduler, training.epochs
    if chosen is None or isinstance(chosen, Named):
        return []
    if isinstance(chosen, PlateauSchedule):
        return [
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss" if has_later else "loss",
                factor=chosen.factor,
                patience=chosen.patience + 1,  # Keras counts the epoch of the drop, too
                min_delta=chosen.min_delta,
                min_lr=chosen.minimum * training.learning_rate,
                mode="min",
            )
        ]
    share = chosen.share
    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, _: training.learning_rate * share(epoch, epochs))
    ]


# -- callbacks -----------------------------------------------------------------------------------------------------

_PRINTS = "the logger is told of every epoch"
_FOLDER = "it writes into the run folder"
REFUSED_OF_CALLBACKS: Mapping[str, str] = {
    "append": _FOLDER,
    "embeddings_metadata": "a configuration does not name places on the disk",
    "filename": _FOLDER,
    "log_dir": _FOLDER,
    "verbose": _PRINTS,
}
UNUSABLE_CALLBACKS: Mapping[str, str] = {
    "BackupAndRestore": "it writes models in a format that can hold code; a walk-forward with a run folder resumes",
    "LambdaCallback": "it runs code, which a configuration does not hold; register a callback",
    "LearningRateScheduler": "it runs code, which a configuration does not hold; set training_config.scheduler",
    "ModelCheckpoint": "it writes models in a format that can hold code; early_stopping keeps the best weights",
    "OrbaxCheckpoint": "it writes models in a format of its own; early_stopping keeps the best weights",
    "ProgbarLogger": _PRINTS,
    "RemoteMonitor": "it sends over the network",
    "SwapEMAWeights": _AVERAGE,
}
FILES: Mapping[str, tuple[str, str]] = {
    "CSVLogger": ("filename", "epochs.csv"),
    "TensorBoard": ("log_dir", "tensorboard"),
}
"""Callbacks that write: the argument that says where, and the name in the folder of logs."""

USABLE_CALLBACKS = ("CSVLogger", "EarlyStopping", "ReduceLROnPlateau", "TensorBoard", "TerminateOnNaN")


def build_callbacks(
    training: TrainingConfig, *, has_later: bool, folder: Path | None
) -> tuple[list[Any], list[str]]:
    """Build the callbacks in order, and say which were left out and why.

    Args:
        training: How the network is trained.
        has_later: Whether there are later rows, whose loss a callback can look at.
        folder: Where callbacks may write; ``None`` where no run folder is known.

    Raises:
        ConfigError: When there is none of a name, or it does not take its arguments.
    """
    built, notes = [], []
    for chosen in training.callbacks:
        needs_later = chosen.arguments.get("monitor", "val_loss") == "val_loss"
        callback = _build_callback(chosen, folder)
        if chosen.name in WATCHING and needs_later and not has_later:
            notes.append(f"{chosen.name} was left out: no later rows were held back for it to look at.")
        elif chosen.name in FILES and folder is None:
            notes.append(f"{chosen.name} was left out: no run folder is known that it could write to.")
        else:
            built.append(callback)
    return built, notes


def _build_callback(chosen: Named, folder: Path | None) -> Any:
    option, name = "training_config.callbacks", chosen.name
    if name in UNUSABLE_CALLBACKS:
        raise ConfigError(f"{option} {name!r} is refused: {UNUSABLE_CALLBACKS[name]}.")
    if name not in CALLBACKS and name not in USABLE_CALLBACKS:
        raise ConfigError.unknown("callback", name, [*USABLE_CALLBACKS, *CALLBACKS])
    if name == "TensorBoard" and name not in CALLBACKS and find_spec("tensorboard") is None:
        raise MissingExtraError(
            f"{option} {name!r} writes by the package tensorboard, which TensorFlow does not bring. "
            "Try: pip install tensorboard"
        )
    found = CALLBACKS[name] if name in CALLBACKS else getattr(keras.callbacks, name)
    given = {}
    if name in FILES:
        argument, file = FILES[name]
        given[argument] = str((folder or Path()) / file)
    refused = REFUSED_OF_CALLBACKS if name in USABLE_CALLBACKS else {}
    callback = call_named(option, name, found, chosen.arguments, refused=refused, given=given)
    if not isinstance(callback, keras.callbacks.Callback):
        raise ConfigError(
            f"{option} {name!r} makes a {type(callback).__name__}, not a keras.callbacks.Callback."
        )
    return callback


def check_choices(training: KerasTrainingConfig, model_type: str) -> None:
    """Refuse names that nobody knows and arguments that nobody takes, before anything is trained.

    Raises:
        ConfigError: With the first of them.
    """
    build_optimizer(training)
    build_loss(training, model_type)
    build_callbacks(training, has_later=True, folder=None)
    if training.train_step is not None and training.train_step not in TRAIN_STEPS:
        raise ConfigError(
            f"{ConfigError.unknown('training_config.train_step', training.train_step, TRAIN_STEPS)} "
            "Register one with backtester_model_tf.register_train_step."
        )
    plateau = [chosen.name for chosen in training.callbacks if chosen.name == "ReduceLROnPlateau"]
    if plateau and isinstance(training.scheduler, Named):
        raise ConfigError(
            f"training_config.callbacks 'ReduceLROnPlateau' cannot change the learning rate that the schedule "
            f"{training.scheduler.name!r} sets at every step. Leave one of them out."
        )
