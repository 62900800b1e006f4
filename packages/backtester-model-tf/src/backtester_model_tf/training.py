"""One training by Keras's ``fit``: watched for the best epoch, and stopped at a loss that is not finite."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtester_model_core.exceptions import BacktesterModelError, TrainingError
from backtester_model_core.notes import stopped_early, went_back
from backtester_model_core.runs import new_log_folder
from backtester_model_tf.backend import keras
from backtester_model_tf.choices import FILES, build_callbacks, build_loss, build_optimizer, build_schedule
from backtester_model_tf.config import KerasTrainingConfig
from backtester_model_tf.named import REFUSALS, first_line
from backtester_model_tf.registered import TRAIN_STEPS

LOGGER = logging.getLogger(__name__)


class SteppedNetwork(keras.Model):  # type: ignore[misc]  # Keras is untyped
    """A network whose training step is a registered function."""

    def use_step(self, name: str) -> None:
        """Take the registered function of that name."""
        self.step = TRAIN_STEPS[name]
        self.mean_loss = keras.metrics.Mean(name="mean_loss")

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step and return the mean loss of the epoch so far."""
        inputs, target, weight = keras.utils.unpack_x_y_sample_weight(data)
        loss = self.step(self, inputs, target, weight)
        self.mean_loss.update_state(loss, sample_weight=keras.ops.shape(target)[0])
        return {"loss": self.mean_loss.result()}


class Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Keeps the weights of the best epoch, stops early, and stops at what is not finite.

    Attributes:
        epoch: The last epoch, counted from 1.
        best_epoch: The best one; 0 before there is one.
        best_loss: Its loss: that of the later rows, or of training where there are none.
        is_broken: Whether a loss or weight was not finite in the last epoch.
    """

    def __init__(self, training: KerasTrainingConfig, *, has_later: bool) -> None:
        super().__init__()
        self.epochs, self.stopping = training.epochs, training.early_stopping if has_later else None
        self.epoch, self.best_epoch, self.best_loss, self.is_broken = 0, 0, math.inf, False
        self.best_weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Judge the epoch, counted from 0."""
        losses = {name: float(value) for name, value in (logs or {}).items() if name in ("loss", "val_loss")}
        weights = self.model.get_weights()
        self.epoch = epoch + 1
        if not all(map(math.isfinite, losses.values())) or not all(np.isfinite(one).all() for one in weights):
            self.is_broken = self.model.stop_training = True
            return
        later = f", validation loss {losses['val_loss']:.6g}" if "val_loss" in losses else ""
        LOGGER.info("epoch %d of %d: loss %.6g%s", self.epoch, self.epochs, losses["loss"], later)
        watched = losses.get("val_loss", losses["loss"])
        if watched < self.best_loss - (self.stopping.min_delta if self.stopping else 0.0):
            self.best_epoch, self.best_loss, self.best_weights = self.epoch, watched, weights
        if self.stopping and self.epoch - self.best_epoch >= self.stopping.patience:
            self.model.stop_training = True

    def settle(self) -> tuple[str, ...]:
        """Go back to the best weights where that is due, and say so.

        Raises:
            TrainingError: When there is no epoch to go back to.
        """
        if self.is_broken:
            return (self._go_back(),)
        if self.stopping is None:
            return ()
        if self.stopping.restore_best:
            self.model.set_weights(self.best_weights)
        return (stopped_early(self.epoch, self.epochs, best=self.best_epoch, loss=self.best_loss),)

    def _go_back(self) -> str:
        note = went_back(self.epoch, self.epochs, best=self.best_epoch)
        self.model.set_weights(self.best_weights)
        LOGGER.warning(note)
        return note


class IdleNetworks:
    """Prepared networks that nobody trains now, to be trained again from the start.

    Keras traces a network's training step anew for each that it compiles, which takes longer than many a training,
    and what is traced stays in memory for long. A walk-forward trains the same architecture window after window, so
    the last ones are kept. A network that is taken belongs to its taker alone.
    """

    def __init__(self, n_kept: int = 2) -> None:
        self.n_kept = n_kept
        self._networks: dict[Hashable, Any] = {}

    def give(self, key: Hashable, network: Any) -> None:
        """Keep a network, and let go of the one that has waited longest where there are too many."""
        self._networks[key] = network
        while len(self._networks) > self.n_kept:
            self._networks.pop(next(iter(self._networks)), None)

    def take(self, key: Hashable, start: Any) -> Any | None:
        """Return a network that stands where another of the same layers does, its optimizer at the start too."""
        network = self._networks.pop(key, None)
        if network is not None:
            for variable, first in zip(network.variables, start.variables, strict=True):
                variable.assign(first)
            for variable, value in zip(network.optimizer.variables, network.optimizer_start, strict=True):
                variable.assign(value)
        return network


IDLE = IdleNetworks()


@dataclass(frozen=True)
class Trainer:
    """How a network is trained.

    Attributes:
        training: Its configuration.
        model_type: The task.
        is_mixed: Whether the network computes in half precision, so that the loss must be scaled.
    """

    training: KerasTrainingConfig
    model_type: str
    is_mixed: bool = False

    @property
    def network_class(self) -> type[Any]:
        """What the network must be an instance of."""
        return SteppedNetwork if self.training.train_step else keras.Model

    def prepare(self, network: Any) -> None:
        """Give a new network its optimizer and its loss, as they start."""
        optimizer = build_optimizer(self.training)
        if self.is_mixed:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        if self.training.train_step:
            network.use_step(self.training.train_step)
        loss = build_loss(self.training, self.model_type)
        network.compile(
            optimizer=optimizer, loss=loss, jit_compile=self.training.compile, auto_scale_loss=False
        )
        optimizer.build(network.trainable_variables)
        network.optimizer_start = [variable.numpy() for variable in optimizer.variables]

    def train(self, network: Any, rows: tuple[Any, int], later: tuple[Any, int] | None) -> tuple[str, ...]:
        """Train a prepared network in place and return what is worth knowing.

        Args:
            network: What is trained.
            rows: An endless dataset to learn from, and the batches of an epoch.
            later: A dataset of later rows to judge epochs by, and its batches; or ``None``.

        Raises:
            TrainingError: When the loss is not finite in the first epoch, or Keras gives up.
        """
        has_later = later is not None
        writes = any(chosen.name in FILES for chosen in self.training.callbacks)
        folder = new_log_folder() if writes else None
        callbacks, notes = build_callbacks(self.training, has_later=has_later, folder=folder)
        watch = Watch(self.training, has_later=has_later)
        (dataset, n_batches), (later_dataset, n_later) = rows, later or (None, None)
        try:
            with warnings.catch_warnings():
                # Keras asks numpy for the learning rate in a way that is to go.
                warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword")
                network.fit(
                    dataset,
                    epochs=self.training.epochs,
                    steps_per_epoch=n_batches,
                    validation_data=later_dataset,
                    validation_steps=n_later,
                    callbacks=[watch, *build_schedule(self.training, has_later=has_later), *callbacks],
                    verbose=0,
                    shuffle=False,  # the rows come in an order of their own
                )
        except BacktesterModelError:
            raise
        except REFUSALS as error:
            raise TrainingError(f"Keras cannot train this network: {first_line(error)}") from error
        return (*notes, *watch.settle())
