"""Live features: their memory, and its snapshot."""

from __future__ import annotations

import json

import numpy as np
import pytest

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features import FeatureStream, feature_set, parse_expression

RETURN = {"return": parse_expression("close / ref(close, 1) - 1"), "twice": parse_expression("2 * close")}


def bars(seed: int, n_rows: int) -> list[dict[str, float]]:
    close = np.random.default_rng(seed).uniform(90, 110, n_rows)
    return [
        {"open": price - 0.5, "high": price + 1, "low": price - 1, "close": price, "volume": 1e3}
        for price in close
    ]


def test_each_symbol_has_its_own_memory() -> None:
    stream = FeatureStream(RETURN)
    stream.update("A", {"close": 100.0})
    stream.update("B", {"close": 10.0})

    assert stream.update("A", {"close": 110.0}) == pytest.approx([0.1, 220.0])
    assert stream.update("B", {"close": 20.0}) == pytest.approx([1.0, 40.0])


def test_features_come_in_the_order_of_their_names() -> None:
    stream = FeatureStream(RETURN)

    assert stream.names == ("return", "twice")
    assert stream.update("A", {"close": 3})[1] == 6.0


def test_a_bar_without_a_needed_column_is_refused_and_leaves_the_memory_as_it_was() -> None:
    stream = FeatureStream(RETURN)
    stream.update("A", {"close": 100.0})

    with pytest.raises(ExpressionError, match=r"Unknown column 'close'\. Did you mean 'Close'"):
        stream.update("A", {"Close": 105.0})

    assert stream.update("A", {"close": 110.0})[0] == pytest.approx(0.1)


def test_a_stream_restored_from_json_goes_on_with_the_same_bits() -> None:
    stream = FeatureStream(feature_set("basic"))
    history, rest = bars(1, 50), bars(2, 50)
    for bar in history:
        stream.update("A", bar)
        stream.update("B", {**bar, "close": bar["open"]})

    restored = FeatureStream(feature_set("basic"))
    restored.restore(json.loads(json.dumps(stream.snapshot())))

    for symbol in ("A", "B"):
        live = [stream.update(symbol, bar) for bar in rest]
        assert [restored.update(symbol, bar) for bar in rest] == live


def test_a_snapshot_does_not_change_when_the_stream_goes_on() -> None:
    stream = FeatureStream(RETURN)
    stream.update("A", {"close": 100.0})
    snapshot = stream.snapshot()
    stream.update("A", {"close": 200.0})

    stream.restore(snapshot)

    assert stream.update("A", {"close": 110.0})[0] == pytest.approx(0.1)


def test_restoring_forgets_other_symbols() -> None:
    stream = FeatureStream(RETURN)
    empty = stream.snapshot()
    stream.update("A", {"close": 100.0})

    stream.restore(empty)

    assert np.isnan(stream.update("A", {"close": 110.0})[0])


@pytest.mark.parametrize(
    "expressions",
    [
        {"return": parse_expression("close / ref(close, 2) - 1"), "twice": RETURN["twice"]},
        {"renamed": RETURN["return"], "twice": RETURN["twice"]},
        dict(reversed(RETURN.items())),
    ],
)
def test_a_snapshot_of_other_expressions_is_refused(expressions: dict) -> None:
    with pytest.raises(ExpressionError, match="of other expressions"):
        FeatureStream(expressions).restore(FeatureStream(RETURN).snapshot())


def test_a_snapshot_of_something_else_is_refused() -> None:
    with pytest.raises(ExpressionError, match="of other expressions"):
        FeatureStream(RETURN).restore({})


@pytest.mark.parametrize("states", [[], [[0.0]], [[0.0, 1.0], [0.0, 1.0]]])
def test_a_snapshot_with_states_of_another_size_is_refused(states: list) -> None:
    snapshot = FeatureStream(RETURN).snapshot() | {"symbols": {"A": states}}

    with pytest.raises(ExpressionError, match="do not have the sizes"):
        FeatureStream(RETURN).restore(snapshot)
