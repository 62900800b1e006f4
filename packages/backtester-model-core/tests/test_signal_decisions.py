"""One row at a time: every decision is the row that the frame has, and sides are kept alike."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.calibration import BetaCurve, Isotonic
from backtester_model_core.dataset import Prediction
from backtester_model_core.signals import ModelSignalType, Residuals, SignalPolicy, Sizing, sides_after

NAN = float("nan")
CLASSES = {2: (0.0, 1.0), 3: (-1.0, 0.0, 1.0), 5: (-2.0, -1.0, 0.0, 1.0, 2.0)}
TENTHS = st.integers(0, 20).map(lambda number: number / 20)


def index_of(n_rows, *symbols):
    stamps = pd.date_range("2024-01-01", periods=n_rows, freq="D", name="timestamp")
    if not symbols:
        return stamps
    return pd.MultiIndex.from_product([stamps, symbols], names=["timestamp", "symbol"])


def rises(up, index=None, held=None):
    up = np.asarray(up, dtype=np.float64)
    table = np.column_stack([1 - up, up])
    return Prediction(index_of(len(up)) if index is None else index, up, table, (0.0, 1.0), held=held)


def keeping(entry, leave, **fields):
    return SignalPolicy(0.5, entry, 0.9, classes=(0.0, 1.0), exit_confidence=leave, **fields)


CALIBRATORS = [
    BetaCurve(0.5, 0.5, 0.25),
    BetaCurve(0.0, 0.0, 0.0),
    Isotonic(np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.55, 0.7])),
]


@st.composite
def sizings(draw):
    """A sizing with any settings but those across symbols."""
    return Sizing(
        draw(st.sampled_from(["unit", "confidence", "kelly", "volatility"])),
        draw(st.floats(0.1, 3)),
        draw(st.floats(0.1, 3)),
        whole_at=draw(TENTHS),
        win=draw(st.floats(-0.01, 0.05)),
        loss=draw(st.floats(0.0, 0.05)),
        fraction=draw(st.floats(0.1, 1)),
        target=draw(st.floats(0.001, 0.1)),
    )


@st.composite
def policies(draw):
    """A policy with any settings, of a classifier or of a regression."""
    classes = draw(st.sampled_from([None, *CLASSES.values()]))
    sizes = np.sort(np.array(draw(st.lists(st.floats(0, 3), min_size=1, max_size=20))))
    residuals = draw(st.sampled_from([None, Residuals(draw(st.floats(0, 1)), sizes)]))
    return SignalPolicy(
        draw(TENTHS),
        draw(TENTHS),
        draw(TENTHS),
        draw(st.floats(-0.1, 0.1)),
        residuals if classes is None else None,
        draw(st.booleans()),
        classes,
        draw(st.one_of(st.none(), TENTHS)),
        None if classes is None else draw(st.sampled_from([None, *CALIBRATORS])),
        draw(st.sampled_from([None, True, False])),
        draw(sizings()),
    )


@st.composite
def rows(draw, classes):
    """What a model may foresee on one row: expected value, probabilities, volatility."""
    scale = draw(st.one_of(st.just(NAN), st.just(0.0), st.just(1e-310), st.floats(1e-9, 1)))
    if classes is None:
        return draw(st.one_of(st.just(NAN), st.floats(-1, 1))), None, scale
    if draw(st.integers(0, 9)) == 0:
        return NAN, [NAN] * len(classes), scale
    probability = [draw(TENTHS) for _ in classes]
    return float(np.dot(probability, classes)), probability, scale


@settings(max_examples=400)
@given(st.data())
def test_every_decision_is_the_row_of_the_frame(data):
    policy = data.draw(policies())
    expected, probability, scale = data.draw(rows(policy.classes))
    held = data.draw(st.sampled_from([-1, 0, 1]))
    table = None if probability is None else np.array([probability])
    prediction = Prediction(
        index_of(1), np.array([expected]), table, policy.classes, np.array([scale]), held={"": held}
    )

    decision = policy.decide(expected, probability, scale, held=held)
    (row,) = policy.signals(prediction).itertuples(index=False)

    assert (decision.signal.value, decision.reason) == (row.signal, row.reason)
    assert decision[1:4] == pytest.approx((row.confidence, row.score, row.target_weight), nan_ok=True)


@pytest.mark.parametrize("classes", [None, (0.0, 1.0), (-1.0, 0.0, 1.0)])
def test_a_policy_that_has_decided_comes_back_from_a_worker(classes):
    policy = SignalPolicy(0.5, 0.5, 0.7, classes=classes)
    row = (0.2, None if classes is None else [0.0] * (len(classes) - 1) + [1.0], 0.01)
    decided = policy.decide(*row)

    returned = pickle.loads(pickle.dumps(policy))

    assert returned.decide(*row)[3:] == decided[3:]


def test_a_side_is_kept_until_its_confidence_falls_below_the_exit():
    signals = keeping(0.6, 0.52).signals(rises([0.55, 0.61, 0.55, 0.52, 0.51, 0.55, 0.39, 0.45, 0.48, 0.5]))

    sides = [ModelSignalType(name).side for name in signals["signal"]]
    assert sides == [0, 1, 1, 1, 0, 0, -1, -1, -1, 0]


def test_a_side_is_not_kept_past_a_row_that_leans_the_other_way():
    signals = keeping(0.6, 0.5).signals(rises([0.7, 0.49, 0.55]))

    assert signals["signal"].tolist() == ["LONG", "NEUTRAL", "NEUTRAL"]


def test_a_side_is_not_kept_past_a_row_on_which_nothing_was_foreseen():
    signals = keeping(0.6, 0.5).signals(rises([0.7, NAN, 0.55]))

    assert signals["reason"].tolist() == ["", "warm_up", "below_confidence"]


def test_without_an_exit_nothing_is_kept():
    signals = keeping(0.6, None).signals(rises([0.55], held={"": 1}))

    assert signals["signal"].tolist() == ["NEUTRAL"]


@settings(max_examples=100)
@given(
    st.integers(0, 2**20),
    st.integers(1, 30),
    st.floats(0.5, 0.8),
    st.floats(0.5, 0.8),
    st.sampled_from([None, 1]),
)
def test_every_split_into_blocks_keeps_the_same_sides(seed, n_days, entry, leave, n_selected):
    """Rows in two blocks, the second told the sides that the first ended with, say what they say together."""
    rng = np.random.default_rng(seed)
    index = index_of(n_days, "A", "B", "C")
    up = np.where(rng.random(len(index)) < 0.1, NAN, rng.uniform(0.2, 0.8, len(index)))
    policy = keeping(entry, leave, sizing=Sizing(n_selected=n_selected))
    cut = 3 * int(rng.integers(0, n_days + 1))

    whole = policy.signals(rises(up, index))
    first = policy.signals(rises(up[:cut], index[:cut]))
    second = policy.signals(rises(up[cut:], index[cut:], held=sides_after(first)))

    assert pd.concat([first, second])["signal"].tolist() == whole["signal"].tolist()


def test_the_order_of_the_rows_does_not_matter():
    index = index_of(6, "A", "B")
    up = np.linspace(0.3, 0.7, 12)

    forwards = keeping(0.6, 0.5).signals(rises(up, index))
    backwards = keeping(0.6, 0.5).signals(rises(up[::-1], index[::-1]))

    pd.testing.assert_frame_equal(backwards.iloc[::-1], forwards)


def test_each_symbol_is_left_with_the_side_of_its_last_row():
    index = index_of(2, "A", "B", "C")[:5]

    left = sides_after(keeping(0.6, None).signals(rises([0.7, 0.2, 0.7, 0.3, 0.5], index)))

    assert left == {"A": -1, "C": 1}
