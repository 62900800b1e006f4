"""Keras networks as models: built from a configuration, trained by ``fit``, saved as plain data."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from backtester_model_core.adapter import HeldBack, SequenceAdapter, expect_config
from backtester_model_core.compiled import numba_works
from backtester_model_core.config import ModelConfig
from backtester_model_core.importance import permutation_importance
from backtester_model_core.networks import NetworkWeights, network_step
from backtester_model_core.notes import NOT_STOPPED_EARLY, unseen_classes
from backtester_model_core.scaling import Scaling
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles, RowStep
from backtester_model_tf.backend import THREADS_NOTE, own_settings, tf
from backtester_model_tf.choices import check_choices
from backtester_model_tf.config import TensorFlowModelConfig
from backtester_model_tf.layers import check_own, shape_of_own
from backtester_model_tf.model import TensorFlowModel
from backtester_model_tf.row_steps import arrays_of
from backtester_model_tf.saving import pack_model, unpack_model
from backtester_model_tf.training import IDLE, Trainer
from backtester_model_tf.windows import MEASURED_ROWS, batches

Rows = tuple[FloatArray, FloatArray | IntArray, IntArray | None]
"""(features, target, ends), as an adapter is given rows to learn from."""


class TensorFlowAdapter(SequenceAdapter[TensorFlowModel]):
    """Networks of the shared layers, of any of Keras's, and of layers registered in code."""

    config_class: ClassVar[type[ModelConfig]] = TensorFlowModelConfig

    def initialize_model(self, config: ModelConfig) -> TensorFlowModel:
        """Check every name and argument, and the shapes as far as they are known; layers are built in training."""
        config = expect_config(config, TensorFlowModelConfig)
        with own_settings(seed=0):  # what is built to be checked draws no random numbers of others
            check_own(config.model_architecture.layers)
            check_choices(config.training_config, config.model_type)
        return TensorFlowModel(config)

    def context_rows(self, config: ModelConfig) -> int:
        """Return how many rows of its symbol before a row its forecast needs."""
        return config.steps - 1 if isinstance(config, TensorFlowModelConfig) else 0

    def train_model(
        self,
        model: TensorFlowModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        classes: tuple[float, ...] | None = None,
        weight: FloatArray | None = None,
        validation: HeldBack | None = None,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> TensorFlowModel:
        """Build the network and train it on rows, or on the windows that end at some of them.

        Raises:
            ConfigError: When the shapes of the layers do not meet, or the class weights are not the classes'.
            TrainingError: When the loss is not finite in the first epoch.
        """
        scales = model.config.normalize_features
        untrained = replace(
            model,
            features=Scaling.of(features, ends) if scales else Scaling.none(features.shape[1]),
            target=Scaling.of(target[:, np.newaxis]) if classes is None else None,
            classes=classes,
            seen=None if classes is None else np.isin(np.arange(len(classes)), target),
        )
        return _trained(untrained, (features, target, ends), weight, validation, seed)

    def predict(
        self, model: TensorFlowModel, features: FloatArray, *, ends: IntArray | None = None
    ) -> FloatArray:
        """Return values, or probabilities with 0 for a class that no training row had."""
        return model.forecast(features, ends)

    def uses_validation(self, config: ModelConfig) -> bool:
        """Say whether the configuration stops early, or watches later rows otherwise."""
        return isinstance(config, TensorFlowModelConfig) and config.training_config.uses_validation

    def compile_step(self, model: TensorFlowModel) -> RowStep:
        """Return the layers in NumPy, recurrent ones compiled where numba is installed.

        Raises:
            ModelError: When a layer has no such form.
        """
        placed = model.config.placed_layers(len(model.scaling.centre), own=shape_of_own)
        arrays, head = arrays_of(model.weights, placed)
        weights = NetworkWeights(placed, arrays, head, model.scaling, model.target, model.seen)
        takes_sequences = model.config.model_architecture.takes_sequences
        return network_step(weights, takes_sequences=takes_sequences, compiled=numba_works())

    def save_model(self, model: TensorFlowModel) -> ModelFiles:
        """Return the layers as JSON and the weights as npz.

        Raises:
            ModelError: When the model is not trained.
        """
        return pack_model(model)

    def load_model(
        self,
        files: ModelFiles,
        config: ModelConfig,
        *,
        n_features: int,
        classes: tuple[float, ...] | None,
    ) -> TensorFlowModel:
        """Build the network of the configuration, and fill in weights of exactly its shapes.

        Raises:
            ArtifactError: When a file is missing, foreign or inconsistent.
        """
        untrained = replace(self.initialize_model(config), classes=classes)
        return unpack_model(files, untrained, n_features=n_features)

    def training_notes(self, model: TensorFlowModel) -> tuple[str, ...]:
        """Name the device, and say what could not be done as asked."""
        return model.notes

    def update_model(
        self,
        model: TensorFlowModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        weight: FloatArray | None = None,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> TensorFlowModel:
        """Continue a copy for as many epochs as are configured; features and target stay scaled as they were."""
        if model.seen is not None:
            model = replace(model, seen=model.seen | np.isin(np.arange(len(model.seen)), target))
        return _trained(model, (features, target, ends), weight, None, seed)

    def feature_importance(
        self,
        model: TensorFlowModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> FloatArray:
        """Return how much worse shuffling each feature makes the model, or 0 where it does not."""
        return permutation_importance(
            lambda rows, answered: self.predict(model, rows, ends=answered),
            features,
            target,
            n_classes=None if model.classes is None else len(model.classes),
            seed=seed,
            ends=ends,
        )


# -- training ------------------------------------------------------------------------------------------------------


def _trained(
    model: TensorFlowModel,
    rows: Rows,
    weight: FloatArray | None,
    validation: HeldBack | None,
    seed: int | None,
) -> TensorFlowModel:
    """Train a model from where it stands."""
    config, training = model.config, model.config.training_config
    has_later = validation is not None and len(validation[1]) > 0 and training.uses_validation
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    trainer = Trainer(training, config.model_type, is_mixed=training.mixed_precision and has_gpu)
    key, network = _prepared(model, trainer, seed)
    counted = training.row_weights(rows[1], classes=model.classes, weight=weight)
    order = np.random.default_rng(seed) if training.shuffle else None
    sample = _batches(model, rows, counted, size=training.batch_size, order=order, endless=True)
    later = _batches(model, validation, None, size=MEASURED_ROWS) if validation and has_later else None
    notes = trainer.train(network, sample, later)
    weights = tuple(network.get_weights())
    IDLE.give(key, network)
    return replace(
        model, weights=weights, notes=(*_notes(model, has_gpu=has_gpu, has_later=has_later), *notes)
    )


def _prepared(model: TensorFlowModel, trainer: Trainer, seed: int | None) -> tuple[Hashable, Any]:
    """Return a network that stands where the model does, ready to train, and the key of its like."""
    network = model.build(
        seed=seed,
        network_class=trainer.network_class,
        policy="mixed_float16" if trainer.is_mixed else "float32",
    )
    described = model.config.model_dump_json(include={"model_architecture", "training_config", "model_type"})
    key = (described, network.input_shape, network.output_shape, trainer.is_mixed)
    idle = IDLE.take(key, network)
    if idle is None:
        trainer.prepare(network)
    return key, idle or network


def _batches(
    model: TensorFlowModel,
    rows: Rows,
    weight: FloatArray | None,
    *,
    size: int,
    order: np.random.Generator | None = None,
    endless: bool = False,
) -> tuple[Any, int]:
    """Give rows and what came true as the network takes them."""
    features, target, ends = rows
    told = target if model.target is None else model.target.apply(target[:, np.newaxis])[:, 0]
    return batches(
        model.windows(features, ends), model.scaling, told, weight, size=size, order=order, endless=endless
    )


def _notes(model: TensorFlowModel, *, has_gpu: bool, has_later: bool) -> list[str]:
    """Say where the training ran and what it did without."""
    training = model.config.training_config
    notes = [f"Trained by TensorFlow {tf.__version__} on the {'GPU' if has_gpu else 'CPU'}."]
    if THREADS_NOTE is not None:
        notes.append(THREADS_NOTE)
    if training.uses_validation and not has_later:
        notes.append(NOT_STOPPED_EARLY)
    if training.mixed_precision and not has_gpu:
        notes.append("mixed_precision needs a GPU: on the CPU all is in single precision.")
    if model.classes is not None and model.seen is not None:
        notes += unseen_classes(model.classes, model.seen)
    return notes
