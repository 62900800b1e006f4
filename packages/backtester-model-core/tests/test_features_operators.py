"""Every operator's values, against numbers worked out by hand and against exact arithmetic."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features import OPERATORS, Operator, Parameter
from backtester_model_core.features.primitives import LARGEST_EXPONENT

NAN, INF = math.nan, math.inf


def run(name: str, values: list[float], *parameters: int) -> list[float]:
    """Hand values to an operator's step, one after another."""
    operator = OPERATORS[name]
    state = operator.new_state(parameters)
    return [operator.step(state, value, *parameters) for value in values]


def same(actual: float, expected: float) -> bool:
    """Tell whether two numbers are the same bits, one NaN being as good as another."""
    if math.isnan(actual) or math.isnan(expected):
        return math.isnan(actual) and math.isnan(expected)
    return struct.pack("d", actual) == struct.pack("d", expected)


# -- one bar ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [
        ("add", (1.5, 2.0), 3.5),
        ("subtract", (1.5, 2.0), -0.5),
        ("multiply", (1.5, 2.0), 3.0),
        ("divide", (3.0, 2.0), 1.5),
        ("divide", (1.0, 0.0), INF),
        ("divide", (-1.0, 0.0), -INF),
        ("divide", (1.0, -0.0), -INF),
        ("divide", (0.0, 0.0), NAN),
        ("divide", (NAN, 0.0), NAN),
        ("divide", (INF, 0.0), INF),
        ("ratio", (3.0, 2.0), 1.5),
        ("ratio", (0.0, 0.0), 0.0),
        ("ratio", (-0.0, 0.0), 0.0),
        ("ratio", (1.0, 0.0), INF),
        ("ratio", (NAN, 0.0), NAN),
        ("abs", (-2.5,), 2.5),
        ("sign", (-2.5,), -1.0),
        ("sign", (2.5,), 1.0),
        ("sign", (-0.0,), 0.0),
        ("sign", (NAN,), NAN),
        ("sqrt", (2.25,), 1.5),
        ("sqrt", (-1.0,), NAN),
        ("log", (math.e,), 1.0),
        ("log", (0.0,), -INF),
        ("log", (-1.0,), NAN),
        ("log", (INF,), INF),
        ("exp", (0.0,), 1.0),
        ("exp", (1000.0,), INF),
        ("exp", (-1000.0,), 0.0),
        ("exp", (-INF,), 0.0),
        ("exp", (INF,), INF),
        ("exp", (NAN,), NAN),
        ("power", (3.0, 2.0), 9.0),
        ("power", (-2.0, 3.0), -8.0),
        ("power", (4.0, 0.5), 2.0),
        ("power", (-4.0, 0.5), NAN),
        ("power", (0.0, 2.0), 0.0),
        ("power", (0.0, 0.0), 1.0),
        ("power", (0.0, -1.0), INF),
        ("power", (10.0, 400.0), INF),
        ("power", (-10.0, 401.0), -INF),
        ("power", (-10.0, 400.0), INF),
        ("power", (10.0, -400.0), 0.0),
        ("power", (INF, 2.0), NAN),
        ("power", (1.0, NAN), NAN),
        ("maximum", (1.0, 2.0), 2.0),
        ("maximum", (NAN, 2.0), NAN),
        ("maximum", (2.0, NAN), NAN),
        ("minimum", (1.0, 2.0), 1.0),
        ("minimum", (NAN, 1.0), NAN),
        ("minimum", (1.0, NAN), NAN),
        ("greater", (2.0, 1.0), 1.0),
        ("greater", (1.0, 1.0), 0.0),
        ("greater", (NAN, 1.0), NAN),
        ("greater", (1.0, NAN), NAN),
        ("greater_equal", (1.0, 1.0), 1.0),
        ("greater_equal", (1.0, 2.0), 0.0),
        ("greater_equal", (1.0, NAN), NAN),
        ("equal", (1.0, 1.0), 1.0),
        ("equal", (1.0, 2.0), 0.0),
        ("equal", (NAN, NAN), NAN),
        ("logical_and", (2.0, 0.0), 0.0),
        ("logical_and", (2.0, -1.0), 1.0),
        ("logical_and", (0.0, NAN), NAN),
        ("logical_or", (0.0, 0.0), 0.0),
        ("logical_or", (0.0, -1.0), 1.0),
        ("logical_or", (1.0, NAN), NAN),
        ("logical_not", (0.0,), 1.0),
        ("logical_not", (3.0,), 0.0),
        ("logical_not", (NAN,), NAN),
        ("where", (1.0, 2.0, NAN), 2.0),
        ("where", (0.0, 2.0, 3.0), 3.0),
        ("where", (NAN, 2.0, 3.0), NAN),
    ],
)
def test_one_bar(name: str, inputs: tuple[float, ...], expected: float) -> None:
    assert same(OPERATORS[name].step(*inputs), expected)


