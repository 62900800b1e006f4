"""PyTorch networks as models: built from a configuration, trained by our own loop, asked in batches of one size."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from backtester_model_core.adapter import HeldBack, SequenceAdapter, expect_config
from backtester_model_core.compiled import numba_works
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ArtifactError, ModelError
from backtester_model_core.importance import permutation_importance
from backtester_model_core.networks import NetworkWeights, network_step
from backtester_model_core.notes import NOT_STOPPED_EARLY, unseen_classes
from backtester_model_core.probabilities import softmax
from backtester_model_core.scaling import Scaling
from backtester_model_core.typing import BoolArray, FloatArray, IntArray, ModelFiles, RowStep
from backtester_model_torch.choices import build_callbacks, build_loss, build_optimizer, build_schedule
from backtester_model_torch.config import PyTorchModelConfig
from backtester_model_torch.devices import describe_device, find_device, seeded
from backtester_model_torch.layers import Network, check_registered, shape_of_registered
from backtester_model_torch.row_steps import arrays_of
from backtester_model_torch.saved import FACTS, pack_network, unpack_network
from backtester_model_torch.training import Sample, Trainer
from backtester_model_torch.windows import Inputs

ANSWERED_ROWS = {"cpu": 64, "cuda": 4096, "mps": 4096}
"""Rows of a batch of answers. Each batch has exactly as many, since a matrix product of another size may round
otherwise: so a row's answer does not depend on the rows that are asked about with it."""


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
        config = expect_config(config, PyTorchModelConfig)
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
            target=Scaling.of(target[:, np.newaxis]) if classes is None else None,
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
        if any(weights.device.type != device.type for weights in network.parameters()):
            network.to(
                device
            )  # not in every call: it renews a recurrent layer's lists, under other threads' hands
        network.eval()
        inputs = _inputs(model, torch.from_numpy(scaling.apply(features)).to(device), ends)
        output = np.empty((len(inputs), 1 if model.classes is None else len(model.classes)))
        size = ANSWERED_ROWS[device.type]
        with torch.inference_mode():
            for first in range(0, len(inputs), size):
                chosen = torch.arange(first, first + size, device=device).clamp(max=len(inputs) - 1)
                answers: Tensor = network(inputs.batch(chosen))
                output[first : first + size] = answers[: len(inputs) - first].cpu().numpy()
        if model.target is not None:
            return np.asarray(output[:, 0] * model.target.width[0] + model.target.centre[0], dtype=np.float64)
        return softmax(output, seen=model.seen)

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

    def compile_step(self, model: TorchModel) -> RowStep:
        """Return the layers in NumPy, recurrent ones compiled where numba is installed.

        Raises:
            ModelError: When a layer has no such form.
        """
        network, features = _fitted(model)
        placed = model.config.placed_layers(len(features.centre), own=shape_of_registered)
        arrays, head = arrays_of(network, placed)
        weights = NetworkWeights(placed, arrays, head, features, model.target, model.seen)
        takes_sequences = model.config.model_architecture.takes_sequences
        return network_step(weights, takes_sequences=takes_sequences, compiled=numba_works())

    def save_model(self, model: TorchModel) -> ModelFiles:
        """Return the weights and scalings as safetensors, and what else there is to know as JSON.

        Raises:
            ModelError: When a registered module's weights cannot be written as data.
        """
        network, features = _fitted(model)
        scalings = {"features": features, **({} if model.target is None else {"target": model.target})}
        seen = None if model.seen is None else [bool(one) for one in model.seen]
        return pack_network(network, scalings, {"seen": seen, "notes": list(model.notes)})

    def load_model(
        self, files: ModelFiles, config: ModelConfig, *, n_features: int, classes: tuple[float, ...] | None
    ) -> TorchModel:
        """Build the network of the configuration, and put in the weights once their shapes are found to be its own."""
        model = self.initialize_model(config)
        scalings = {"features": Scaling.none(n_features), **({} if classes else {"target": Scaling.none(1)})}
        with seeded(0, torch.device("cpu")):
            network = build_network(model.config, n_features, n_outputs=len(classes) if classes else 1)
        saved, facts = unpack_network(files, network, scalings)
        seen, notes = _checked_facts(facts, n_classes=None if classes is None else len(classes))
        return replace(
            model,
            network=network.eval(),
            features=saved["features"],
            target=saved.get("target"),
            classes=classes,
            seen=seen,
            notes=notes,
        )

    def feature_importance(
        self,
        model: TorchModel,
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
    scaled = torch.from_numpy(_fitted(model)[1].apply(features))
    inputs = _inputs(model, scaled.to(device), ends)
    if model.target is None:
        outcome = torch.from_numpy(target.astype(np.int64))
    else:
        outcome = torch.from_numpy(model.target.apply(target[:, np.newaxis])[:, 0])
    counts = None if weights is None else torch.from_numpy(weights.astype(np.float32)).to(device)
    return Sample(inputs, outcome.to(device), counts)


def _inputs(model: TorchModel, rows: Tensor, ends: IntArray | None) -> Inputs:
    """Take rows or windows, as the architecture does."""
    return Inputs.of(rows, steps=model.config.window_rows(ends), ends=ends)


def _scaling_of(config: PyTorchModelConfig, features: FloatArray, ends: IntArray | None) -> Scaling:
    return Scaling.of(features, ends) if config.normalize_features else Scaling.none(features.shape[1])


def _notes(model: TorchModel, device: torch.device, *, has_later: bool) -> list[str]:
    """Say where the training ran and what it did without."""
    training = model.config.training_config
    notes = [f"Trained on {describe_device(device)}."]
    if training.uses_validation and not has_later:
        notes.append(NOT_STOPPED_EARLY)
    if training.mixed_precision and device.type != "cuda":
        notes.append(f"mixed_precision needs a CUDA device: on {device.type} all is in single precision.")
    if model.classes is not None and model.seen is not None:
        notes += unseen_classes(model.classes, model.seen)
    return notes


# -- answers -------------------------------------------------------------------------------------------------------


def _fitted(model: TorchModel) -> tuple[nn.Module, Scaling]:
    if model.network is None or model.features is None:
        raise ModelError("The network is not built yet. Train it first.")
    return model.network, model.features


def _checked_facts(facts: Any, *, n_classes: int | None) -> tuple[BoolArray | None, tuple[str, ...]]:
    """Return which classes were seen, and the notes, as they were saved."""
    if (
        not isinstance(facts, dict)
        or facts.keys() != {"seen", "notes"}
        or not isinstance(facts["notes"], list)
    ):
        raise ArtifactError.in_file(FACTS, "it does not say what a network needs")
    seen, notes = facts["seen"], tuple(str(note) for note in facts["notes"])
    if n_classes is None and seen is None:
        return None, notes
    if not isinstance(seen, list) or len(seen) != n_classes or not all(isinstance(one, bool) for one in seen):
        raise ArtifactError.in_file(FACTS, f"it does not say which of {n_classes} classes were seen")
    if not any(seen):
        raise ArtifactError.in_file(FACTS, "it says that no class was seen")
    return np.asarray(seen), notes
