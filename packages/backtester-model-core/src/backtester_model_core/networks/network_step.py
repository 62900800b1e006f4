"""A trained network as a step: features standardised, layers applied, scores made an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtester_model_core.config import PlacedLayer
from backtester_model_core.networks.layers import LayerArrays, Part, affine_part, layer_part
from backtester_model_core.row_steps import among_all_classes_step, softmax_link
from backtester_model_core.scaling import Scaling
from backtester_model_core.typing import BoolArray, RowStep


@dataclass(frozen=True)
class NetworkWeights:
    """A trained network of the shared layers.

    Attributes:
        layers: The layers in their places.
        arrays: The arrays of each.
        head: Matrix and constant of the output layer.
        features: How features are standardised.
        target: How the target of a regression is; ``None`` for classes.
        seen: (n_classes,) which classes a training row had; ``None`` for regression.
    """

    layers: Sequence[PlacedLayer]
    arrays: Sequence[LayerArrays]
    head: LayerArrays
    features: Scaling
    target: Scaling | None = None
    seen: BoolArray | None = None


def network_step(weights: NetworkWeights, *, takes_sequences: bool, compiled: bool) -> RowStep:
    """Return what answers one row, or the window that ends with it, in single precision as frameworks do.

    Args:
        weights: The trained network.
        takes_sequences: Whether it is given windows, if only of one row.
        compiled: Whether recurrent layers are compiled code, which needs the extra ``fast``.

    Raises:
        ModelError: When one of the layers has no such form.
    """
    parts: list[Part] = [
        layer_part(placed, [np.ascontiguousarray(one, dtype=np.float32) for one in arrays], compiled=compiled)
        for placed, arrays in zip(weights.layers, weights.arrays, strict=True)
    ]
    parts.append(affine_part(*(np.asarray(one, dtype=np.float32) for one in weights.head)))
    centre, width = weights.features.centre, weights.features.width
    shape = (-1, len(centre)) if takes_sequences else (len(centre),)

    def scores(given: Any) -> list[float]:
        values = ((np.asarray(given, dtype=np.float64) - centre) / width).astype(np.float32).reshape(shape)
        for part in parts:
            values = part(values)
        answered: list[float] = values.tolist()
        return answered

    if weights.target is not None:
        scale, middle = float(weights.target.width[0]), float(weights.target.centre[0])
        return lambda given: scores(given)[0] * scale + middle
    known = np.ones(len(weights.head[1]), dtype=bool) if weights.seen is None else weights.seen
    seen = np.flatnonzero(known)
    places = seen.tolist()

    def probabilities(given: Any) -> list[float]:
        found = scores(given)
        return softmax_link([found[place] for place in places])

    return among_all_classes_step(probabilities, seen=seen, n_classes=len(known))