STATELESS = [name for name in OPERATORS if OPERATORS[name].state is None]
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)


@pytest.mark.parametrize("name", STATELESS)
@given(pair=st.tuples(ANY_FLOAT, ANY_FLOAT))
@example(pair=(LARGEST_EXPONENT, 1.0))
@example(pair=(math.nextafter(LARGEST_EXPONENT, INF), 1.0))
@example(pair=(1e308, 1e-308))
@example(pair=(math.exp(1.0), 709.0))
@example(pair=(math.exp(1.0), 715.0))
@example(pair=(-2.0, 1e300))
def test_no_number_makes_a_step_raise_or_turn_complex(name: str, pair: tuple[float, float]) -> None:
    operator = OPERATORS[name]

    assert type(operator.step(*(*pair, 1.0)[: len(operator.inputs)])) is float


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in STATELESS])
@given(values=st.lists(ANY_FLOAT, max_size=30))
def test_no_row_of_numbers_makes_a_step_with_a_memory_raise(name: str, values: list[float]) -> None:
    operator = OPERATORS[name]
    parameters = [max(3, one.minimum) if one.whole else 0.3 for one in operator.parameters]
    state = operator.new_state(tuple(parameters))
    other = values[::-1]

    for pair in zip(values, other, strict=True):
        assert type(operator.step(state, *pair[: len(operator.inputs)], *parameters)) is float


@pytest.mark.parametrize("name", [name for name in STATELESS if OPERATORS[name].ufunc is not None])
@given(pairs=st.lists(st.tuples(ANY_FLOAT, ANY_FLOAT), min_size=1, max_size=40))
@example(
    pairs=[(a, b) for a in (0.0, -0.0, 1.0, -1.0, INF, -INF, NAN) for b in (0.0, -0.0, 1.0, INF, -INF, NAN)]
)
def test_the_function_for_whole_columns_equals_the_step_in_every_bit(
    name: str, pairs: list[tuple[float, float]]
) -> None:
    operator = OPERATORS[name]
    columns = [np.array(column) for column in list(zip(*pairs, strict=True))[: len(operator.inputs)]]

    assert operator.ufunc is not None
    with np.errstate(all="ignore"):
        whole = operator.ufunc(*columns).tolist()

    steps = [
        operator.step(*(column[row] for column in map(np.ndarray.tolist, columns)))
        for row in range(len(pairs))
    ]
    assert all(map(same, whole, steps))


# -- a memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "window", "values", "expected"),
    [
        ("ref", 2, [1, 2, 3, 4], [NAN, NAN, 1, 2]),
        ("ref", 1, [1, NAN, INF, 4], [NAN, 1, NAN, INF]),
        ("delta", 2, [1, 2, 4, 8], [NAN, NAN, 3, 6]),
        ("rolling_mean", 3, [1, 2, 6, 7], [NAN, NAN, 3, 5]),
        ("rolling_mean", 1, [1, 2, 6], [1, 2, 6]),
        ("rolling_sum", 3, [1, 2, 6, 7], [NAN, NAN, 9, 15]),
        ("rolling_var", 3, [1, 2, 6, 7], [NAN, NAN, 7, 7]),
        ("rolling_std", 2, [1, 3, 3, 7], [NAN, math.sqrt(2), 0, math.sqrt(8)]),
        ("rolling_max", 3, [1, 5, 2, 3, 1, 0, 9], [NAN, NAN, 5, 5, 3, 3, 9]),
        ("rolling_max", 1, [1, 5, 2], [1, 5, 2]),
        ("rolling_min", 3, [1, 5, 2, 3, 1, 0, 9], [NAN, NAN, 1, 2, 1, 0, 0]),
        ("zscore", 3, [1, 2, 3, 3, 3], [NAN, NAN, 1, math.sqrt(1 / 3), 0]),
        ("zscore", 2, [5, 5, 5], [NAN, 0, 0]),
        # mean of 1, 2, 6 is 3; then a half of the way: 3 + (7 - 3) / 2, 5 + (1 - 5) / 2
        ("ema", 3, [1, 2, 6, 7, 1], [NAN, NAN, 3, 5, 3]),
        # then a third of the way: 3 + (9 - 3) / 3, 5 + (2 - 5) / 3
        ("wilder", 3, [1, 2, 6, 9, 2], [NAN, NAN, 3, 5, 4]),
        ("ema", 1, [1, 2, 6], [1, 2, 6]),
        # 1, 2, 4 moves 3 by steps of 3 in all, so the weight is the fastest, 2/3: 2 + (2/3)^2 (4 - 2)
        # 2, 4, 3 moves 1 by steps of 3, a third of the way from 2/31 to 2/3, which is 74/279
        ("kama", 2, [1, 2, 4, 3], [NAN, NAN, 26 / 9, 26 / 9 + (74 / 279) ** 2 * (3 - 26 / 9)]),
        # it begins anew after a hole, from the value before its first
        ("kama", 2, [1, 2, 4, NAN, 5, 7, 6], [*[NAN] * 2, 26 / 9, *[NAN] * 3, 7 - (74 / 279) ** 2]),
    ],
)
def test_values_worked_out_by_hand(
    name: str, window: int, values: list[float], expected: list[float]
) -> None:
    actual = run(name, [float(value) for value in values], window)

    assert actual == pytest.approx(expected, rel=1e-15, nan_ok=True)


