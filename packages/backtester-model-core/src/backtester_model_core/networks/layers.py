"""Each shared layer as a function of one row, or of one window, with the numbers that training gave it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from backtester_model_core.config import PlacedLayer
from backtester_model_core.config import layers as described
from backtester_model_core.exceptions import ModelError
from backtester_model_core.networks.activations import ACTIVATIONS, Activation, Singles
from backtester_model_core.networks.recurrent import gru_run, lstm_run

LayerArrays: TypeAlias = Sequence[Singles]
"""A layer's arrays, inputs before outputs:

- dense: matrix (p, q), constant (q,);
- batch_norm: scale (p,), shift (p,), mean (p,), variance (p,); layer_norm: scale, shift;
- lstm: matrix (p, 4u), recurrent (u, 4u), constant (4u,), its gates input, forget, cell, output;
- gru: matrix (p, 3u), recurrent (u, 3u), constant (3u,), constant of the recurrent part (3u,), its gates reset,
  update, new;
- conv1d: kernel (size, p, q), constant (q,);
- others: none.
"""

Part: TypeAlias = Callable[[Singles], Singles]


def layer_part(placed: PlacedLayer, arrays: LayerArrays, *, compiled: bool) -> Part:
    """Return a layer with its activation, and where only the last step goes on, that step.

    Raises:
        ModelError: When the layer has no such form.
    """
    layer = placed.layer
    if isinstance(layer, described.RecurrentLayer) and not layer.bidirectional:
        return _recurrent(placed, arrays, compiled=compiled)
    if type(layer) not in PARTS:
        raise ModelError(
            f"No fast answer to one row: {placed.place} ({layer.model_dump()['type']}) is asked through predict."
        )
    part = PARTS[type(layer)](placed, layer, arrays)
    activation = ACTIVATIONS[getattr(layer, "activation", "linear")]
    chained = part if activation is None else _then(part, activation)
    return _then(chained, lambda steps: steps[-1]) if placed.last_step else chained


def _then(part: Part, following: Activation) -> Part:
    return lambda given: following(part(given))


def affine_part(matrix: Singles, constant: Singles) -> Part:
    """Return a linear map and a constant."""
    return lambda given: given @ matrix + constant


def _dense(_: PlacedLayer, __: described.DenseLayer, arrays: LayerArrays) -> Part:
    return affine_part(*arrays)


def _same(_: PlacedLayer, __: Any, ___: LayerArrays) -> Part:
    return lambda given: given


def _batch_norm(_: PlacedLayer, layer: described.BatchNormLayer, arrays: LayerArrays) -> Part:
    scale, shift, mean, variance = arrays
    factor = scale / np.sqrt(variance + np.float32(layer.epsilon))
    constant = shift - mean * factor
    return lambda given: given * factor + constant


def _layer_norm(_: PlacedLayer, layer: described.LayerNormLayer, arrays: LayerArrays) -> Part:
    scale, shift = arrays
    epsilon = np.float32(layer.epsilon)

    def part(given: Singles) -> Singles:
        away = given - given.mean(axis=-1, keepdims=True)
        variance = (away * away).mean(axis=-1, keepdims=True)
        return np.asarray(away / np.sqrt(variance + epsilon) * scale + shift, dtype=np.float32)

    return part


def _recurrent(placed: PlacedLayer, arrays: LayerArrays, *, compiled: bool) -> Part:
    matrix, recurrent, constant, *recurrent_constant = arrays
    is_lstm = isinstance(placed.layer, described.LstmLayer)
    run = (lstm_run if is_lstm else gru_run)(compiled=compiled)
    units = len(recurrent)
    states = np.empty((_known(placed.given[0]), units), dtype=np.float32)
    extra = np.empty(units, dtype=np.float32) if is_lstm else recurrent_constant[0]

    def part(given: Singles) -> Singles:
        run(given @ matrix + constant, recurrent, extra, states)
        return states[-1].copy() if placed.last_step else states.copy()

    return part


def _conv1d(placed: PlacedLayer, layer: described.Conv1dLayer, arrays: LayerArrays) -> Part:
    kernel, constant = arrays
    size, n_inputs, n_filters = kernel.shape
    padding = layer.span - 1 if layer.padding == "causal" else 0
    n_steps = _known(placed.given[0]) + padding
    first = np.arange((n_steps - layer.span) % layer.stride, n_steps - layer.span + 1, layer.stride)
    seen = first[:, np.newaxis] + layer.dilation * np.arange(size)
    zeros = np.zeros((padding, n_inputs), dtype=np.float32)
    matrix = kernel.reshape(size * n_inputs, n_filters)

    def part(given: Singles) -> Singles:
        windows = np.concatenate([zeros, given])[seen].reshape(len(first), size * n_inputs)
        return np.asarray(windows @ matrix + constant)

    return part


def _pooling(_: PlacedLayer, layer: described.PoolingLayer, __: LayerArrays) -> Part:
    def pool(steps: Singles, axis: int) -> Singles:
        return np.asarray(steps.mean(axis=axis) if layer.kind == "mean" else steps.max(axis=axis))

    def part(given: Singles) -> Singles:
        if layer.size is None:
            return pool(given, 0)
        newest = given[len(given) % layer.size :]
        return pool(newest.reshape(-1, layer.size, given.shape[1]), 1)

    return part


def _flatten(_: PlacedLayer, __: described.FlattenLayer, ___: LayerArrays) -> Part:
    return lambda given: given.reshape(-1)


PARTS: Mapping[type[described.LayerConfig], Callable[[PlacedLayer, Any, LayerArrays], Part]] = {
    described.DenseLayer: _dense,
    described.ActivationLayer: _same,
    described.DropoutLayer: _same,
    described.BatchNormLayer: _batch_norm,
    described.LayerNormLayer: _layer_norm,
    described.Conv1dLayer: _conv1d,
    described.PoolingLayer: _pooling,
    described.FlattenLayer: _flatten,
}


def _known(count: int | None) -> int:
    """Return a count of steps, which a trained network knows."""
    if count is None:
        raise ModelError("The shape of the network's input is not known. Train it first.")
    return count
