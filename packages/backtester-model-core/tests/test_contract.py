"""What every contract does with its checks: runs them, excuses by name only, and counts how many ran."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from backtester_model_core.exceptions import ConfigError
from backtester_model_core.testing import (
    AdapterContract,
    Contract,
    DataSourceContract,
    ExtensionContract,
    FeatureContract,
    LabelContract,
    ModelContract,
    check_adapter,
    check_contract,
)
from backtester_model_core.testing.contract import forecasts
from backtester_model_core.testing.contract.contract import LAST, check, look_at, not_applicable

CONTRACTS = [
    AdapterContract,
    ModelContract,
    FeatureContract,
    LabelContract,
    ExtensionContract,
    DataSourceContract,
]


class SmallContract(Contract):
    """Three checks of a number."""

    number = 1
    n_checks = 4

    @check
    def test_number_is_positive(self) -> None:
        """Look at the sign."""
        assert self.number > 0

    @check
    def test_number_is_small(self) -> None:
        """Look at the size."""
        assert self.number < 10, f"{self.number} is not"

    @check
    def test_number_is_even(self) -> None:
        """Look at the last digit."""
        if self.number == 1:
            not_applicable("one is nobody's double")
        assert self.number % 2 == 0


def small(**members: Any) -> type[Contract]:
    return type("Mine", (SmallContract,), members)


def outcomes(**members: Any) -> dict[str, str]:
    return {each.name: each.outcome for each in check_contract(small(**members)).results}


def test_every_check_runs_whatever_came_of_the_others() -> None:
    found = outcomes(number=77)

    assert list(found.values()) == ["passed", "failed", "failed", "passed"]


def test_a_check_that_says_nothing_of_a_subject_gives_its_reason() -> None:
    report = check_contract(small())

    assert report.is_kept
    assert report.frame.loc["test_number_is_even", "message"] == "one is nobody's double"


def test_a_report_says_what_is_wrong_and_what_to_look_at() -> None:
    report = check_contract(small(number=77))

    assert not report.is_kept
    assert "failed          test_number_is_small: 77 is not" in str(report)
    assert "Look at the size." in str(report)


def test_a_failure_that_was_announced_is_none() -> None:
    expected = {"test_number_is_small": "a number of the field is large", "test_number_is_even": "it is odd"}

    report = check_contract(small(number=77, expected_failures=expected))

    assert report.is_kept
    assert report.counts["expected"] == 2
    assert report.frame.loc["test_number_is_even", "message"] == "it is odd"


@pytest.mark.parametrize("number", [1, 2])
def test_an_excuse_that_is_not_needed_is_a_failure(number: int) -> None:
    found = outcomes(number=number, expected_failures={"test_number_is_even": "it is odd"})

    assert found["test_number_is_even"] == "failed"


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"test_number_is_evil": "it is odd"}, "Did you mean 'test_number_is_even'"),
        ({"test_number_is_even": " "}, "gives no reason"),
    ],
)
def test_an_excuse_names_a_check_and_a_reason(expected: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        small(expected_failures=expected)


def test_a_check_that_did_not_run_is_noticed() -> None:
    report = check_contract(small(), only=["test_number_is_positive", LAST])

    assert "2 of 4 checks did not run: test_number_is_small, test_number_is_even" in str(report)


def test_a_check_that_a_class_replaces_is_noticed() -> None:
    found = outcomes(test_number_is_small=lambda self: None)

    assert found[LAST] == "failed"


def test_a_check_that_was_lost_is_noticed() -> None:
    assert outcomes(n_checks=5)[LAST] == "failed"


def test_a_check_that_hangs_is_stopped() -> None:
    class Hanging(Contract):
        time_limit_seconds = 0.05
        n_checks = 2

        @check
        def test_it_ends(self) -> None:
            """Look at the clock."""
            time.sleep(60)

    report = check_contract(Hanging, only=["test_it_ends"])

    assert "TimeoutError: it took longer than 0.05 seconds" in str(report)


def test_what_checks_share_is_made_once_and_fails_for_all() -> None:
    class Sharing(Contract):
        n_checks = 3
        n_made = 0

        def shared(self) -> None:
            def make() -> None:
                Sharing.n_made += 1
                raise KeyError("rows")

            self.once("making rows", make)

        @check
        def test_first(self) -> None:
            """Look at rows."""
            self.shared()

        @check
        def test_second(self) -> None:
            """Look at rows."""
            self.shared()

    report = check_contract(Sharing)

    assert Sharing.n_made == 1
    assert [each.message.startswith("making rows failed with KeyError") for each in report.results[:2]] == [
        True,
        True,
    ]


def test_a_check_that_there_is_not_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="test_number_is_odd"):
        check_contract(small(), only=["test_number_is_odd"])


def test_an_attribute_that_the_contract_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="learn"):
        check_adapter("echo", learn=False)


def test_pytest_shows_the_values_in_a_check_that_fails() -> None:
    assert type(forecasts.__loader__).__name__ == "AssertionRewritingHook"


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_counts_its_checks(contract: type[Contract]) -> None:
    assert len(contract.checks()) == contract.n_checks


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_check_says_what_to_look_at(contract: type[Contract]) -> None:
    silent = [name for name, body in contract.checks().items() if not look_at(body).startswith("Look at ")]

    assert silent == []


def test_one_command_lists_the_checks() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "backtester_model_core.testing.contract", "extension", "labels"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "ExtensionContract: 17 checks\n  test_extension_registers\n      Look at names" in listed
    assert "LabelContract: 17 checks" in listed
    assert "FeatureContract" not in listed


def test_the_command_names_the_contracts_that_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backtester_model_core.testing.contract", "broker"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "No contract 'broker'. There are: adapter, model, features" in done.stderr
