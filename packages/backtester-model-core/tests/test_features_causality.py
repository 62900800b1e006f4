"""For every expression: batch equals stream, the past does not move, and symbols do not touch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.bars import Panel
from backtester_model_core.features import (
    OPERATORS,
    Call,
    Column,
    Constant,
    Expression,
    FeatureStream,
    Operator,
    col,
    evaluate,
    feature_set,
    parse_expression,
)
from backtester_model_core.typing import FloatArray

OHLCV = ["open", "high", "low", "close", "volume"]

# -- any expression, any bars -------------------------------------------------------------------------------------


def calls_of(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    """Return calls of any operator on some parts."""

    def call_of(name: str) -> st.SearchStrategy[Expression]:
        operator = OPERATORS[name]
        inputs = st.tuples(*(parts for _ in operator.inputs))
        parameters = st.tuples(
            *(st.integers(one.minimum, 7) if one.whole else st.floats(0, 1) for one in operator.parameters)
        )
        return st.builds(Call, st.just(name), inputs, parameters)

    return st.sampled_from(sorted(OPERATORS)).flatmap(call_of)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(Constant)
EXPRESSIONS = st.recursive(st.sampled_from(OHLCV).map(Column) | NUMBERS, calls_of, max_leaves=8)
NAMED_EXPRESSIONS = st.recursive(
    st.text(min_size=1, max_size=8).map(Column) | NUMBERS, calls_of, max_leaves=8
)
FEATURES = st.lists(EXPRESSIONS, min_size=1, max_size=4).map(
    lambda many: {f"f{k}": one for k, one in enumerate(many)}
)


def one_call(name: str) -> Call:
    """Return an operator's call on plain columns, with a window of four."""
    operator = OPERATORS[name]
    columns = ("close", "open", "high")[: len(operator.inputs)]
    parameters = tuple(4 if one.whole else 0.3 for one in operator.parameters)
    return Call(name, tuple(map(col, columns)), parameters)


ONE_OF_EACH: dict[str, Expression] = {name: one_call(name) for name in OPERATORS}


