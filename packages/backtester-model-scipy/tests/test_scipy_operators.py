"""The operators: against SciPy on whole windows, and causal like all others (T1 to T8)."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from backtester_model_core.bars import Panel
from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features import FeatureStream, Operator, evaluate, parse_expression
from backtester_model_core.plugins import plugins
from backtester_model_core.testing import (
    feature_values,
    find_future_leaks,
    find_stream_leaks,
    find_symbol_leaks,
    find_truncation_leaks,
    find_warm_up_leaks,
    memory_of,
    random_bars,
    random_panel,
)
from backtester_model_core.typing import FloatArray
from backtester_model_scipy.operators import OPERATORS

plugins()

EXAMPLES = {
    "butterworth_lowpass": "butterworth_lowpass(close, 10, 3)",
    "butterworth_highpass": "butterworth_highpass(close, 12, 2)",
    "savgol": "savgol(close, 15, 2)",
    "detrend": "detrend(close, 20, 1)",
    "spectral_energy": "spectral_energy(close, 20, 4, 10)",
    "rolling_entropy": "rolling_entropy(close, 20, 5)",
    "permutation_entropy": "permutation_entropy(close, 20)",
    "hurst": "hurst(log(close), 32)",
    "rolling_jarque_bera": "rolling_jarque_bera(close, 20)",
    "peak_state": "peak_state(close, 3)",
}
EXPRESSIONS = {name: parse_expression(text) for name, text in EXAMPLES.items()}
COMPUTE = feature_values(EXPRESSIONS)

each_operator = pytest.mark.parametrize("name", OPERATORS)


def computed(text: str, values: FloatArray) -> FloatArray:
    """Return an expression over one symbol whose close has these values."""
    index = pd.date_range("2020-01-01", periods=len(values), name="timestamp")
    bars = pd.DataFrame({"close": values}, index=index)
    return evaluate({"f": parse_expression(text)}, Panel.of(bars))[:, 0]


def walk(n: int = 300, seed: int = 0) -> FloatArray:
    return 100 + np.cumsum(np.random.default_rng(seed).normal(size=n))


def windows_of(values: FloatArray, n: int) -> FloatArray:
    return np.lib.stride_tricks.sliding_window_view(values, n)


# -- against SciPy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lowpass", "highpass"])
@pytest.mark.parametrize("order", [1, 2, 3, 8])
def test_a_butterworth_filter_agrees_with_sosfilt(kind: str, order: int) -> None:
    values = walk()
    sections = signal.butter(order, 2 / 10, kind, output="sos")
    wanted, _ = signal.sosfilt(sections, values, zi=signal.sosfilt_zi(sections) * values[0])

    found = computed(f"butterworth_{kind}(close, 10, {order})", values)

    assert np.isnan(found[:9]).all()
    assert np.allclose(found[9:], wanted[9:], rtol=0, atol=1e-9)


def test_savitzky_and_golay_end_where_the_polynomial_ends() -> None:
    values = walk()

    found = computed("savgol(close, 15, 2)", values)

    ages = np.arange(15)
    wanted = [np.polyval(np.polyfit(ages, window, 2), 14) for window in windows_of(values, 15)]
    assert np.allclose(found[14:], wanted, rtol=0, atol=1e-8)
    assert np.allclose(
        values - found, computed("detrend(close, 15, 2)", values), rtol=0, atol=1e-9, equal_nan=True
    )


def test_a_sine_has_its_energy_at_its_period() -> None:
    sine = np.sin(2 * np.pi * np.arange(100) / 8)

    inside, outside = (
        computed(f"spectral_energy(close, 32, {band})", sine)[31:] for band in ("6, 10", "11, 32")
    )

    assert inside == pytest.approx(1.0)
    assert outside == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("window", [20, 21])
def test_all_periods_together_have_all_the_energy(window: int) -> None:
    found = computed(f"spectral_energy(close, {window}, 2, {window})", walk())

    assert found[window - 1 :] == pytest.approx(1.0)


def test_entropy_agrees_with_scipy() -> None:
    values = walk()

    found = computed("rolling_entropy(close, 20, 5)", values)

    wanted = [stats.entropy(np.histogram(window, 5)[0]) / math.log(5) for window in windows_of(values, 20)]
    assert np.allclose(found[19:], wanted)


def test_the_entropy_of_orders_by_hand() -> None:
    values = np.array([4.0, 7.0, 9.0, 10.0, 6.0, 11.0, 3.0])  # Bandt and Pompe's own example, of order 3

    found = computed("permutation_entropy(close, 7)", values)

    shares = np.array([2, 2, 1]) / 5
    assert found[6] == pytest.approx(-(shares * np.log(shares)).sum() / math.log(6))


def test_each_order_of_three_values_is_told_apart() -> None:
    orders = [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)]
    operator = OPERATORS["permutation_entropy"]
    counted = []
    for values in orders:
        state = operator.new_state((3,))
        for value in values:
            operator.step(state, float(value), 3)
        counted.append(int(np.argmax(state[-6:])))

    assert sorted(counted) == [0, 1, 2, 3, 4, 5]


def test_jarque_and_bera_agree_with_scipy() -> None:
    values = walk()

    found = computed("rolling_jarque_bera(close, 25)", values)

    wanted = [stats.jarque_bera(window).statistic for window in windows_of(values, 25)]
    assert np.allclose(found[24:], wanted, rtol=1e-9)


def test_the_hurst_exponent_tells_trends_walks_and_noise_apart() -> None:
    rng = np.random.default_rng(0)
    trend, steps, noise = np.arange(270.0), walk(270), rng.normal(size=270)

    found = [np.nanmean(computed("hurst(close, 256)", values)) for values in (trend, steps, noise)]

    assert found == pytest.approx([1.0, 0.5, 0.0], abs=0.06)


def test_a_peak_is_known_when_it_has_been_confirmed() -> None:
    values = np.array([1.0, 2.0, 5.0, 3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0])

    found = computed("peak_state(close, 2)", values)

    assert np.array_equal(found, [np.nan] * 4 + [1, 1, 1, -1, -1, -1], equal_nan=True)


def test_a_peak_that_is_shared_is_none() -> None:
    assert computed("peak_state(close, 1)", np.array([1.0, 2.0, 2.0, 1.0, 1.5]))[2:].tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rolling_entropy(close, 20, 5)", 0.0),
        ("rolling_jarque_bera(close, 20)", 0.0),
        ("hurst(close, 20)", 0.5),
        ("spectral_energy(close, 20, 2, 20)", 0.0),
        ("detrend(close, 20, 2)", 0.0),
        ("peak_state(close, 2)", 0.0),
        ("permutation_entropy(close, 20)", 0.0),
    ],
)
def test_where_nothing_moves_the_value_is_neutral(text: str, wanted: float) -> None:
    assert computed(text, np.full(30, 7.0))[-1] == wanted


# -- causality -------------------------------------------------------------------------------------------------------


def test_a_truncation_changes_nothing_before() -> None:  # T1
    assert find_truncation_leaks(COMPUTE, random_bars(120, seed=1), cuts=range(40, 120, 9)) == []


def test_another_future_changes_nothing_before() -> None:  # T2
    assert find_future_leaks(COMPUTE, random_bars(150, seed=2), cuts=(60, 100)) == []


def test_the_declared_memory_is_enough() -> None:  # T3
    bars, memory = random_bars(600, seed=3), memory_of(EXPRESSIONS)

    assert find_warm_up_leaks(COMPUTE, bars, memory_bars=memory, n_ends=1) == []


def test_a_memory_that_is_declared_too_short_is_found() -> None:
    text = {"butterworth_lowpass": EXPRESSIONS["butterworth_lowpass"]}
    compute = feature_values(text)

    leaks = find_warm_up_leaks(compute, random_bars(300), memory_bars={"butterworth_lowpass": 15}, n_ends=1)

    assert [leak.column for leak in leaks] == ["butterworth_lowpass"]


def test_other_symbols_change_nothing() -> None:
    assert find_symbol_leaks(COMPUTE, random_panel(3, 80, seed=4)) == []


def test_a_stream_gives_the_bits_of_the_batch() -> None:  # T8
    assert find_stream_leaks(EXPRESSIONS, random_panel(2, 120, seed=5)) == []


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_stream_gives_the_bits_of_the_batch_on_rough_bars(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=120) + rng.choice([0.0, 100.0, 1e6])
    for rough in (np.nan, np.inf, 0.0, 1e12, values[0]):
        values[rng.random(120) < 0.02] = rough
    index = pd.date_range("2020-01-01", periods=120, name="timestamp")
    bars = pd.DataFrame({"close": values}, index=index)
    stream = FeatureStream(EXPRESSIONS)

    live = np.array([stream.update("", bar) for bar in bars.to_dict("records")])

    assert live.tobytes() == evaluate(EXPRESSIONS, Panel.of(bars)).tobytes()


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
def test_compiled_steps_give_the_same_bits() -> None:
    panel = Panel.of(random_bars(400, seed=6))
    able = {name: expression for name, expression in EXPRESSIONS.items() if OPERATORS[name].compiled}

    plain, compiled = (evaluate(able, panel, engine=engine) for engine in ("python", "compiled"))

    assert plain.tobytes() == compiled.tobytes()


@each_operator
def test_the_warm_up_is_as_declared(name: str) -> None:
    found = evaluate({name: EXPRESSIONS[name]}, Panel.of(random_bars(200)))[:, 0]

    assert np.isnan(found).sum() == EXPRESSIONS[name].warm_up_bars


# -- what is refused, and what is imported ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("savgol(close, 15, 9)", "the degree is a whole number from 1 to 8, not 9"),
        ("butterworth_lowpass(close, 2, 2)", "the period is 2, but goes from 3"),
        ("rolling_entropy(close, 20, 1)", "the bins is a whole number from 2 to 100, not 1"),
        ("hurst(close, 8)", "the window is 8, but goes from 16"),
    ],
)
def test_a_number_out_of_its_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("savgol(close, 3, 3)", "A polynomial of degree 3 needs more than 3 bars"),
        ("spectral_energy(close, 20, 10, 5)", "Periods from 10 to 5 bars do not fit a window of 20"),
        ("spectral_energy(close, 20, 10, 30)", "none longer than the window"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        computed(text, walk(50))


@each_operator
def test_an_operator_is_found_by_its_name(name: str) -> None:
    operator = OPERATORS[name]

    assert isinstance(operator, Operator)
    assert operator.summary.startswith("Return ")
    assert str(EXPRESSIONS[name].operator) == name


def test_registering_the_operators_imports_no_scipy() -> None:
    code = "from backtester_model_core.plugins import plugins; plugins(); import sys; sys.exit('scipy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 0
