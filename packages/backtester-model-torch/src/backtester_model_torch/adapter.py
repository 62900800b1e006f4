"""PyTorch networks as models: built from a configuration, trained by our own loop, asked in batches of one size."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from backtester_model_core.adapter import HeldBack, SequenceAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError, ModelError
from backtester_model_core.typing import BoolArray, FloatArray, IntArray
from backtester_model_torch.choices import build_callbacks, build_loss, build_optimizer, build_schedule
from backtester_model_torch.config import PyTorchModelConfig
from backtester_model_torch.devices import describe_device, find_device, seeded
from backtester_model_torch.layers import Network, check_registered, shape_of_registered
from backtester_model_torch.training import Sample, Trainer
from backtester_model_torch.windows import Inputs, Scaling

ANSWERED_ROWS = {"cpu": 64, "cuda": 4096, "mps": 4096}
"""Rows of a batch of answers. Each batch has exactly as many, since a matrix product of another size may round
otherwise: so a row's answer does not depend on the rows that are asked about with it."""

IMPORTANCE_ROWS = 2000
IMPORTANCE_SHUFFLES = 3


@dataclass(frozen=True)
class TorchModel:
    """A network, and what it does not know of itself.

    Attributes:
        config: What it is.
        network: The layers with their weights; ``None`` before training.
        features: How features are standardised.
        target: How the target of a regression is.
        classes: The classes' values in their fixed order; ``None`` for regression.
        seen: (n_classes,) which classes a training row had; ``None`` for regression.
        notes: What is worth knowing about the training.
    """

    config: PyTorchModelConfig
    network: nn.Module | None = None
    features: Scaling | None = None
    target: Scaling | None = None
    classes: tuple[float, ...] | None = None
    seen: BoolArray | None = None
    notes: tuple[str, ...] = ()