WINDOW_FUNCTIONS: dict[str, Callable[[np.ndarray], float]] = {
    "rolling_mean": np.mean,
    "rolling_sum": np.sum,
    "rolling_var": lambda window: np.var(window, ddof=1),
    "rolling_std": lambda window: np.std(window, ddof=1),
    "rolling_max": np.max,
    "rolling_min": np.min,
    "zscore": lambda window: (window[-1] - window.mean()) / window.std(ddof=1),
}


@pytest.mark.parametrize("name", WINDOW_FUNCTIONS)
@pytest.mark.parametrize("window", [2, 5, 20, 61])
def test_a_rolling_value_is_that_of_its_window_cut_out(name: str, window: int) -> None:
    values = np.random.default_rng(1).standard_t(3, size=300) + 50
    expected = [
        WINDOW_FUNCTIONS[name](values[row - window + 1 : row + 1]) if row >= window - 1 else NAN
        for row in range(300)
    ]

    assert run(name, values.tolist(), window) == pytest.approx(expected, rel=1e-11, abs=1e-11, nan_ok=True)


HOLE_AT = 10


@pytest.mark.parametrize("hole", [NAN, INF, -INF])
@pytest.mark.parametrize("name", WINDOW_FUNCTIONS)
def test_a_hole_makes_a_window_unknown_until_it_has_left(name: str, hole: float) -> None:
    values = np.random.default_rng(2).normal(size=30)
    values[HOLE_AT] = hole

    actual = run(name, values.tolist(), 5)

    known = [row for row, value in enumerate(actual) if not math.isnan(value)]
    assert known == [*range(4, HOLE_AT), *range(HOLE_AT + 5, 30)]
    after = run(name, values[HOLE_AT + 1 :].tolist(), 5)
    assert actual[HOLE_AT + 5 :] == after[4:]


@pytest.mark.parametrize("hole", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["ema", "wilder"])
@pytest.mark.parametrize("at", [0, 2, 7])
def test_an_exponential_average_skips_a_hole_before_while_and_after_it_starts(
    name: str, at: int, hole: float
) -> None:
    values = np.random.default_rng(3).normal(size=12).tolist()

    with_hole = run(name, [*values[:at], hole, *values[at:]], 5)

    assert math.isnan(with_hole[at])
    without = run(name, values, 5)
    assert all(map(same, [*with_hole[:at], *with_hole[at + 1 :]], without))


# -- rounding -----------------------------------------------------------------------------------------------------


def exact_std(window: list[float]) -> float:
    """Return the sample deviation by exact arithmetic, rounded at the end only."""
    numbers = [Fraction(value) for value in window]
    mean = sum(numbers) / len(numbers)
    return math.sqrt(sum((value - mean) ** 2 for value in numbers) / (len(numbers) - 1))


def around_a_million(rng: np.random.Generator) -> np.ndarray:
    return 1e6 + rng.uniform(-1e-3, 1e-3, 400)