def rough_bars(seed: int, n_rows: int, symbols: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return bars with holes, infinities, repeats, zeros and spikes; symbols list and delist at random."""
    rng = np.random.default_rng(seed)
    stamps = pd.date_range("2020-01-01", periods=n_rows, name="timestamp")
    index = (
        pd.MultiIndex.from_product([stamps, symbols], names=["timestamp", "symbol"]) if symbols else stamps
    )
    values = rng.normal(size=(len(index), 5)) + rng.choice([0.0, 100.0, 1e6])
    values[rng.random(values.shape) < 0.1] = values[0, 0]
    for rough in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e12, -1e300):
        values[rng.random(values.shape) < 0.01] = rough
    bars = pd.DataFrame(values, index=index, columns=OHLCV)
    return bars[rng.random(len(bars)) < 0.9] if symbols else bars


def features_of(expressions: Mapping[str, Expression], bars: pd.DataFrame) -> FloatArray:
    return evaluate(expressions, Panel.of(bars))


def same_bits(actual: FloatArray, expected: FloatArray) -> bool:
    return actual.shape == expected.shape and actual.tobytes() == expected.tobytes()


# -- text ---------------------------------------------------------------------------------------------------------


@given(expression=NAMED_EXPRESSIONS)
def test_the_text_of_any_expression_reads_back_to_it(expression: Expression) -> None:
    read = parse_expression(str(expression))

    assert read == expression
    assert str(read) == str(expression)


# -- batch and stream ---------------------------------------------------------------------------------------------


@given(expressions=FEATURES, seed=st.integers(0, 2**32 - 1))
def test_a_stream_gives_the_bits_of_the_batch_for_any_expression(
    expressions: dict[str, Expression], seed: int
) -> None:
    bars = rough_bars(seed, 40)
    stream = FeatureStream(expressions)

    live = np.array([stream.update("", bar) for bar in bars.to_dict("records")])

    assert same_bits(live, features_of(expressions, bars))


@pytest.mark.parametrize("expressions", [ONE_OF_EACH, feature_set("basic")], ids=["operators", "basic"])
def test_a_stream_of_interleaved_symbols_gives_the_bits_of_the_panel(
    expressions: dict[str, Expression],
) -> None:
    bars = rough_bars(1, 150, ("A", "B", "C"))
    stream = FeatureStream(expressions)

    live = [
        stream.update(symbol, bar)
        for (_, symbol), bar in zip(bars.index, bars.to_dict("records"), strict=True)
    ]

    assert same_bits(np.array(live), features_of(expressions, bars))


# -- the past does not move ---------------------------------------------------------------------------------------


def assert_truncation_changes_nothing(expressions: Mapping[str, Expression], bars: pd.DataFrame) -> None:
    """Cut the bars after every row: what was known before must be the same bits."""
    whole = features_of(expressions, bars)
    for end in range(len(bars) + 1):
        assert same_bits(features_of(expressions, bars.iloc[:end]), whole[:end]), f"row {end} was not known"


def assert_the_future_changes_nothing(expressions: Mapping[str, Expression], bars: pd.DataFrame) -> None:
    """Rewrite all bars after a row in several ways: what was known before must be the same bits."""
    whole = features_of(expressions, bars)
    rng = np.random.default_rng(0)
    for now in range(1, len(bars), 7):
        later = bars.iloc[now:]
        for rewritten in (
            later * 10,
            later[::-1],
            later * np.nan,
            later * 0,
            later + rng.normal(size=later.shape),
        ):
            changed = bars.copy()
            changed.iloc[now:] = rewritten.to_numpy()
            assert same_bits(features_of(expressions, changed)[:now], whole[:now]), f"row {now} shows before"


def test_every_operator_gives_the_same_when_the_bars_end_early() -> None:
    assert_truncation_changes_nothing(ONE_OF_EACH, rough_bars(2, 60))


def test_the_basic_set_gives_the_same_when_the_bars_end_early() -> None:
    assert_truncation_changes_nothing(feature_set("basic"), rough_bars(3, 70))


def test_every_operator_gives_the_same_whatever_comes_later() -> None:
    assert_the_future_changes_nothing(ONE_OF_EACH, rough_bars(4, 60))


@settings(max_examples=25)
@given(expressions=FEATURES, seed=st.integers(0, 2**32 - 1))
def test_any_expression_gives_the_same_when_the_bars_end_early(
    expressions: dict[str, Expression], seed: int
) -> None:
    assert_truncation_changes_nothing(expressions, rough_bars(seed, 25))


def centred(values: FloatArray, out: FloatArray) -> None:
    out[:] = values - values.sum() / max(len(values), 1)


def next_value(values: FloatArray, out: FloatArray) -> None:
    out[:] = np.append(values[1:], 0.0)


@pytest.fixture(params=[centred, next_value])
def leak(request: pytest.FixtureRequest) -> Iterator[dict[str, Expression]]:
    """Plant an operator that looks ahead over whole columns, by going round the constructor that refuses it."""
    leaky = Operator(OPERATORS["abs"].step)
    object.__setattr__(leaky, "ufunc", request.param)
    OPERATORS.add("leaky", leaky)
    yield {"leak": Call("leaky", (col("close"),))}
    OPERATORS.discard("leaky")


def test_truncation_reveals_a_planted_look_ahead(leak: dict[str, Expression]) -> None:
    bars = pd.DataFrame(
        {"close": np.arange(20.0)}, index=pd.date_range("2020-01-01", periods=20, name="timestamp")
    )

    with pytest.raises(AssertionError, match="was not known"):
        assert_truncation_changes_nothing(leak, bars)


def test_rewriting_the_future_reveals_a_planted_look_ahead(leak: dict[str, Expression]) -> None:
    bars = pd.DataFrame(
        {"close": np.arange(20.0)}, index=pd.date_range("2020-01-01", periods=20, name="timestamp")
    )

    with pytest.raises(AssertionError, match="shows before"):
        assert_the_future_changes_nothing(leak, bars)


def test_a_stream_reveals_a_planted_look_ahead_too(leak: dict[str, Expression]) -> None:
    bars = pd.DataFrame(
        {"close": np.arange(20.0)}, index=pd.date_range("2020-01-01", periods=20, name="timestamp")
    )
    stream = FeatureStream(leak)

    live = np.array([stream.update("", bar) for bar in bars.to_dict("records")])

    assert not same_bits(live, features_of(leak, bars))


# -- warm-up and memory -------------------------------------------------------------------------------------------


def smooth_bars(n_rows: int) -> pd.DataFrame:
    """Return valid bars in which nothing is undefined."""
    rng = np.random.default_rng(8)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n_rows)))
    open_ = close * np.exp(rng.normal(0, 0.003, n_rows))
    high = np.maximum(open_, close) * 1.001
    low = np.minimum(open_, close) * 0.999
    index = pd.date_range("2020-01-01", periods=n_rows, name="timestamp")
    volume = rng.uniform(1, 2, n_rows)
    return pd.DataFrame(
        {"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=index
    )


@pytest.mark.parametrize("name", ["operators", "basic", "nested"])
def test_the_warm_up_is_exactly_as_long_as_declared(name: str) -> None:
    nested = "ema(rolling_std(delta(close, 3), 5), 4) + rolling_max(ref(open, 2), 6)"
    expressions = {
        "operators": ONE_OF_EACH,
        "basic": feature_set("basic"),
        "nested": {"nested": parse_expression(nested)},
    }[name]
    bars = smooth_bars(60) / 200  # so that no power or exponential overflows
    values = features_of(expressions, bars)

    first_known = [int(np.argmin(np.isnan(column))) for column in values.T]

    assert first_known == [expression.warm_up_bars for expression in expressions.values()]
    assert all(
        not np.isnan(column[first:]).any() for column, first in zip(values.T, first_known, strict=True)
    )


@pytest.mark.parametrize("name", feature_set("basic"))
def test_a_feature_depends_on_no_more_history_than_its_memory(name: str) -> None:
    expression = feature_set("basic")[name]
    bars = smooth_bars(900)

    full = features_of({name: expression}, bars)[-1, 0]
    recent = features_of({name: expression}, bars.iloc[-expression.memory_bars - 1 :])[-1, 0]

    tolerance = 1e-9 if expression.memory_bars == expression.warm_up_bars else 1e-4
    assert recent == pytest.approx(full, rel=tolerance, abs=tolerance * 1e-2)


def test_an_average_started_elsewhere_keeps_a_millionth_of_the_difference() -> None:
    close = np.r_[1000.0, np.zeros(200)]
    bars = pd.DataFrame({"close": close}, index=pd.date_range("2020-01-01", periods=201, name="timestamp"))
    expression = parse_expression("ema(close, 10)")

    values = features_of({"ema": expression}, bars)[:, 0]

    started = values[9]
    assert values[expression.memory_bars] <= 1e-6 * started < values[expression.memory_bars - 1]


# -- symbols do not touch -----------------------------------------------------------------------------------------


def test_another_symbol_changes_nothing() -> None:
    bars = rough_bars(5, 80, ("A", "B", "C"))
    alone = bars[bars.index.get_level_values("symbol") == "B"]

    among = features_of(ONE_OF_EACH, bars)[bars.index.get_level_values("symbol") == "B"]

    assert same_bits(np.ascontiguousarray(among), features_of(ONE_OF_EACH, alone))


def test_renaming_symbols_into_another_order_changes_nothing() -> None:
    bars = rough_bars(6, 80, ("A", "B", "C"))
    renamed = bars.rename(index={"A": "Z", "C": "Y"}, level="symbol")

    assert same_bits(features_of(ONE_OF_EACH, renamed), features_of(ONE_OF_EACH, bars))


def test_rows_come_back_in_the_callers_order() -> None:
    bars = rough_bars(7, 3, ("A", "B"))

    values = features_of({"close": col("close")}, bars)

    expected = np.where(np.isfinite(bars["close"]), bars["close"], np.nan)
    assert np.array_equal(values[:, 0], expected, equal_nan=True)
    assert values.flags.c_contiguous


def test_no_feature_is_infinite() -> None:
    bars = rough_bars(9, 200)
    expressions = {"quotient": parse_expression("close / 0"), "logarithm": parse_expression("log(0 * close)")}

    values = features_of(expressions, bars)

    assert np.isnan(values).all()
    assert all(math.isnan(value) for value in FeatureStream(expressions).update("", bars.iloc[0].to_dict()))


@pytest.mark.parametrize("name", ["technical", "alpha158", "alpha360"])
def test_a_set_gives_the_same_when_the_bars_end_early_and_one_bar_at_a_time(name: str) -> None:
    bars = smooth_bars(75).assign(vwap=1.0)
    expressions = feature_set(name)
    stream = FeatureStream(expressions)
    whole = features_of(expressions, bars)

    live = np.array([stream.update("", bar) for bar in bars.to_dict("records")])

    assert same_bits(live, whole)
    for end in (1, 30, 61, 74):
        assert same_bits(features_of(expressions, bars.iloc[:end]), whole[:end])
