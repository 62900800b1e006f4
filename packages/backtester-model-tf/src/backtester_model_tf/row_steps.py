"""A trained network's numbers, layer by layer, laid out as the core's fast answers to one row take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from backtester_model_core.config import PlacedLayer
from backtester_model_core.config import layers as described
from backtester_model_core.exceptions import ModelError
from backtester_model_core.networks import LayerArrays


def arrays_of(weights: Sequence[Any], placed: Sequence[PlacedLayer]) -> tuple[list[LayerArrays], LayerArrays]:
    """Deal a network's weights, which Keras lists in the order of its layers, out to the layers.

    Raises:
        ModelError: When the network has layers whose weights are not the shared layers' own.
    """
    left, arrays = list(weights), []
    for one in placed:
        layer = one.layer
        count, laid_out = LAYOUTS.get(type(layer), (0, tuple))
        if isinstance(layer, described.DenseLayer) and not layer.use_bias:
            left.insert(1, np.zeros(layer.units))
        if isinstance(layer, described.RecurrentLayer) and layer.bidirectional:
            count, laid_out = 2 * count, tuple
        arrays.append(laid_out(left[:count]))
        del left[:count]
    if len(left) != 2:
        raise ModelError(
            "No fast answer to one row: the network has layers with weights of their own kind. It is asked through "
            "predict."
        )
    return arrays, left


def _gru(weights: Sequence[Any]) -> LayerArrays:
    """Bring the update, reset and new gate into the order reset, update, new."""
    matrix, recurrent, constants = map(_reset_first, weights)
    return (matrix, recurrent, *constants)


def _reset_first(array: Any) -> Any:
    update, reset, new = np.split(array, 3, axis=-1)
    return np.concatenate([reset, update, new], axis=-1)


LAYOUTS: Mapping[type[described.LayerConfig], tuple[int, Callable[[Sequence[Any]], LayerArrays]]] = {
    described.DenseLayer: (2, tuple),
    described.BatchNormLayer: (4, tuple),
    described.LayerNormLayer: (2, tuple),
    described.LstmLayer: (3, tuple),
    described.GruLayer: (3, _gru),
    described.Conv1dLayer: (2, tuple),
}
"""How many arrays Keras has of a layer, and how they are laid out here."""
