"""A stream gives the same bits by either engine, and a memory of one goes on in the other."""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from backtester_model_core.compiled import cache
from backtester_model_core.exceptions import ExpressionError, MissingExtraError
from backtester_model_core.features import (
    OPERATORS,
    Call,
    Column,
    Constant,
    Expression,
    FeatureStream,
    Operator,
    Parameter,
    col,
    feature_set,
    parse_expression,
    stream_engines,
)

pytest.importorskip("numba", exc_type=ImportError)

OHLCV = ("open", "high", "low", "close", "volume")
MEAN = {"mean": parse_expression("rolling_mean(close, 3)")}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile into a fresh directory, so that no test meets what another session left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "cache_directory", partial(Path, tmp_path_factory.mktemp("kernels")))
        cache.load_kernel.cache_clear()
        yield
    cache.load_kernel.cache_clear()


def rough_bars(seed: int, n: int) -> list[dict[str, float]]:
    """Return noise on a moving level, with holes, zeros, repeats and spikes."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 5)) + np.repeat(rng.choice([0.0, 100.0, 1e6], n // 40 + 1), 40)[:n, None]
    for rough in (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e12, 1e200, 5e-324, -1.0):
        values[rng.integers(0, n, 3), rng.integers(0, 5, 3)] = rough
    values[n // 2 : n // 2 + 25] = 3.7
    return [dict(zip(OHLCV, row, strict=True)) for row in values.tolist()]


def bits(features: list[float]) -> bytes:
    return struct.pack(f"{len(features)}d", *features)


def assert_engines_agree(expressions: dict[str, Expression], bars: list[dict[str, float]]) -> None:
    plain, compiled = (FeatureStream(expressions, engine=engine) for engine in ("python", "compiled"))

    for number, bar in enumerate(bars):
        symbol = "AB"[number % 3 == 0]
        assert bits(plain.update(symbol, bar)) == bits(compiled.update(symbol, bar)), (number, bar)
    assert json.dumps(plain.snapshot()) == json.dumps(compiled.snapshot())


def value_of(parameter: Parameter, n: int) -> float:
    return max(n, parameter.minimum) if parameter.whole else n / 70


def calls_of_every_operator(n: int) -> dict[str, Expression]:
    inputs = tuple(map(col, ("close", "open", "high")))
    calls = []
    for name in OPERATORS:
        operator = OPERATORS[name]
        parameters = tuple(value_of(one, n) for one in operator.parameters)
        calls.append(Call(name, inputs[: len(operator.inputs)], parameters))
    return {str(call): call for call in calls}


def test_every_operator_gives_the_same_bits() -> None:
    assert_engines_agree(calls_of_every_operator(7), rough_bars(1, 400))


def calls_of(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    def call_of(name: str) -> st.SearchStrategy[Expression]:
        operator = OPERATORS[name]
        inputs = st.tuples(*(parts for _ in operator.inputs))
        parameters = st.tuples(
            *(st.integers(2, 9).map(partial(value_of, one)) for one in operator.parameters)
        )
        return st.builds(Call, st.just(name), inputs, parameters)

    return st.sampled_from(sorted(OPERATORS)).flatmap(call_of)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(Constant)
EXPRESSIONS = st.recursive(st.sampled_from(OHLCV).map(Column) | NUMBERS, calls_of, max_leaves=8)


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(expressions=st.lists(EXPRESSIONS, min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_any_expressions_give_the_same_bits(expressions: list[Expression], seed: int) -> None:
    named = {str(number): expression for number, expression in enumerate(expressions)}

    assert_engines_agree(named, rough_bars(seed, 120))


@pytest.mark.parametrize(
    "text", ["log(0 - 1) * close", "close / (1 / 0)", "close + (0 - 1) / 0", "-2.5 * close", "3"]
)
def test_constants_of_any_kind_are_written_out(text: str) -> None:
    assert_engines_agree({"constant": parse_expression(text)}, rough_bars(3, 20))


@pytest.mark.parametrize("engines", [("python", "compiled"), ("compiled", "python")])
def test_a_memory_of_one_engine_goes_on_in_the_other(engines: tuple[str, str]) -> None:
    first, second = (FeatureStream(feature_set("basic"), engine=engine) for engine in engines)
    bars = rough_bars(4, 120)
    for bar in bars[:57]:
        first.update("A", bar)

    second.restore(json.loads(json.dumps(first.snapshot())))

    for bar in bars[57:]:
        assert bits(second.update("A", bar)) == bits(first.update("A", bar))


def test_a_snapshot_of_compiled_memory_does_not_change_when_the_stream_goes_on() -> None:
    stream = FeatureStream(MEAN, engine="compiled")
    stream.update("A", {"close": 1.0})
    snapshot = json.dumps(stream.snapshot())
    earlier = stream.snapshot()

    stream.update("A", {"close": 2.0})

    assert json.dumps(earlier) == snapshot


@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_a_bar_that_is_no_number_leaves_no_trace(engine: str) -> None:
    stream = FeatureStream(MEAN, engine=engine)

    with pytest.raises(TypeError):
        stream.update("A", {"close": None})

    assert stream.snapshot()["symbols"] == {}


# -- which engine ------------------------------------------------------------------------------------------------


@pytest.fixture
def plain_only() -> Iterator[dict[str, Expression]]:
    """Register an operator that is not to be compiled."""
    OPERATORS.add("listed", Operator(listed, compiled=False))
    yield {"listed": parse_expression("listed(close)")}
    OPERATORS.discard("listed")


@pytest.fixture
def uncompilable() -> Iterator[dict[str, Expression]]:
    """Register an operator whose step numba has no way to compile, without saying so."""
    OPERATORS.add("listed", Operator(listed))
    yield {"listed": parse_expression("listed(close)")}
    OPERATORS.discard("listed")


def listed(x: float) -> float:
    return float(str(x))


def test_an_operator_that_is_not_to_be_compiled_makes_auto_choose_python(
    plain_only: dict[str, Expression], caplog: pytest.LogCaptureFixture
) -> None:
    assert FeatureStream(plain_only, engine="auto").update("A", {"close": 2.5}) == [2.5]
    assert caplog.text == ""


def test_an_operator_that_is_not_to_be_compiled_is_named_where_compiling_was_asked_for(
    plain_only: dict[str, Expression],
) -> None:
    with pytest.raises(ExpressionError, match=r"'listed' is not to be compiled.*engine 'python'"):
        FeatureStream(plain_only, engine="compiled")


def test_a_step_that_numba_refuses_is_an_error_where_compiling_was_asked_for(
    uncompilable: dict[str, Expression],
) -> None:
    with pytest.raises(ExpressionError, match=r"numba cannot compile .*engine 'python'"):
        FeatureStream(uncompilable, engine="compiled")


def test_a_step_that_numba_refuses_is_run_as_it_is_otherwise(
    uncompilable: dict[str, Expression], caplog: pytest.LogCaptureFixture
) -> None:
    assert FeatureStream(uncompilable, engine="auto").update("A", {"close": 2.5}) == [2.5]
    assert "streamed in plain Python" in caplog.text


def test_a_step_that_cannot_be_written_out_says_the_way_out() -> None:
    OPERATORS.add("nameless", Operator(lambda x: x))
    try:
        with pytest.raises(ExpressionError, match="compiled=False"):
            FeatureStream({"same": parse_expression("nameless(close)")}, engine="compiled")
    finally:
        OPERATORS.discard("nameless")


def test_without_numba_auto_is_python(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream_engines, "numba_is_here", lambda: False)

    assert math.isnan(FeatureStream(MEAN, engine="auto").update("A", {"close": 1.0})[0])
    assert caplog.text == ""


def test_asking_for_a_compiled_stream_without_numba_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba.core.errors", None)

    with pytest.raises(MissingExtraError, match=r"core\[fast\]"):
        FeatureStream(MEAN, engine="compiled")
