"""Windows, rolling and cumulative, against pandas and NumPy: ours over full windows, Qlib's over what is there."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.features import OPERATORS

N_ROWS = 160
NAN = np.nan
WINDOWS = [4, 5, 20, 61]


def run(name: str, inputs: list[np.ndarray], *parameters: float) -> np.ndarray:
    """Hand values to an operator's step, one after another."""
    operator = OPERATORS[name]
    state = operator.new_state(parameters)
    before = () if state is None else (state,)
    rows = zip(*(values.tolist() for values in inputs), strict=True)
    return np.array([operator.step(*before, *row, *parameters) for row in rows])


def prices(seed: int, holes: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = (100 + np.cumsum(rng.standard_t(3, N_ROWS))).round(1)  # rounded, so that some are equal
    if holes:
        values[[0, 1, 17, 18, 19, 20, 21, 22, 60, 90, 91]] = np.nan
        values[110] = np.inf
    return values


def line(values: np.ndarray) -> tuple[float, float]:
    slope, intercept = np.polyfit(np.arange(len(values)), values, 1)
    return slope, intercept


def residual(values: np.ndarray) -> float:
    slope, intercept = line(values)
    return values[-1] - (slope * (len(values) - 1) + intercept)


OURS: dict[str, Callable[[pd.Series], float]] = {
    "rolling_median": lambda x: x.median(),
    "rolling_rank": lambda x: x.rank(pct=True).iloc[-1],
    "bars_since_max": lambda x: float(np.argmax(x.to_numpy()[::-1])),
    "bars_since_min": lambda x: float(np.argmin(x.to_numpy()[::-1])),
    "rolling_mad": lambda x: float(np.mean(np.abs(x - x.mean()))),
    "rolling_skew": lambda x: x.skew(),
    "rolling_kurt": lambda x: x.kurt(),
    "rolling_wma": lambda x: np.average(x, weights=np.arange(1, len(x) + 1)),
    "rolling_slope": lambda x: line(x.to_numpy())[0],
    "rolling_rsquare": lambda x: np.corrcoef(np.arange(len(x)), x)[0, 1] ** 2,
    "rolling_residual": lambda x: residual(x.to_numpy()),
    "rolling_count": lambda x: float(len(x)),
}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", OURS)
def test_a_value_is_that_of_its_window_cut_out(name: str, window: int) -> None:
    values = prices(1)
    cut = [pd.Series(values[row - window + 1 : row + 1]) for row in range(window - 1, N_ROWS)]

    actual = run(name, [values], window)

    assert np.isnan(actual[: window - 1]).all()
    np.testing.assert_allclose(actual[window - 1 :], [OURS[name](x) for x in cut], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.2, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("window", [1, 2, 5, 20])
def test_a_quantile_is_that_of_its_window_cut_out(window: int, level: float) -> None:
    values = prices(2)

    actual = run("rolling_quantile", [values], window, level)

    expected = pd.Series(values).rolling(window).quantile(level)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("name", "method"), [("rolling_cov", "cov"), ("rolling_corr", "corr")])
def test_a_pair_is_that_of_its_window_cut_out(name: str, method: str, window: int) -> None:
    x, y = prices(3), prices(4)

    actual = run(name, [x, y], window)

    expected = getattr(pd.Series(x).rolling(window), method)(pd.Series(y))
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


PAIRS = ["rolling_cov", "rolling_corr"]
FULL = [name for name in OURS if name != "rolling_count"]


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [*FULL, "rolling_quantile", *PAIRS])
def test_a_hole_makes_a_window_unknown_until_it_has_left(name: str, hole: float) -> None:
    values, other = prices(5), prices(6)
    values[30] = hole
    level = (0.3,) if name == "rolling_quantile" else ()
    inputs = [other, values] if name in PAIRS else [values]

    actual = run(name, inputs, 5, *level)

    assert np.flatnonzero(np.isnan(actual)).tolist() == [*range(4), *range(30, 35)]
    after = run(name, [one[31:] for one in inputs], 5, *level)
    assert actual[35:].tobytes() == after[4:].tobytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rolling_rank", 0.6),  # the mean of ranks 1 … 5 among five
        ("bars_since_max", 0.0),
        ("bars_since_min", 0.0),
        ("rolling_mad", 0.0),
        ("rolling_skew", 0.0),
        ("rolling_kurt", 0.0),
        ("rolling_wma", 0.1),
        ("rolling_slope", 0.0),
        ("rolling_rsquare", 0.0),
        ("rolling_residual", 0.0),
        ("rolling_median", 0.1),
        ("rolling_cov", 0.0),
        ("rolling_corr", 0.0),
    ],
)
def test_a_window_of_equal_values_gives_the_neutral_one(name: str, expected: float) -> None:
    constant = np.full(12, 0.1)
    inputs = [constant, prices(7)[:12]] if name in PAIRS else [constant]

    assert run(name, inputs, 5)[4:].tolist() == [expected] * 8