def with_spikes(rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(100.0, 1.0, 400)
    values[[50, 51, 130, 290]] = [1e12, -1e12, 1e12, 1e15]
    return values


def after_an_infinity(rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(100.0, 1.0, 400)
    values[[100, 205]] = [INF, NAN]
    return values


def with_jumps(rng: np.random.Generator) -> np.ndarray:
    return np.repeat([0.0, 1e6, -1e6, 1e6], 100) + rng.uniform(-1e-3, 1e-3, 400)


def decaying(rng: np.random.Generator) -> np.ndarray:
    return 8.0 ** -(np.arange(400.0) % 40) * rng.random(400)


@pytest.mark.parametrize("window", [2, 5, 20, 60])
@pytest.mark.parametrize("make", [around_a_million, with_spikes, after_an_infinity, with_jumps, decaying])
def test_a_deviation_is_right_whatever_the_level_and_whatever_has_left(
    make: Callable[[np.random.Generator], np.ndarray], window: int
) -> None:
    values = make(np.random.default_rng(4)).tolist()

    actual = run("rolling_std", values, window)

    for row in range(window - 1, 400):
        inside = values[row - window + 1 : row + 1]
        if not all(map(math.isfinite, inside)):
            assert math.isnan(actual[row])
        else:
            assert actual[row] == pytest.approx(exact_std(inside), rel=1e-9)


@pytest.mark.parametrize("make", [around_a_million, with_spikes, with_jumps, decaying])
def test_a_mean_is_right_to_the_last_digits_of_its_own_window(
    make: Callable[[np.random.Generator], np.ndarray],
) -> None:
    values = make(np.random.default_rng(5)).tolist()

    actual = run("rolling_mean", values, 20)

    for row in range(19, 400):
        inside = values[row - 19 : row + 1]
        exact = float(sum(map(Fraction, inside)) / 20)
        assert actual[row] == pytest.approx(exact, rel=4e-16, abs=1e-12 * exact_std(inside))


def test_a_score_is_right_where_the_mean_has_no_digits_left() -> None:
    values = around_a_million(np.random.default_rng(9)).tolist()

    actual = run("zscore", values, 20)

    for row in range(19, 400):
        inside = values[row - 19 : row + 1]
        exact = float(Fraction(values[row]) - sum(map(Fraction, inside)) / 20) / exact_std(inside)
        assert actual[row] == pytest.approx(exact, rel=1e-9, abs=1e-12)


def test_squares_too_small_for_a_double_leave_no_deviation() -> None:
    assert run("rolling_var", [*[1.55e-162] * 19, 0.0], 20)[-1] == 0.0


def test_an_outlier_that_comes_when_sums_are_made_afresh_is_no_shift_for_the_others() -> None:
    values = np.random.default_rng(8).normal(100.0, 1.0, 350).tolist()
    values[199] = 1e9  # the last of the ring of 100, for the second time

    actual = run("rolling_std", values, 100)

    for row in (199, 200, 250, 298, 299, 349):
        assert actual[row] == pytest.approx(exact_std(values[row - 99 : row + 1]), rel=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 + 0.1, -3e-200])
def test_a_constant_window_has_no_deviation_at_all_even_after_a_change_of_level(constant: float) -> None:
    values = [1e9, 2.5, -7.0, 1e-3, *[constant] * 30]

    assert run("rolling_std", values, 7)[10:] == [0.0] * 24
    assert run("zscore", values, 7)[10:] == [0.0] * 24
    assert run("rolling_mean", values, 7)[10:] == [constant] * 24


def test_sums_of_whole_numbers_are_whole() -> None:
    values = np.random.default_rng(6).integers(0, 10**9, 300).astype(float).tolist()

    actual = run("rolling_sum", values, 20)

    assert actual[19:] == [math.fsum(values[row - 19 : row + 1]) for row in range(19, 300)]


@pytest.mark.parametrize("name", WINDOW_FUNCTIONS)
def test_numbers_too_large_to_square_do_no_lasting_harm(name: str) -> None:
    values = [1.0, 2.0, 4.0, 1e200, -1e200, *np.random.default_rng(7).normal(size=20).tolist()]

    assert run(name, values, 3)[7:] == pytest.approx(run(name, values[5:], 3)[2:], rel=1e-12)


# -- what an operator may be ---------------------------------------------------------------------------------------


def centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean()


@pytest.mark.parametrize("ufunc", [centred, np.cumsum, np.matmul, np.add, np.frexp, np.vectorize(math.floor)])
def test_only_a_true_ufunc_of_the_same_inputs_may_stand_for_a_step(ufunc: object) -> None:
    with pytest.raises(ExpressionError, match="could look ahead"):
        Operator(OPERATORS["abs"].step, ufunc=ufunc)  # type: ignore[arg-type]


def test_a_ufunc_over_whole_vectors_may_not_stand_for_a_step() -> None:
    with pytest.raises(ExpressionError, match="could look ahead"):
        Operator(OPERATORS["add"].step, ("a", "b"), ufunc=np.matmul)


def test_a_step_with_a_memory_has_no_ufunc() -> None:
    ref = OPERATORS["ref"]

    with pytest.raises(ExpressionError, match="could look ahead"):
        Operator(ref.step, parameters=ref.parameters, state=ref.state, ufunc=np.negative)


def test_an_operator_that_counts_bars_needs_a_state() -> None:
    with pytest.raises(ExpressionError, match="give it a state"):
        Operator(OPERATORS["ref"].step, parameters=(Parameter("lag"),))


def test_an_operator_has_an_input() -> None:
    with pytest.raises(ExpressionError, match="at least one input"):
        Operator(OPERATORS["abs"].step, inputs=())


def test_a_parameter_never_counts_forward() -> None:
    with pytest.raises(ExpressionError, match="counts bars back"):
        Parameter("lag", minimum=0)
