"""A stack of layers, and the shapes that go through it: checked here, so that every framework says the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import pydantic

from backtester_model_core.config.groups import Group
from backtester_model_core.config.layers import (
    DenseLayer,
    FrameworkLayer,
    Layer,
    LayerConfig,
    ResidualLayer,
    Shape,
    format_shape,
)
from backtester_model_core.exceptions import ConfigError

OwnShape: TypeAlias = Callable[[FrameworkLayer, Shape], Shape]
"""What a framework says of a layer of its own: the shape it gives for the one it is given, or a ValueError."""

FIELD = "model_architecture"


@dataclass(frozen=True)
class PlacedLayer:
    """A layer in its place in a stack.

    Attributes:
        place: Where the configuration has it, such as ``model_architecture.layers[2]``.
        layer: What it is.
        given: The shape that comes in.
        gives: The shape that goes on.
        last_step: Whether of its output only the last step goes on, as a row (of a recurrent layer the final
            state, or the two final states): it is the last layer that takes a sequence.
        inner: The layers inside a residual.
    """

    place: str
    layer: LayerConfig
    given: Shape
    gives: Shape
    last_step: bool = False
    inner: tuple[PlacedLayer, ...] = ()


class ModelArchitecture(Group):
    """The layers between input and output, in order; the output layer follows from the task and is not listed.

    Without a layer that takes a sequence the network is given one row of features. With one it is given windows
    of ``lookback_period`` rows, the row itself last; a layer for rows then acts on each step alike. After the
    last layer that takes a sequence only the last step goes on, unless that layer gave a row by itself.
    """

    layers: tuple[Layer, ...] = pydantic.Field(
        default=(DenseLayer(units=32, activation="relu"),),
        max_length=100,
        description="The layers in order, each a table of its type and arguments; without any the model is linear.",
    )

    @property
    def takes_sequences(self) -> bool:
        """Whether the network is given windows of rows."""
        return any(layer.wants == "sequence" for layer in self.layers)

    def placed(self, given: Shape, *, own: OwnShape | None = None) -> tuple[PlacedLayer, ...]:
        """Follow a shape through the stack.

        Args:
            given: ``(features,)``, or ``(steps, features)`` where the network takes sequences; a count that is
                not known yet is None.
            own: Asked for the shape that a layer of the framework's own gives; without it the walk ends there.

        Raises:
            ConfigError: When a layer cannot take what the one before it gives.
        """
        wishes = [position for position, layer in enumerate(self.layers) if layer.wants == "sequence"]
        placed = _place_stack(self.layers, given, FIELD, own=own, last=max(wishes, default=None))
        if placed and len(placed) == len(self.layers) and len(placed[-1].gives) != 1:
            raise ConfigError(
                f"{placed[-1].place} gives {format_shape(placed[-1].gives)}, but the output layer takes a row, "
                "(features,). End with a pooling or flatten layer."
            )
        return placed


def _place_stack(
    layers: Sequence[LayerConfig], given: Shape, within: str, *, own: OwnShape | None, last: int | None
) -> tuple[PlacedLayer, ...]:
    """Place one layer after the other; ``last`` is the position after which one step goes on."""
    placed: list[PlacedLayer] = []
    shape, source = given, "which is what goes in"
    for position, layer in enumerate(layers):
        place = f"{within}.layers[{position}]"
        try:
            at = _place(layer, shape, place, own=own)
        except ConfigError:
            raise
        except ValueError as error:
            kind = _kind(layer)
            raise ConfigError(
                f"{place} ({kind}) cannot take {format_shape(shape)}, {source}: {error}."
            ) from error
        if at is None:
            break
        if position == last and len(at.gives) == 2:
            at = replace(at, gives=at.gives[1:], last_step=True)
        placed.append(at)
        shape, source = at.gives, f"which layers[{position}] ({_kind(layer)}) gives"
    return tuple(placed)


def _place(layer: LayerConfig, given: Shape, place: str, *, own: OwnShape | None) -> PlacedLayer | None:
    """Place one layer; ``None`` where only a framework knows what it gives, and none is there to say it."""
    if layer.wants == "sequence" and len(given) != 2:
        raise ValueError("it takes a sequence, (steps, features)")
    if layer.wants == "row" and len(given) != 1:
        raise ValueError("it takes a row, (features,)")
    if isinstance(layer, ResidualLayer):
        inner = _place_stack(layer.layers, given, place, own=own, last=None)
        if len(inner) < len(layer.layers):
            return None
        return PlacedLayer(place, layer, given, _sum_shape(layer, given, inner[-1].gives), inner=inner)
    if isinstance(layer, FrameworkLayer) and own is not None:
        return PlacedLayer(place, layer, given, own(layer, given))
    gives = layer.shape_after(given)
    return None if gives is None else PlacedLayer(place, layer, given, gives)


def _sum_shape(layer: ResidualLayer, given: Shape, inner: Shape) -> Shape:
    """Return the shape of input plus output of an inner stack, of which a projection may change the features."""
    compared = slice(0, -1) if layer.projection else slice(0, None)
    pairs = list(zip(given[compared], inner[compared], strict=False))
    if len(given) != len(inner) or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        hint = "" if layer.projection else "; let its last layer give what goes in, or set projection = true"
        raise ValueError(f"its layers make {format_shape(inner)} of it, which cannot be added to it{hint}")
    known = [one if other is None else other for one, other in pairs]
    return (*known, inner[-1]) if layer.projection else tuple(known)


def _kind(layer: LayerConfig) -> str:
    return str(getattr(layer, "name", None) or getattr(layer, "type", ""))
