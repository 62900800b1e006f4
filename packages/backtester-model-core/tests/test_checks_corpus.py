"""Every planted leak is found, every clean twin is cleared, and each of the sixteen checks finds something."""

import inspect

import pytest
from look_ahead_cases import PAIRS, UNSEEN

from backtester_model_core.testing import CHECKS, find_blind_checks

pytestmark = pytest.mark.exhaustive


def found_by(checks):
    return [number for number, check in checks.items() if check()]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.leak)
def test_planted_leak_is_found(pair):
    assert found_by(pair.leak_checks)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.twin)
def test_clean_twin_is_cleared(pair):
    assert found_by(pair.twin_checks) == []


def test_there_are_enough_of_each():
    assert len({pair.leak for pair in PAIRS}) >= 40
    assert len({pair.twin for pair in PAIRS}) >= 40


def test_twins_are_run_through_the_same_checks():
    assert [list(pair.twin_checks) for pair in PAIRS] == [list(pair.leak_checks) for pair in PAIRS]


def test_every_check_but_the_positive_controls_has_a_leak_to_find():
    tried = {number.split()[0] for pair in PAIRS for number in pair.leak_checks}

    assert tried == set(CHECKS) - {"T11"}


def test_a_diluted_column_that_came_with_the_bars_is_beyond_reach():
    assert found_by(UNSEEN.leak_checks) == []


def test_a_check_pointed_at_a_twin_is_reported_as_blind():
    pair = PAIRS[0]

    blind = find_blind_checks({"on the leak": pair.leak_checks["T1"], "on the twin": pair.twin_checks["T1"]})

    assert [leak.column for leak in blind] == ["on the twin"]


def test_there_are_sixteen_checks():
    assert list(CHECKS) == [f"T{number}" for number in range(1, 17)]


@pytest.mark.parametrize("number", CHECKS)
def test_a_check_says_what_it_finds_and_what_it_cannot_and_how_long_it_takes(number):
    for function in CHECKS[number]:
        said = inspect.getdoc(function)

        assert f"({number})" in said
        assert "inds" in said or "reports" in said
        assert "annot find" in said or "same limits" in said
        assert "akes" in said or "Exact" in said
