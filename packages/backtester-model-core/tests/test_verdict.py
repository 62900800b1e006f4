"""The look-ahead verdict: leaks are found and measured, clean things cleared, and what proves nothing says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from look_ahead_cases.walk_forwards import CONFIG, Acting, Remembering, own_plugins

from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import AdapterNotFoundError, EvaluationError, PluginError
from backtester_model_core.features import FeatureSet, feature_set, parse_expression
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.labels import LABELS
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.testing import (
    Leak,
    Outcome,
    check_config,
    check_expressions,
    check_extension,
    check_framework,
    check_function,
    forgetting,
    random_bars,
    random_panel,
)
from backtester_model_core.testing.verdict import Check, Finding, LookAheadVerdict, installed, run_checks

pytestmark = pytest.mark.exhaustive

BARS = random_bars(130, seed=31)
PANEL = random_panel(3, 470, seed=32)
LONG = random_bars(470, seed=33, momentum=0.2)


def outcome_of(verdict, number):
    return {finding.outcome for finding in verdict.findings if finding.number == number}


# -- functions -------------------------------------------------------------------------------------------------------


def test_a_trailing_mean_is_clean() -> None:
    verdict = check_function(lambda bars: bars["close"].rolling(5).mean(), BARS, name="mean")

    assert verdict.outcome is Outcome.CLEAN
    assert verdict.sentence == "mean is clean: 3 checks found no look-ahead."


@pytest.mark.parametrize(
    ("column", "ahead"),
    [
        (lambda bars: bars["close"].shift(-1), "1 bar ahead"),
        (lambda bars: bars["close"].rolling(7, center=True).mean(), "3 bars ahead"),
        (lambda bars: bars["close"] / bars["close"].mean(), "ahead to the end of the bars"),
    ],
    ids=["next close", "centred mean", "sample mean"],
)
def test_a_leak_is_named_with_its_first_row_and_how_far_it_looks(column, ahead) -> None:
    verdict = check_function(lambda bars: column(bars).to_frame("x"), BARS, name="own")

    first = column(BARS).first_valid_index()
    assert verdict.outcome is Outcome.LEAKS
    assert dict(verdict.ahead) == {"x": ahead}
    assert verdict.sentence.startswith(f"own leaks, here: truncation: 'x' at {first} depends on bars after")
    assert verdict.sentence.endswith(f"It looks {ahead}.")


def test_each_column_is_reported_once_at_its_earliest_row() -> None:
    def two(bars: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {"a": bars["close"].shift(-2), "b": bars["close"].bfill(), "c": bars["open"].shift(-1)}
        )

    verdict = check_function(two, BARS, name="two")

    cut = next(finding for finding in verdict.findings if finding.number == "T1")
    assert [(leak.column, leak.row) for leak in cut.first_leaks] == [
        ("a", BARS.index[0]),
        ("c", BARS.index[0]),
    ]


def test_how_far_a_column_of_a_panel_looks_is_counted_in_sessions() -> None:
    panel = random_panel(2, 60, seed=34)

    verdict = check_function(
        lambda bars: bars["close"].groupby(level="symbol").shift(-3).to_frame("x"), panel, name="own"
    )

    assert dict(verdict.ahead) == {"x": "3 bars ahead"}


def test_a_function_that_needs_some_bars_is_cut_where_it_has_an_answer() -> None:
    def picky(bars: pd.DataFrame) -> pd.Series:
        if len(bars) < 50:
            raise ValueError("50 bars are needed")
        return bars["close"].shift(-1)

    assert check_function(picky, BARS, name="picky").outcome is Outcome.LEAKS


def test_a_function_without_an_answer_to_fewer_bars_cannot_be_judged() -> None:
    def picky(bars: pd.DataFrame) -> pd.Series:
        if len(bars) < len(BARS):
            raise ValueError("all bars are needed")
        return bars["close"]

    with pytest.raises(ValueError, match="all bars are needed"):
        check_function(picky, BARS, name="picky")


def test_a_cache_that_carries_the_future_back_is_seen_once_it_is_forgotten() -> None:
    def load():
        kept: dict = {}

        def cached(bars: pd.DataFrame) -> pd.Series:
            later = kept.setdefault(bars.index[0], bars["close"].shift(-1))
            return later.reindex(bars.index)

        return cached

    assert check_function(forgetting(load), BARS, name="cached").outcome is Outcome.LEAKS


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda bars: bars["close"].to_numpy(), "answers with a ndarray to 130 bars"),
        (lambda bars: bars["close"].iloc[5:], "answers with a DataFrame of 125 rows on another index"),
    ],
    ids=["array", "other index"],
)
def test_an_answer_that_is_not_on_the_bars_is_refused(function, complaint) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        check_function(function, BARS, name="own")


def test_a_function_that_is_random_is_refused() -> None:
    rng = np.random.default_rng(0)

    with pytest.raises(EvaluationError, match="gives other values to the same bars"):
        check_function(lambda bars: bars["close"] * rng.random(), BARS, name="own")


# -- what cannot be told ---------------------------------------------------------------------------------------------


def test_a_check_that_misses_its_planted_leak_proves_nothing() -> None:
    findings = run_checks([Check("T1", "blind?", run=list, control=list)])

    verdict = LookAheadVerdict("own", findings)

    assert verdict.outcome is Outcome.CANNOT_TELL
    assert (
        "looks ahead, because T1: a leak that was planted to try the check was not found" in verdict.sentence
    )


def test_a_check_that_cannot_be_asked_says_why() -> None:
    def refuse():
        raise EvaluationError("3 bars are too few.")

    verdict = LookAheadVerdict("own", run_checks([Check("T3", "enough?", run=refuse)]))

    assert verdict.sentence == "Nobody can tell whether own looks ahead, because T3: 3 bars are too few."


def test_nothing_checked_is_not_clean() -> None:
    assert LookAheadVerdict("own", ()).outcome is Outcome.CANNOT_TELL


def test_a_leak_outweighs_what_cannot_be_told() -> None:
    leak = Leak("truncation", "x", None, None, "differs")
    checks = [Check("T1", "blind?", run=list, control=list), Check("T2", "leaks?", run=lambda: [leak])]

    assert LookAheadVerdict("own", run_checks(checks)).outcome is Outcome.LEAKS


def test_a_warning_is_no_leak() -> None:
    warning = Leak("survivorship", "universe", None, None, "nobody says", severity="warning")

    (finding,) = run_checks([Check("T15", "who?", run=lambda: [warning])])

    assert finding.outcome is Outcome.CLEAN
    assert finding.has_warning


def test_progress_is_told_after_each_check() -> None:
    told = []

    run_checks(
        [Check("T1", "a", run=list), Check("T2", "b", run=list)], progress=lambda *done: told.append(done)
    )

    assert told == [(1, 2), (2, 2)]


# -- expressions -----------------------------------------------------------------------------------------------------


def test_the_shipped_features_are_clean_by_every_check_that_applies_to_features() -> None:
    some = dict(list(feature_set("basic").items())[::6])

    verdict = check_expressions(some, random_panel(2, 450, seed=35), name="basic")

    assert verdict.outcome is Outcome.CLEAN, verdict.sentence
    assert [finding.number for finding in verdict.findings] == ["T1", "T2", "T9", "T3", "T8", "T14"]


def test_an_expression_of_a_bought_column_that_holds_the_outcome_is_found() -> None:
    bars = random_bars(450, seed=36)
    bars["bought"] = bars["open"].shift(-2) / bars["open"].shift(-1) - 1
    bars = bars.dropna()

    verdict = check_expressions({"x": parse_expression("bought * 3")}, bars, name="own")

    assert outcome_of(verdict, "T9") == {Outcome.LEAKS}
    assert outcome_of(verdict, "T1") == {Outcome.CLEAN}


# -- whole configurations --------------------------------------------------------------------------------------------


def test_a_configuration_is_clean_by_every_check_that_applies_to_it() -> None:
    with own_plugins():
        verdict = check_config(ModelConfig(**CONFIG), PANEL, name="line")

    assert verdict.outcome is Outcome.CLEAN, verdict.sentence
    asked = {finding.number for finding in verdict.findings}
    assert asked >= {f"T{number}" for number in range(1, 17)} - {"T10", "T11"}


@pytest.mark.parametrize(
    ("extension", "found_by"),
    [(Acting(by_the_call=True), {"T1"}), (Remembering(everything=True), {"T6", "T7"})],
    ids=["threshold of the call", "trains on all rows"],
)
def test_an_extension_that_leaks_is_found_in_a_walk_forward(extension, found_by) -> None:
    with own_plugins(extension):
        verdict = check_config(ModelConfig(**CONFIG), LONG, name="line")

    assert verdict.outcome is Outcome.LEAKS
    assert {finding.number for finding in verdict.findings if finding.outcome is Outcome.LEAKS} & found_by


def test_how_far_the_features_of_a_configuration_look_is_measured() -> None:
    class Later:
        """Puts the return of the two bars after a row among its features."""

        @hookimpl(wrapper=True)
        def backtester_prepare(self, model, data):
            dataset = yield
            values = dataset.values.copy()
            values[:-2, 1] = data["close"].to_numpy()[2:] / data["close"].to_numpy()[:-2] - 1
            return replace(dataset, values=values)

    with own_plugins(Later()):
        verdict = check_config(ModelConfig(**CONFIG), LONG, name="line")

    assert dict(verdict.ahead) == {"r5": "2 bars ahead"}


def test_bars_too_few_for_short_windows_are_refused_with_what_is_needed() -> None:
    with own_plugins(), pytest.raises(EvaluationError, match=r"the checks 4\d\d in all; the bars have 130"):
        check_config(ModelConfig(**CONFIG), BARS, name="line")


# -- what is installed -----------------------------------------------------------------------------------------------


class Momentum:
    """An extension with a feature set and a kind of label."""

    @hookimpl
    def backtester_register(self, registry) -> None:
        registry.add_feature_set("momentum", FeatureSet({"m5": "close / ref(close, 5) - 1"}))
        registry.add_label("next", LABELS["forward_return"])


@pytest.fixture
def asked(monkeypatch):
    """What is asked about, without asking: which configuration or features, by what name."""
    told = []

    def tell(what, bars, *, name, progress):
        told.append((name, what))
        return LookAheadVerdict(name, (Finding("T1", "cut?", Outcome.CLEAN),))

    monkeypatch.setattr(installed, "check_config", tell)
    monkeypatch.setattr(installed, "check_expressions", tell)
    return told


def test_an_adapter_is_checked_with_its_defaults(asked) -> None:
    with own_plugins():
        verdict = check_framework("least_squares", LONG)

    assert verdict.target == "least_squares"
    assert asked == [("least_squares", ModelConfig(framework="least_squares"))]


def test_an_extension_is_checked_with_all_that_it_brings(asked) -> None:
    with own_plugins(Momentum()):
        verdict = check_extension("case-0", LONG)

    assert [finding.of for finding in verdict.findings] == ["features momentum", "label next", "walk-forward"]
    assert [name for name, _ in asked] == ["momentum", "case-0", "case-0"]
    assert list(asked[0][1]) == ["m5"]
    assert [config.label.kind for _, config in asked[1:]] == ["next", None]


def test_an_extension_that_nobody_installed_is_refused() -> None:
    with own_plugins(), pytest.raises(PluginError, match="No extension is called 'absent'"):
        check_extension("absent", LONG)


def test_an_extension_needs_an_adapter_to_be_walked_with() -> None:
    with use_plugins(Plugins(discover=False, environ={})) as own:
        own.register_extension("momentum", Momentum())

        with pytest.raises(AdapterNotFoundError, match="pip install"):
            check_extension("momentum", LONG)
