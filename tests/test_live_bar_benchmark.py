"""The benchmark of a live bar compares ways that come to the same."""

from __future__ import annotations

import numpy as np
import pytest
from live_bar import feature_contest, measure, pandas_basic, sum_of

from backtester_model_core.features import FeatureStream, feature_set
from backtester_model_core.testing import random_bars


def test_pandas_recomputes_the_columns_of_the_stream() -> None:
    bars = random_bars(400, seed=1)
    stream = FeatureStream(feature_set("basic"))

    live = [stream.update("", bar) for bar in bars.to_dict("records")][-1]

    recomputed = pandas_basic(bars)
    assert set(recomputed.columns) == set(stream.names)
    assert recomputed.iloc[-1][list(stream.names)].to_numpy() == pytest.approx(live, rel=1e-6, abs=1e-9)


def test_every_way_is_timed_on_every_bar() -> None:
    contest = feature_contest(random_bars(310, seed=1))

    times = measure(contest, range(300, 307), turn=3)

    assert set(times) >= {"plain", "recomputed"}
    assert {len(each.taken) for each in times.values()} == {7}
    doubled = sum_of(times, times)["plain"].taken
    assert np.allclose(doubled, 2 * np.array(times["plain"].taken))
