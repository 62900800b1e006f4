"""What a TensorFlow model adds to the configuration of a network; nothing here imports Keras or TensorFlow."""

from __future__ import annotations

from typing import Literal

import pydantic

from backtester_model_core.config import NetworkModelConfig, TrainingConfig
from backtester_model_core.config.groups import Name

WATCHING = ("EarlyStopping", "ReduceLROnPlateau")
"""Keras callbacks that look at the loss of later rows, unless they are told to look at that of training."""


class KerasTrainingConfig(TrainingConfig):
    """How a network is trained by Keras."""

    train_step: Name | None = pydantic.Field(
        default=None,
        description="Registered function that takes each training step in place of Keras's own.",
    )

    @property
    def uses_validation(self) -> bool:
        """Whether training wants later rows."""
        watching = (
            callback.arguments.get("monitor", "val_loss") == "val_loss"
            for callback in self.callbacks
            if callback.name in WATCHING
        )
        return super().uses_validation or any(watching)


class TensorFlowModelConfig(NetworkModelConfig):
    """A Keras network on TensorFlow by its layers, and how it is trained."""

    framework: Literal["tensorflow"] = pydantic.Field(
        default="tensorflow", description="Name of this adapter."
    )
    training_config: KerasTrainingConfig = pydantic.Field(
        default=KerasTrainingConfig(), description="How the network is trained."
    )