def test_a_count_is_of_what_is_known() -> None:
    values = np.array([1.0, np.nan, 2.0, 3.0, np.inf, 4.0, 5.0, 6.0, 7.0])

    assert run("rolling_count", [values], 3)[2:].tolist() == [2.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("name", "method"),
    [("cumulative_sum", "cumsum"), ("cumulative_max", "cummax"), ("cumulative_min", "cummin")],
)
def test_a_cumulative_value_is_that_of_all_bars_so_far(name: str, method: str) -> None:
    values = prices(8, holes=True)
    known = pd.Series(np.where(np.isfinite(values), values, np.nan))

    np.testing.assert_allclose(run(name, [values]), getattr(known, method)(), rtol=1e-14)


# -- Qlib's, by the pandas calls that define them ---------------------------------------------------------------------


def regression(x: np.ndarray, what: str) -> float:
    """Return a figure of the regression of what is there on its place in the window."""
    there = ~np.isnan(x)
    places = np.arange(len(x))[there]
    if len(places) < 2:
        return np.nan
    slope, intercept = np.polyfit(places, x[there], 1)
    if what == "slope":
        return float(slope)
    if what == "resi":
        return float(x[-1] - (slope * (len(x) - 1) + intercept))
    return np.nan if np.std(x[there], ddof=1) <= 2e-5 else float(np.corrcoef(places, x[there])[0, 1] ** 2)


def weighted(x: np.ndarray) -> float:
    weight = np.arange(len(x)) + 1
    return float(np.nanmean(weight / weight.sum() * x))


def deviation(x: np.ndarray) -> float:
    there = x[~np.isnan(x)]
    return float(np.mean(np.abs(there - there.mean())))


def rolled(x: pd.Series, n: int) -> pd.api.typing.Rolling:
    return x.rolling(n, min_periods=1)


QLIB: dict[str, Callable[[pd.Series, int], pd.Series]] = {
    "Mean": lambda x, n: rolled(x, n).mean(),
    "Sum": lambda x, n: rolled(x, n).sum(),
    "Var": lambda x, n: rolled(x, n).var(),
    "Std": lambda x, n: rolled(x, n).std(),
    "Count": lambda x, n: rolled(x, n).count(),
    "Max": lambda x, n: rolled(x, n).max(),
    "Min": lambda x, n: rolled(x, n).min(),
    "Med": lambda x, n: rolled(x, n).median(),
    "Skew": lambda x, n: rolled(x, n).skew(),
    "Kurt": lambda x, n: rolled(x, n).kurt(),
    "Rank": lambda x, n: rolled(x, n).rank(pct=True),
    "IdxMax": lambda x, n: rolled(x, n).apply(lambda w: w.argmax() + 1, raw=True),
    "IdxMin": lambda x, n: rolled(x, n).apply(lambda w: w.argmin() + 1, raw=True),
    "Mad": lambda x, n: rolled(x, n).apply(deviation, raw=True),
    "WMA": lambda x, n: rolled(x, n).apply(weighted, raw=True),
    "Slope": lambda x, n: rolled(x, n).apply(regression, raw=True, args=("slope",)),
    "Resi": lambda x, n: rolled(x, n).apply(regression, raw=True, args=("resi",)),
    "Rsquare": lambda x, n: rolled(x, n).apply(regression, raw=True, args=("rsquare",)),
    "EMA": lambda x, n: x.ewm(span=n, min_periods=1).mean(),
}


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", QLIB)
def test_an_operator_of_qlib_is_what_pandas_makes_of_its_definition(
    name: str, window: int, holes: bool
) -> None:
    values = prices(9, holes)
    known = pd.Series(np.where(np.isfinite(values), values, np.nan))

    actual = run(name, [values], window)

    np.testing.assert_allclose(actual, QLIB[name](known, window), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("level", [0.0, 0.2, 0.8, 1.0])
@pytest.mark.parametrize("holes", [False, True])
def test_a_quantile_of_qlib_is_what_pandas_makes_of_its_definition(level: float, holes: bool) -> None:
    values = prices(10, holes)
    known = pd.Series(np.where(np.isfinite(values), values, np.nan))

    actual = run("Quantile", [values], 20, level)

    np.testing.assert_allclose(actual, rolled(known, 20).quantile(level), rtol=1e-12)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("name", "method"), [("Cov", "cov"), ("Corr", "corr")])