class PyTorchAdapter(SequenceAdapter[TorchModel]):
    """Networks of the shared layers, and of modules registered in code."""

    config_class: ClassVar[type[ModelConfig]] = PyTorchModelConfig

    def initialize_model(self, config: ModelConfig) -> TorchModel:
        """Check every name and argument, and the shapes as far as they are known; layers are built in training."""
        if not isinstance(config, PyTorchModelConfig):
            raise ConfigError(
                f"Framework 'pytorch' takes a PyTorchModelConfig, not a {type(config).__name__}."
            )
        find_device(config.device)
        check_registered(config.model_architecture.layers)
        training = config.training_config
        optimizer = build_optimizer(training, [nn.Parameter(torch.zeros(1, 1))])
        build_schedule(training, optimizer)
        build_loss(training, config.model_type)
        build_callbacks(training)
        return TorchModel(config)

    def context_rows(self, config: ModelConfig) -> int:
        """Return how many rows of its symbol before a row its forecast needs."""
        return config.steps - 1 if isinstance(config, PyTorchModelConfig) else 0

    def train_model(
        self,
        model: TorchModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        classes: tuple[float, ...] | None = None,
        weight: FloatArray | None = None,
        validation: HeldBack | None = None,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> TorchModel:
        """Build the network and train it on rows, or on the windows that end at some of them.

        Raises:
            ConfigError: When the shapes of the layers do not meet, or the class weights are not the classes'.
            TrainingError: When the loss is not finite in the first epoch.
        """
        config = model.config
        weights = config.training_config.row_weights(target, classes=classes, weight=weight)
        unfitted = replace(
            model,
            features=_scaling_of(config, features, ends),
            target=Scaling.of(target[:, np.newaxis].astype(np.float64)) if classes is None else None,
            classes=classes,
            seen=None if classes is None else np.isin(np.arange(len(classes)), target),
        )
        with seeded(seed, find_device(config.device)):
            network = build_network(
                config, features.shape[1], n_outputs=1 if classes is None else len(classes)
            )
            built = replace(unfitted, network=network)
            return _trained(built, _sample(built, features, target, ends, weights), validation, seed)

    def predict(self, model: TorchModel, features: FloatArray, *, ends: IntArray | None = None) -> FloatArray:
        """Return values, or probabilities with 0 for a class that no training row had."""
        network, scaling = _fitted(model)
        device = find_device(model.config.device)
        network.to(device).eval()
        inputs = _inputs(model, scaling.apply(features).to(device), ends)
        output = np.empty((len(inputs), 1 if model.classes is None else len(model.classes)))
        size = ANSWERED_ROWS[device.type]
        with torch.inference_mode():
            for first in range(0, len(inputs), size):
                chosen = torch.arange(first, first + size, device=device).clamp(max=len(inputs) - 1)
                answers: Tensor = network(inputs.batch(chosen))
                output[first : first + size] = answers[: len(inputs) - first].cpu().numpy()
        if model.target is not None:
            return np.asarray(output[:, 0] * model.target.width[0] + model.target.centre[0], dtype=np.float64)
        return _softmax(output, seen=np.asarray(model.seen))

    def uses_validation(self, config: ModelConfig) -> bool:
        """Say whether the configuration stops early, or watches later rows otherwise."""
        return isinstance(config, PyTorchModelConfig) and config.training_config.uses_validation

    def training_notes(self, model: TorchModel) -> tuple[str, ...]:
        """Name the device, and say what could not be done as asked."""
        return model.notes

    def update_model(
        self,
        model: TorchModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        weight: FloatArray | None = None,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> TorchModel:
        """Continue a copy for as many epochs as are configured; features and target stay scaled as they were."""
        weights = model.config.training_config.row_weights(target, classes=model.classes, weight=weight)
        updated = replace(model, network=copy.deepcopy(_fitted(model)[0]))
        if model.seen is not None:
            updated = replace(updated, seen=model.seen | np.isin(np.arange(len(model.seen)), target))
        with seeded(seed, find_device(model.config.device)):
            return _trained(updated, _sample(updated, features, target, ends, weights), None, seed)

    def feature_importance(
        self,
        model: TorchModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> FloatArray:
        """Return how much worse shuffling each feature makes the model, or 0 where it does not.

        It is the rise of the mean squared error (of the probabilities, for a classifier) over three seeded shuffles,
        on at most 2,000 of the rows, evenly spread.
        """
        answered = np.arange(len(features)) if ends is None else ends
        chosen = np.linspace(0, len(answered) - 1, min(len(answered), IMPORTANCE_ROWS)).astype(np.int64)
        outcome = target[chosen] if model.classes is None else np.eye(len(model.classes))[target[chosen]]

        def error(rows: FloatArray) -> float:
            forecast = self.predict(model, rows, ends=answered[chosen])
            return float(np.mean((forecast - outcome) ** 2))

        return _permutation_importance(error, features, np.random.default_rng(seed))


def build_network(config: PyTorchModelConfig, n_features: int, *, n_outputs: int) -> Network:
    """Build the untrained network for so many features.

    Raises:
        ConfigError: When the shapes of its layers do not meet.
    """
    layers = config.placed_layers(n_features, own=shape_of_registered)
    return Network(layers, given=config.shape_of_input(n_features), n_outputs=n_outputs)


# -- training ------------------------------------------------------------------------------------------------------


def _trained(model: TorchModel, sample: Sample, validation: HeldBack | None, seed: int | None) -> TorchModel:
    """Train a model's network from where it stands."""
    training = model.config.training_config
    device = find_device(model.config.device)
    network, _ = _fitted(model)
    later = None
    if training.uses_validation and validation is not None and len(validation.target):
        later = _sample(model, *validation)
    trainer = Trainer(training, build_loss(training, model.config.model_type), device, seed)
    notes = trainer.train(network.to(device), sample, later)
    network.eval()
    return replace(model, notes=(*_notes(model, device, has_later=later is not None), *notes))


def _sample(
    model: TorchModel,
    features: FloatArray,
    target: FloatArray | IntArray,
    ends: IntArray | None,
    weights: FloatArray | None = None,
) -> Sample:
    """Put rows and what came true on the device, as the network takes them."""
    device = find_device(model.config.device)
    inputs = _inputs(model, _fitted(model)[1].apply(features).to(device), ends)
    if model.target is None:
        outcome = torch.from_numpy(target.astype(np.int64))
    else:
        outcome = model.target.apply(target[:, np.newaxis].astype(np.float64))[:, 0]
    counts = None if weights is None else torch.from_numpy(weights.astype(np.float32)).to(device)
    return Sample(inputs, outcome.to(device), counts)


def _inputs(model: TorchModel, rows: Tensor, ends: IntArray | None) -> Inputs:
    """Take rows or windows, as the architecture does."""
    takes_sequences = model.config.model_architecture.takes_sequences
    steps = model.config.steps
    if takes_sequences and steps > 1 and ends is None:
        raise ModelError(
            f"The network takes windows of {steps} rows, so it must be told where they end. Train and ask it through "
            "a model, or pass ends."
        )
    return Inputs.of(rows, steps=steps if takes_sequences else None, ends=ends)


def _scaling_of(config: PyTorchModelConfig, features: FloatArray, ends: IntArray | None) -> Scaling:
    return Scaling.of(features, ends) if config.normalize_features else Scaling.none(features.shape[1])


def _notes(model: TorchModel, device: torch.device, *, has_later: bool) -> list[str]:
    """Say where the training ran and what it did without."""
    training = model.config.training_config
    notes = [f"Trained on {describe_device(device)}."]
    if training.uses_validation and not has_later:
        notes.append("No later rows were held back, so the training did not stop early.")
    if training.mixed_precision and device.type != "cuda":
        notes.append(f"mixed_precision needs a CUDA device: on {device.type} all is in single precision.")
    if model.classes is not None and model.seen is not None:
        missing = [value for value, seen in zip(model.classes, model.seen, strict=True) if not seen]
        notes += [f"No training row has the class {value:g}: its probability is 0." for value in missing]
    return notes


# -- answers -------------------------------------------------------------------------------------------------------


def _fitted(model: TorchModel) -> tuple[nn.Module, Scaling]:
    if model.network is None or model.features is None:
        raise ModelError("The network is not built yet. Train it first.")
    return model.network, model.features


def _softmax(scores: FloatArray, *, seen: BoolArray) -> FloatArray:
    """Turn (n, n_classes) scores into probabilities, 0 where a class was never seen."""
    scores = np.where(seen, scores, -np.inf)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    probability: FloatArray = odds / odds.sum(axis=1, keepdims=True)
    return probability


def _permutation_importance(
    error: Callable[[FloatArray], float], features: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Return the rise of the error as each column is shuffled."""
    plain = error(features)
    importance = np.zeros(features.shape[1])
    for column in range(features.shape[1]):
        shuffled = features.copy()
        rises = []
        for _ in range(IMPORTANCE_SHUFFLES):
            shuffled[:, column] = rng.permutation(features[:, column])
            rises.append(error(shuffled) - plain)
        importance[column] = max(float(np.mean(rises)), 0.0)
    return importance
