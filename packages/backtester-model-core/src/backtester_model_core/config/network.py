"""What a neural network adds to a configuration, in whatever framework it is built."""

from __future__ import annotations

from typing import Annotated

import pydantic

from backtester_model_core.config.architecture import ModelArchitecture, OwnShape, PlacedLayer
from backtester_model_core.config.layers import Shape, format_shape
from backtester_model_core.config.model import ModelConfig
from backtester_model_core.config.training import TrainingConfig
from backtester_model_core.exceptions import ConfigError, ModelError
from backtester_model_core.typing import IntArray

Count = Annotated[int, pydantic.Field(ge=1, le=100_000)]


class NetworkModelConfig(ModelConfig):
    """A neural network: its layers, how it is trained, and the shape of its input."""

    model_architecture: ModelArchitecture = pydantic.Field(
        default=ModelArchitecture(), description="The layers between the features and the output."
    )
    training_config: TrainingConfig = pydantic.Field(
        default=TrainingConfig(), description="How the network is trained."
    )
    input_shape: Annotated[tuple[Count, ...], pydantic.Field(min_length=1, max_length=2)] | None = (
        pydantic.Field(
            default=None,
            description=(
                "What the network is given, to be checked: [features], or [lookback_period, features] where a layer "
                "takes a sequence. It follows from the rest when not given."
            ),
        )
    )

    @pydantic.model_validator(mode="after")
    def _check_network(self) -> NetworkModelConfig:
        wanted = self.shape_of_input(None)
        if self.input_shape is not None:
            same_steps = self.input_shape[:-1] == wanted[:-1]
            if len(self.input_shape) != len(wanted) or not same_steps:
                raise ConfigError(
                    f"input_shape is {format_shape(self.input_shape)}, but the layers are given "
                    f"{format_shape(wanted)}: {self._why_steps()}"
                )
        self.model_architecture.placed(self.input_shape or wanted)
        self.training_config.check_task(self.model_type)
        return self

    @property
    def steps(self) -> int:
        """Rows that one forecast is made from: the look-back for an architecture that takes sequences, else one."""
        return self.lookback_period if self.model_architecture.takes_sequences else 1

    def shape_of_input(self, n_features: int | None) -> Shape:
        """Return what the network is given for so many features."""
        return (self.steps, n_features) if self.model_architecture.takes_sequences else (n_features,)

    def window_rows(self, ends: IntArray | None) -> int | None:
        """Return how many rows each input's window has, or ``None`` where inputs are rows one by one.

        Args:
            ends: Positions of each window's last row, as an adapter is given them.

        Raises:
            ModelError: When windows are wanted, and nobody says where they end.
        """
        if self.steps > 1 and ends is None:
            raise ModelError(
                f"The network takes windows of {self.steps} rows, so it must be told where they end. Train and ask it "
                "through a model, or pass ends."
            )
        return self.steps if self.model_architecture.takes_sequences else None

    def placed_layers(self, n_features: int, *, own: OwnShape | None = None) -> tuple[PlacedLayer, ...]:
        """Follow the features through the stack; see :meth:`ModelArchitecture.placed`.

        Raises:
            ConfigError: When shapes do not meet, or the features are not as many as ``input_shape`` says.
        """
        given = self.shape_of_input(n_features)
        if self.input_shape is not None and self.input_shape != given:
            raise ConfigError(
                f"input_shape is {format_shape(self.input_shape)}, but the features give {format_shape(given)}. "
                "Change it, or choose as many with feature_columns."
            )
        return self.model_architecture.placed(given, own=own)

    def _why_steps(self) -> str:
        if self.model_architecture.takes_sequences:
            return f"a layer takes a sequence, of lookback_period {self.lookback_period} rows"
        return "no layer takes a sequence"
