"""A trained network as plain data: what its layers and weights are as JSON, the numbers as npz.

Keras's own formats are neither written nor read: they can hold code. The network is built from the configuration, and
a file only fills in numbers, each array of the shape that the built network has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from backtester_model_core.artifacts import expect_files, pack_arrays, pack_json, unpack_arrays, unpack_json
from backtester_model_core.config import PlacedLayer
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.scaling import Scaling
from backtester_model_core.typing import BoolArray, ModelFiles
from backtester_model_tf.layers import shape_of_own
from backtester_model_tf.model import TensorFlowModel

FORMAT = 1
NETWORK = "network.json"
WEIGHTS = "weights.npz"


def pack_model(model: TensorFlowModel) -> ModelFiles:
    """Return a trained model as two files.

    Raises:
        ModelError: When it is not trained.
    """
    scales = {"features": model.scaling, **({} if model.target is None else {"target": model.target})}
    arrays = {f"{name}.centre": one.centre for name, one in scales.items()}
    arrays |= {f"{name}.width": one.width for name, one in scales.items()}
    arrays |= {f"weight.{number:05d}": weight for number, weight in enumerate(model.weights)}
    return {NETWORK: pack_json(_described(model)), WEIGHTS: pack_arrays(arrays)}


def unpack_model(files: ModelFiles, model: TensorFlowModel, *, n_features: int) -> TensorFlowModel:
    """Fill the untrained model of a configuration with what was saved.

    Args:
        files: What :func:`pack_model` returned.
        model: The model, with its configuration and classes.
        n_features: Columns that it was trained on.

    Raises:
        ArtifactError: When a file is not one that this configuration's network would have been saved as.
    """
    expect_files(files, [NETWORK, WEIGHTS])
    described = unpack_json(files[NETWORK], name=NETWORK)
    blank = Scaling.none(n_features)
    built = replace(
        model,
        features=blank,
        target=Scaling.none(1) if model.classes is None else None,
        seen=_seen(described, model),
    )
    built = replace(built, weights=tuple(built.build(seed=0).get_weights()))
    if described != _described(built):
        raise ArtifactError.in_file(NETWORK, "its layers or weights are not those of the configuration")
    return _filled(built, unpack_arrays(files[WEIGHTS], name=WEIGHTS))


def _described(model: TensorFlowModel) -> dict[str, Any]:
    """Say what a network is made of, so that a saved one can be compared with the one that was built."""
    placed = model.config.placed_layers(len(model.scaling.centre), own=shape_of_own)
    return {
        "format": FORMAT,
        "layers": list(_layers(placed)),
        "outputs": model.n_outputs,
        "seen": None if model.seen is None else [bool(one) for one in model.seen],
        "weights": [list(weight.shape) for weight in model.weights],
    }


def _layers(placed: Iterable[PlacedLayer]) -> Iterable[dict[str, Any]]:
    for one in placed:
        yield {"place": one.place, "layer": one.layer.model_dump(mode="json"), "gives": list(one.gives)}


def _seen(described: Any, model: TensorFlowModel) -> BoolArray | None:
    """Return the classes that were seen in training, once they are one yes or no for each class."""
    seen = described.get("seen") if isinstance(described, dict) else None
    if model.classes is None:
        return None
    if (
        isinstance(seen, list)
        and len(seen) == len(model.classes)
        and all(one in (True, False) for one in seen)
    ):
        return np.asarray(seen, dtype=bool)
    raise ArtifactError.in_file(NETWORK, "it does not say which classes training has seen")


def _filled(built: TensorFlowModel, arrays: dict[str, Any]) -> TensorFlowModel:
    """Put saved arrays where the built model has some of the same name, shape and type."""
    wanted = unpack_arrays(pack_model(built)[WEIGHTS], name=WEIGHTS)
    if list(arrays) != list(wanted):
        raise ArtifactError.in_file(WEIGHTS, "its arrays are not those of the configuration's network")
    for name, array in arrays.items():
        if array.shape != wanted[name].shape or array.dtype != wanted[name].dtype:
            raise ArtifactError.in_file(
                WEIGHTS,
                f"{name} is {array.dtype} of {array.shape}, and the network's is {wanted[name].dtype} of "
                f"{wanted[name].shape}",
            )
        if not np.isfinite(array).all():
            raise ArtifactError.in_file(WEIGHTS, f"{name} holds what is not finite")
        if name.endswith(".width") and not (array > 0).all():
            raise ArtifactError.in_file(WEIGHTS, f"{name} holds a deviation that is not above zero")
    scales = {
        name: Scaling(arrays[f"{name}.centre"], arrays[f"{name}.width"])
        for name in ("features", "target")
        if f"{name}.centre" in arrays
    }
    weights = tuple(array for name, array in arrays.items() if name.startswith("weight."))
    return replace(built, features=scales["features"], target=scales.get("target"), weights=weights)
