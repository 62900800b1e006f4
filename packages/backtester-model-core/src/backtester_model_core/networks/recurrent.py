"""Recurrent layers over one window: from what the input adds to the gates to the state at every step.

Each in two forms, of which the plain one multiplies whole arrays, and the one to be compiled goes through them
number by number. A hyperbolic tangent is made of an exponential, which numba computes nine times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from backtester_model_core.compiled import compile_function
from backtester_model_core.networks.activations import Singles, sigmoid

Run: TypeAlias = Callable[[Any, Any, Any, Any], None]
"""(gates, recurrent, constant, states): fills in the states, and uses the gates up."""

SIGNATURE = "void(float32[:, ::1], float32[:, ::1], float32[::1], float32[:, ::1])"


def lstm_run(*, compiled: bool) -> Run:
    """Return the long short-term memory of :class:`LstmLayer`, its gates in the order input, forget, cell, output."""
    return compile_function(run_lstm, SIGNATURE) if compiled else plain_lstm  # type: ignore[arg-type]


def gru_run(*, compiled: bool) -> Run:
    """Return the gated recurrent unit of :class:`GruLayer`, its gates in the order reset, update, new."""
    return compile_function(run_gru, SIGNATURE) if compiled else plain_gru  # type: ignore[arg-type]


def add_product(sums: Any, factors: Any, matrix: Any) -> None:
    """Add the product of factors and a matrix, four of its rows at a time: each sum is fetched a quarter as often."""
    whole = len(factors) - len(factors) % 4
    for row in range(0, whole, 4):
        a, b, c, d = factors[row], factors[row + 1], factors[row + 2], factors[row + 3]
        for at in range(len(sums)):
            sums[at] += (
                a * matrix[row, at]
                + b * matrix[row + 1, at]
                + c * matrix[row + 2, at]
                + d * matrix[row + 3, at]
            )
    for row in range(whole, len(factors)):
        for at in range(len(sums)):
            sums[at] += factors[row] * matrix[row, at]


def run_lstm(gates: Any, recurrent: Any, cell: Any, states: Any) -> None:
    """Go through the steps; ``cell`` is zero at the beginning."""
    units = states.shape[1]
    one = gates.dtype.type(1)
    two = gates.dtype.type(2)
    cell[:] = gates.dtype.type(0)
    for step in range(len(gates)):
        gate = gates[step]
        if step > 0:
            add_product(gate, states[step - 1], recurrent)
        for at in range(2 * units, 3 * units):
            gate[at] *= two
        for at in range(4 * units):
            gate[at] = one / (one + math.exp(-gate[at]))
        for unit in range(units):
            new = two * gate[2 * units + unit] - one
            cell[unit] = gate[units + unit] * cell[unit] + gate[unit] * new
        for unit in range(units):
            bounded = two / (one + math.exp(-two * cell[unit])) - one
            states[step, unit] = gate[3 * units + unit] * bounded


def plain_lstm(gates: Singles, recurrent: Singles, cell: Singles, states: Singles) -> None:
    """Go through the steps; ``cell`` is zero at the beginning."""
    units = states.shape[1]
    cell[:] = 0.0
    before = np.zeros(units, dtype=np.float32)
    for step, gate in enumerate(gates):
        scores = gate + before @ recurrent
        opened = sigmoid(scores)
        cell[:] = opened[units : 2 * units] * cell + opened[:units] * np.tanh(scores[2 * units : 3 * units])
        before = states[step] = opened[3 * units :] * np.tanh(cell)


def run_gru(gates: Any, recurrent: Any, constant: Any, states: Any) -> None:
    """Go through the steps; ``constant`` is added to what the state adds to the gates."""
    units = states.shape[1]
    one = gates.dtype.type(1)
    two = gates.dtype.type(2)
    added = np.empty_like(constant)
    for step in range(len(gates)):
        gate = gates[step]
        added[:] = constant
        if step > 0:
            add_product(added, states[step - 1], recurrent)
        for at in range(2 * units):
            gate[at] = one / (one + math.exp(-(gate[at] + added[at])))
        for unit in range(units):
            wanted = gate[2 * units + unit] + gate[unit] * added[2 * units + unit]
            new = two / (one + math.exp(-two * wanted)) - one
            kept = gate[units + unit]
            states[step, unit] = (one - kept) * new
            if step > 0:
                states[step, unit] += kept * states[step - 1, unit]


def plain_gru(gates: Singles, recurrent: Singles, constant: Singles, states: Singles) -> None:
    """Go through the steps; ``constant`` is added to what the state adds to the gates."""
    units = states.shape[1]
    before = np.zeros(units, dtype=np.float32)
    for step, gate in enumerate(gates):
        added = before @ recurrent + constant
        reset, update = np.split(sigmoid(gate[: 2 * units] + added[: 2 * units]), 2)
        new = np.tanh(gate[2 * units :] + reset * added[2 * units :])
        before = states[step] = (np.float32(1) - update) * new + update * before