def test_a_pair_of_qlib_is_what_pandas_makes_of_its_definition(
    name: str, method: str, window: int, holes: bool
) -> None:
    x, y = prices(11, holes), prices(12)
    y[40:120] = 7.0  # constant, so that a deviation is zero
    known = pd.Series(np.where(np.isfinite(x), x, np.nan)), pd.Series(y)
    expected = getattr(rolled(known[0], window), method)(known[1])
    if name == "Corr":
        flat = [np.isclose(rolled(one, window).std(), 0, atol=2e-5) for one in known]
        expected[flat[0] | flat[1]] = np.nan

    actual = run(name, [x, y], window)

    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)


DIGITS: dict[str, Callable[[np.ndarray], float]] = {
    "Std": lambda x: float(np.std(x, ddof=1)),
    "Slope": lambda x: line(x)[0],
    "Rsquare": lambda x: float(np.corrcoef(np.arange(len(x)), x)[0, 1] ** 2),
}


@pytest.mark.parametrize("name", DIGITS)
def test_sums_of_qlib_keep_their_digits_after_a_spike_and_at_a_high_level(name: str) -> None:
    values = 1e6 + np.random.default_rng(13).uniform(-1e-3, 1e-3, 200)
    values[50] = 1e12

    actual = run(name, [values], 20)

    expected = [DIGITS[name](values[row - 19 : row + 1] - 1e6) for row in range(75, 200)]
    np.testing.assert_allclose(actual[75:], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "of"), [("Cov", np.cov), ("Corr", np.corrcoef)])
def test_sums_of_pairs_keep_their_digits_after_a_spike_and_at_a_high_level(
    name: str, of: Callable[..., np.ndarray]
) -> None:
    x, y = 1e6 + np.random.default_rng(14).uniform(-1e-3, 1e-3, (2, 200))
    x[[30, 127]] = y[[55, 91]] = 1e12, 1e6 + 1e3
    x[100] = y[120] = NAN

    actual = run(name, [x, y], 20)

    there = np.isfinite(x) & np.isfinite(y)
    ends = [
        row for row in range(19, 200) if not any((one[row - 19 : row + 1] > 1e6 + 1).any() for one in (x, y))
    ]
    windows = [np.flatnonzero(there[row - 19 : row + 1]) + row - 19 for row in ends]
    expected = [of(x[rows] - 1e6, y[rows] - 1e6)[0, 1] for rows in windows]
    np.testing.assert_allclose(actual[ends], expected, rtol=1e-7, atol=1e-15)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("lone", "expected"), [(1.0, NAN), (5.0, -math.sqrt(3 / 7))])
def test_a_value_without_a_partner_has_its_say_whether_its_side_deviates(
    lone: float, expected: float, swapped: bool
) -> None:
    # deviations of the pairs: 0, 1, -1 (times 1e-5, below Qlib's 2e-5) and -4/3, -1/3, 5/3; products sum to -2,
    # squares to 2 and 42/9, so their correlation is -2 / sqrt(2 * 42/9)
    x, y = np.array([1.0, 1.00001, 0.99999, lone]), np.array([1.0, 2.0, 4.0, NAN])

    actual = run("Corr", [y, x] if swapped else [x, y], 4)

    assert actual[2:].tolist() == pytest.approx([NAN, expected], rel=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [
        ("Gt", (2.0, 1.0), 1.0),
        ("Gt", (NAN, 1.0), 0.0),
        ("Ge", (1.0, 1.0), 1.0),
        ("Ge", (NAN, 1.0), 0.0),
        ("Lt", (1.0, 2.0), 1.0),
        ("Lt", (1.0, NAN), 0.0),
        ("Le", (1.0, 1.0), 1.0),
        ("Le", (2.0, 1.0), 0.0),
        ("Eq", (1.0, 1.0), 1.0),
        ("Eq", (NAN, NAN), 0.0),
        ("Ne", (1.0, 1.0), 0.0),
        ("Ne", (NAN, 1.0), 1.0),
        ("And", (1.0, 0.0), 0.0),
        ("And", (2.0, NAN), 1.0),
        ("Or", (0.0, 0.0), 0.0),
        ("Or", (0.0, 3.0), 1.0),
        ("Not", (0.0,), 1.0),
        ("Not", (NAN,), 0.0),
        ("If", (1.0, 2.0, 3.0), 2.0),
        ("If", (0.0, 2.0, 3.0), 3.0),
        ("If", (NAN, 2.0, 3.0), 2.0),
    ],
)
def test_one_bar_of_qlib(name: str, inputs: tuple[float, ...], expected: float) -> None:
    assert OPERATORS[name].step(*inputs) == expected
