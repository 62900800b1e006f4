"""Plain functions written out for numba: what they name goes with them, and means one thing."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from backtester_model_core.compiled import (
    cache,
    compile_function,
    numba_is_here,
    numba_works,
    write_functions,
)
from backtester_model_core.exceptions import MissingExtraError

FACTOR = 2.0


def scaled(x: float) -> float:
    """Return a multiple."""
    return FACTOR * x


def total_of(values: np.ndarray, x: float) -> float:
    total = 0.0
    for value in values:
        total += value
    return scaled(total) + math.sqrt(x)


def countdown(n: float) -> float:
    return 0.0 if n <= 0.0 else 1.0 + countdown(n - 1.0)


def test_what_a_function_names_is_written_before_it() -> None:
    written = write_functions([total_of])

    assert [part.splitlines()[-1].strip() for part in written.parts] == [
        "FACTOR = 2.0",
        "return FACTOR * x",
        "import math as math",
        "return scaled(total) + math.sqrt(x)",
    ]


def test_a_function_that_calls_itself_is_written_once() -> None:
    written = write_functions([countdown, countdown])

    assert written.names == ("countdown", "countdown")
    assert len(written.parts) == 1


def test_a_name_that_means_two_things_becomes_two_names() -> None:
    other = FunctionType(scaled.__code__, {"FACTOR": 3.0}, "scaled")

    written = write_functions([scaled, other])

    scope = {"njit": lambda **_: lambda function: function}
    exec("\n".join(written.parts), scope)
    assert [scope[name](5.0) for name in written.names] == [10.0, 15.0]  # type: ignore[operator]


def test_a_name_that_is_reserved_is_not_taken() -> None:
    assert write_functions([scaled], reserved=["scaled"]).names == ("scaled_2",)


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(cache, "cache_directory", lambda: tmp_path)


@pytest.mark.usefixtures("own_cache")
@pytest.mark.skipif(not numba_is_here(), reason="needs numba")
def test_a_compiled_function_answers_as_the_plain_one() -> None:
    compiled = compile_function(total_of, "float64(float64[::1], float64)")

    assert compiled(np.array([1.0, 2.0]), 9.0) == total_of(np.array([1.0, 2.0]), 9.0) == 9.0


def test_without_numba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba.core.errors", None)

    with pytest.raises(MissingExtraError, match=r"Compiling scaled needs.*core\[fast\]"):
        compile_function(scaled, "float64(float64)")


def test_a_numba_that_cannot_be_imported_is_told_and_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "numba_is_here", lambda: True)
    monkeypatch.setitem(sys.modules, "numba.core.errors", None)

    assert not numba_works()
    assert "installed but does not work" in caplog.text


def test_where_numba_is_not_installed_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "numba_is_here", lambda: False)

    assert not numba_works()
    assert caplog.text == ""
