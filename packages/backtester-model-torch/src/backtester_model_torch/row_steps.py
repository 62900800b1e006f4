"""A trained network's numbers, layer by layer, laid out as the core's fast answers to one row take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from backtester_model_core.config import PlacedLayer
from backtester_model_core.networks import LayerArrays
from backtester_model_torch.layers import StepNorm


def arrays_of(network: Any, placed: Sequence[PlacedLayer]) -> tuple[list[LayerArrays], LayerArrays]:
    """Return the arrays of each layer, and those of the output layer."""
    layers = [_arrays(module) for module, _ in zip(network.body, placed, strict=True)]
    return layers, _arrays(network.head)


def _arrays(layer: nn.Module) -> LayerArrays:
    """Return the arrays of the first part that has any; the core takes no layer that has several."""
    found = (_arrays_of_part(part) for part in layer.modules())
    return next((arrays for arrays in found if arrays), ())


def _arrays_of_part(part: nn.Module) -> LayerArrays:
    match part:
        case nn.Linear():
            matrix, bias = _numbers(part.weight).T, _optional(part.bias)
            return (matrix, np.zeros(matrix.shape[1]) if bias is None else bias)
        case StepNorm():
            return tuple(map(_numbers, (part.weight, part.bias, part.running_mean, part.running_var)))
        case nn.LayerNorm():
            return (_numbers(part.weight), _numbers(part.bias))
        case nn.LSTM():
            constant = _numbers(part.bias_ih_l0) + _numbers(part.bias_hh_l0)
            return (_numbers(part.weight_ih_l0).T, _numbers(part.weight_hh_l0).T, constant)
        case nn.GRU():
            matrices = (_numbers(part.weight_ih_l0).T, _numbers(part.weight_hh_l0).T)
            return (*matrices, _numbers(part.bias_ih_l0), _numbers(part.bias_hh_l0))
        case nn.Conv1d():
            return (_numbers(part.weight).transpose(2, 1, 0), _numbers(part.bias))
    return ()


def _optional(tensor: Any) -> Any:
    return None if tensor is None else _numbers(tensor)


def _numbers(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()
