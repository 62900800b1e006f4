"""Detectors of rising errors: what they say of steady, rising and falling streams, and their state."""

from __future__ import annotations

import json
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.monitoring import DETECTORS, Adwin, Ddm, PageHinkley

NAMES = ("adwin", "page_hinkley", "ddm")


def errors(*rates, n=1000, seed=0):
    rng = np.random.default_rng(seed)
    return [float(rng.random() < rate) for rate in rates for _ in range(n)]


def alarms(detector, stream):
    return [t for t, value in enumerate(stream) if detector.update(value)]


@pytest.mark.parametrize("name", NAMES)
def test_a_clear_rise_is_found_soon_after_it(name):
    found = alarms(DETECTORS[name](), errors(0.2, 0.6, seed=3))

    assert 1000 < found[0] < 1150


def dates(detector, stream):
    """The values from which on, says a detector, they had risen."""
    return [t + 1 - n_since for t, value in enumerate(stream) if (n_since := detector.update(value))]


@pytest.mark.parametrize("name", ["adwin", "page_hinkley"])
def test_a_rise_is_dated_when_it_was_and_not_when_it_was_found(name):
    first = [dates(DETECTORS[name](), errors(0.2, 0.6, seed=seed))[0] for seed in range(15)]

    assert np.median(first) == pytest.approx(1000, abs=20)


def test_ddm_dates_a_rise_from_its_warning():
    # A rate of a tenth and s = 0.03 after a hundred values; the next errors pass two deviations, then three.
    stream = [1.0 if t % 10 == 9 else 0.0 for t in range(100)] + [1.0] * 50
    rates = np.cumsum(stream) / np.arange(1, 151)
    upper = rates + np.sqrt(rates * (1 - rates) / np.arange(1, 151))
    warned = next(t for t in range(100, 150) if upper[t] > 0.1 + 2 * 0.03)

    assert dates(Ddm(), stream)[0] == pytest.approx(warned, abs=1)


@pytest.mark.parametrize("name", NAMES)
def test_a_fall_is_no_alarm(name):
    assert alarms(DETECTORS[name](), errors(0.6, 0.2, seed=1)) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_constant_stream_is_no_alarm(name, value):
    assert alarms(DETECTORS[name](), [value] * 500) == []


@pytest.mark.parametrize("name", NAMES)
@given(cut=st.integers(0, 700), seed=st.integers(0, 50))
@settings(max_examples=20)
def test_for_every_cut_a_restored_detector_goes_on_as_if_nothing_had_happened(name, cut, seed):
    stream = errors(0.2, 0.7, n=350, seed=seed)
    whole, before, after = (DETECTORS[name]() for _ in range(3))

    expected = alarms(whole, stream)
    found = alarms(before, stream[:cut])
    after.restore(json.loads(json.dumps(before.snapshot(), allow_nan=False)))
    found += [cut + t for t in alarms(after, stream[cut:])]

    assert found == expected
    assert after.snapshot() == whole.snapshot()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=31))
@settings(max_examples=50)
def test_the_window_of_adwin_holds_all_values_until_they_disagree(values):
    detector = Adwin()
    for value in values:
        detector.update(value)

    assert detector.width == len(values)
    assert detector.mean == pytest.approx(np.mean(values))


def test_adwin_cuts_where_its_bound_says():
    """64 values, the second half by a step above the first: just below the bound nothing, just above an alarm."""

    def found(step):
        detector = Adwin()
        return alarms(detector, [0.2] * 32 + [0.2 + step] * 32)

    def bound(step):
        margin, inverse = log(2 * log(64) / 0.002), 1 / 32 + 1 / 32
        return sqrt(2 * inverse * step**2 / 4 * margin) + 2 / 3 * inverse * margin

    crossing = next(step for step in np.arange(0.3, 0.8, 0.001) if step > bound(step))

    assert found(crossing + 0.02) == [63]
    assert found(crossing - 0.1) == []


def test_adwin_forgets_what_was_before_a_change_and_stays_small():
    detector = Adwin()
    for value in errors(0.1, 0.9, n=2000, seed=2):
        detector.update(value)

    assert 1800 < detector.width <= 2100
    assert detector.mean == pytest.approx(0.9, abs=0.03)
    assert sum(len(level) for level in detector.snapshot()["levels"]) <= 5 * 12


def test_page_hinkley_by_hand():
    """After sixty values of mean 0.5 and deviation 0.5 every further error adds a little less than one."""
    detector = PageHinkley(allowance=0.0, threshold=5.0)
    stream = [0.0, 1.0] * 30 + [1.0] * 20

    mean, squares, total, least, expected = 0.0, 0.0, 0.0, 0.0, []
    for n, value in enumerate(stream, start=1):
        squares += (value - mean) ** 2 * (n - 1) / n
        mean += (value - mean) / n
        if n >= 30:
            total += (value - mean) / sqrt(squares / n)
            least = min(least, total)
            if total - least > 5.0:
                expected.append(n - 1)
                total = least = 0.0

    assert alarms(detector, stream) == expected
    assert 60 < expected[0] < 70


def test_page_hinkley_tells_again_of_errors_that_stay_up_and_no_more_once_they_are_back():
    detector = PageHinkley()

    while_up = alarms(detector, errors(0.3, 0.6, seed=5))
    back = alarms(detector, errors(0.3, seed=6))

    assert len(while_up) >= 3
    assert while_up[0] > 1000
    assert back == []


def test_ddm_by_hand():
    """Ten errors in a hundred: p = 0.1, s = 0.03; the alarm comes when p + s exceeds 0.1 + 3 x 0.03."""
    detector = Ddm()
    stream = [1.0 if t % 10 == 9 else 0.0 for t in range(100)] + [1.0] * 50
    rates = np.cumsum(stream) / np.arange(1, 151)
    spread = np.sqrt(rates * (1 - rates) / np.arange(1, 151))
    upper = (rates + spread)[29:]
    best = np.array([int(np.argmin(upper[: t + 1])) + 29 for t in range(len(upper))])
    expected = next(
        t for t in range(29, 150) if (rates + spread)[t] > rates[best[t - 29]] + 3 * spread[best[t - 29]]
    )

    assert alarms(detector, stream)[0] == expected
    assert 100 < expected < 130
