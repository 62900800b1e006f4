"""The very same step functions, compiled by numba, give the same bits."""

from __future__ import annotations

import builtins
import dis
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from backtester_model_core.features import OPERATORS

numba = pytest.importorskip("numba", exc_type=ImportError)


def compiled(function: Any) -> Callable[..., float]:
    """Compile a step, and the functions it calls, without changing a line of them."""
    names = {part.argval for part in dis.get_instructions(function) if part.opname == "LOAD_GLOBAL"}
    known = {name: function.__globals__[name] for name in names if name in function.__globals__}
    called = {
        name: compiled(value) if isinstance(value, FunctionType) else value for name, value in known.items()
    }
    alike = FunctionType(function.__code__, {**called, "__builtins__": builtins}, function.__name__)
    return numba.njit(alike)  # type: ignore[no-any-return]


def rough_values(seed: int, n: int) -> np.ndarray:
    """Return noise on a moving level, with holes, zeros, repeats and spikes."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n) + np.repeat(rng.choice([0.0, 100.0, 1e6], n // 50), 50)
    for rough in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e12, -1e12, 1e200, 5e-324, -1.0):
        values[rng.integers(0, n, 4)] = rough
    values[n // 2 : n // 2 + 70] = 3.7
    return values


@pytest.mark.parametrize("name", OPERATORS)
def test_a_compiled_step_gives_the_same_bits(name: str) -> None:
    operator = OPERATORS[name]
    columns = [rough_values(seed, 2000) for seed, _ in enumerate(operator.inputs)]
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    step = compiled(operator.step)

    for window in [(n,) * len(operator.parameters) for n in (2, 5, 20, 60)]:
        plain, fast = operator.new_state(window), operator.new_state(window)
        memory = () if plain is None else (plain,)
        array = () if fast is None else (np.array(fast),)
        expected = np.array([operator.step(*memory, *row, *window) for row in rows])
        actual = np.array([step(*array, *row, *window) for row in rows])

        expected[np.isnan(expected)] = actual[np.isnan(actual)] = np.nan
        assert actual.tobytes() == expected.tobytes()
