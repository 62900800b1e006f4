"""The shared layers' activations, of arrays in single precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Singles: TypeAlias = NDArray[np.float32]

Activation: TypeAlias = Callable[[Any], Any]

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
"""Klambauer et al. (2017), Self-Normalizing Neural Networks, equation 14."""

ROOT_HALF = math.sqrt(0.5)


def sigmoid(x: Singles) -> Singles:
    """Return ``1 / (1 + exp(-x))`` by a hyperbolic tangent, which is finite everywhere."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), dtype=np.float32)


def softplus(x: Singles) -> Singles:
    """Return ``log(1 + exp(x))``."""
    return np.asarray(np.logaddexp(x, np.float32(0)), dtype=np.float32)


def elu(x: Singles) -> Singles:
    """Return ``x`` above zero, ``exp(x) - 1`` below."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0))))


def gelu(x: Singles) -> Singles:
    """Return ``x`` times the normal distribution function of it."""
    below = [0.5 * (1.0 + math.erf(ROOT_HALF * one)) for one in x.ravel().tolist()]
    return x * np.array(below, dtype=np.float32).reshape(x.shape)


ACTIVATIONS: Mapping[str, Activation | None] = {
    "elu": elu,
    "gelu": gelu,
    "leaky_relu": lambda x: np.where(x > 0, x, np.float32(0.01) * x),
    "linear": None,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "selu": lambda x: np.float32(SELU_SCALE) * np.where(x > 0, x, np.float32(SELU_ALPHA) * elu(x)),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "softplus": softplus,
    "tanh": np.tanh,
}
"""Each activation of the configuration; ``None`` for the one that changes nothing."""
