"""The contracts of features, labels, extensions and data sources: what ours keep, and what each check turns down."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtester_model_core import hookimpl
from backtester_model_core.compiled import numba_works
from backtester_model_core.exceptions import BarsError
from backtester_model_core.features import OPERATORS, Operator
from backtester_model_core.labels import LABELS, Label, LabelKind
from backtester_model_core.sources import DATA_SOURCES
from backtester_model_core.testing import (
    DataSourceContract,
    ExtensionContract,
    FeatureContract,
    LabelContract,
    check_contract,
    check_data_source,
    check_extension_contract,
    check_features,
    check_labels,
    random_bars,
)

LAST = "test_the_whole_contract_ran"
CHANGE = "close / ref(close, 1) - 1"


def found(contract: type, check: str) -> str:
    """Run one check without pytest, and say what came of it."""
    return check_contract(contract, only=[check]).results[0].outcome


def broken(contract: type, **members: Any) -> type:
    return type("Broken", (contract,), members)


# -- features -----------------------------------------------------------------------------------------------------


def test_honest_features_keep_their_contract() -> None:
    report = check_features(expressions={"change": CHANGE, "mean": "Mean($close, 5) / $close"})

    assert report.counts["failed"] == 0
    assert report.counts["passed"] >= 17


def total_step(state: list[float], x: float) -> float:
    state[0] += x
    return state[0]


@pytest.fixture(scope="module", autouse=True)
def _operators() -> Iterator[None]:
    """Register operators with faults that only an operator can have."""
    planted = {
        "early": Operator(total_step, state=lambda: [0.0], warm_up=lambda: 3, compiled=False),
        "drawn": Operator(lambda x: x * random.SystemRandom().random(), compiled=False),
        "forgets": Operator(total_step, state=lambda: [0.0], memory=lambda: 2, compiled=False),
        "two_minds": Operator(lambda x: x, ufunc=np.negative, compiled=False),
        "inverse": Operator(lambda x: 1.0 / x, compiled=False),
        "divides": Operator(lambda x: x / (x - x)),
    }
    for name, operator in planted.items():
        OPERATORS.add(name, operator)
    yield
    for name in planted:
        OPERATORS.discard(name)


def centred(self: FeatureContract, bars: pd.DataFrame) -> pd.DataFrame:
    values = FeatureContract.compute(self, bars)
    return values - values.mean()


def ranked(self: FeatureContract, bars: pd.DataFrame) -> pd.DataFrame:
    values = FeatureContract.compute(self, bars)
    return values.groupby(level="timestamp").rank() if bars.index.nlevels == 2 else values


def written_into(self: FeatureContract, bars: pd.DataFrame) -> pd.DataFrame:
    values = FeatureContract.compute(self, bars)
    bars["close"] *= 2.0
    return values


FEATURE_FAULTS: dict[str, dict[str, Any]] = {
    "test_features_can_be_read": {"expressions": {"x": "no_such_operator(close)"}},
    "test_names_are_plain": {"expressions": {"a name": CHANGE}},
    "test_every_feature_can_be_computed_of_ordinary_bars": {"expressions": {"x": "log(0 - close)"}},
    "test_warm_up_is_not_answered": {"expressions": {"x": "early(close)"}},
    "test_values_are_finite_numbers": {"expressions": {"x": "close * 1e15"}},
    "test_no_feature_is_constant": {"expressions": {"x": "close / close"}},
    "test_no_two_features_are_one": {"expressions": {"x": CHANGE, "y": "close / ref(close, 1) - 1.0"}},
    "test_same_bars_give_the_same_values": {"expressions": {"x": "drawn(close)"}},
    "test_truncated_bars_change_nothing_before": {"compute": centred},
    "test_another_future_changes_nothing_before": {"compute": centred},
    "test_declared_memory_is_enough": {"expressions": {"x": "forgets(close)"}},
    "test_stream_equals_batch": {"expressions": {"x": "two_minds(close)"}},
    "test_compiled_equals_plain": {"expressions": {"x": "divides(close)"}},
    "test_symbols_do_not_touch_each_other": {"compute": ranked},
    "test_target_is_not_among_the_features": {"expressions": {"target": CHANGE}},
    "test_flat_and_silent_bars_are_survived": {"expressions": {"x": "inverse(volume)"}},
    "test_computing_leaves_bars_and_process_alone": {"compute": written_into},
}


@pytest.mark.parametrize("check", FEATURE_FAULTS)
def test_features_with_this_fault_are_turned_down(check: str) -> None:
    if check == "test_compiled_equals_plain" and not numba_works():
        pytest.skip("numba is not installed")
    contract = broken(FeatureContract, **{"expressions": {"x": CHANGE}, **FEATURE_FAULTS[check]})

    assert found(contract, check) == "failed"


# -- labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["forward_return", "three_way", "triple_barrier"])
def test_our_labels_keep_their_contract(label: str) -> None:
    assert check_labels(label).counts["failed"] == 0


def relabelled(panel: Any, config: Any) -> Label:
    """Label as ``direction`` does."""
    return LABELS["direction"].compute(panel, config)


def ends_moved(days: int):
    return lambda label, panel: replace(label, label_end=label.label_end + np.timedelta64(days, "D"))


def unknown_as_down(label: Label, panel: Any) -> Label:
    return replace(label, target=np.nan_to_num(label.target))


def judged_by_the_last_bar(label: Label, panel: Any) -> Label:
    """Say whether the last known price is above the row's, as if it were known at once."""
    last = panel.column("close")[-1]
    return replace(label, target=np.where(np.isnan(label.target), np.nan, panel.column("close") < last))


def by_rank_of_symbols(label: Label, panel: Any) -> Label:
    return replace(label, target=np.where(np.isnan(label.target), np.nan, panel.n_rows // 80 % 2))


def without_the_delisted(label: Label, panel: Any) -> Label:
    target = label.target.copy()
    target[70:170] = np.nan
    return replace(label, target=target, label_end=np.where(np.isnan(target), "NaT", label.label_end))


def drawn(label: Label, panel: Any) -> Label:
    told = np.random.default_rng().integers(0, 2, len(label.target)).astype(float)
    return replace(label, target=np.where(np.isnan(label.target), np.nan, told))


def seeding(label: Label, panel: Any) -> Label:
    random.seed(len(label.target))
    return label


LABEL_FAULTS: dict[str, Any] = {
    "test_label_is_registered": None,
    "test_every_row_has_an_entry": lambda label, panel: replace(label, target=label.target[:-1]),
    "test_some_rows_are_labelled": lambda label, panel: replace(label, target=np.full(panel.n_rows, np.nan)),
    "test_targets_are_classes_or_numbers": lambda label, panel: replace(label, target=label.target + 7),
    "test_every_class_occurs": lambda label, panel: replace(label, target=label.target * 0),
    "test_unknown_labels_are_no_class": unknown_as_down,
    "test_last_row_is_unknown": unknown_as_down,
    "test_labels_end_after_their_row": ends_moved(-9),
    "test_labels_settle_after_their_end": lambda label, panel: replace(
        label, settled_at=label.label_end - np.timedelta64(3, "D")
    ),
    "test_nothing_after_its_end_moves_a_label": judged_by_the_last_bar,
    "test_nothing_after_its_end_moves_a_label_of_a_panel": judged_by_the_last_bar,
    "test_other_symbols_change_no_label": by_rank_of_symbols,
    "test_purging_by_its_end_is_enough": lambda label, panel: replace(
        label, settled_at=label.label_end - np.timedelta64(30, "D")
    ),
    "test_delisted_symbols_are_labelled": without_the_delisted,
    "test_same_bars_give_the_same_labels": drawn,
    "test_labelling_leaves_bars_and_process_alone": seeding,
}


@pytest.mark.parametrize("check", LABEL_FAULTS)
def test_a_label_with_this_fault_is_turned_down(check: str) -> None:
    change = LABEL_FAULTS[check]
    contract = broken(LabelContract, label="broken")
    if change is None:
        assert found(contract, check) == "failed"
        return
    LABELS.add(
        "broken",
        LabelKind(
            lambda panel, config: change(relabelled(panel, config), panel), "classification", (0.0, 1.0)
        ),
    )
    try:
        outcome = found(contract, check)
    finally:
        LABELS.discard("broken")

    assert outcome == "failed"


# -- extensions ---------------------------------------------------------------------------------------------------


class Watching:
    """Counts how often a model is trained."""

    def __init__(self) -> None:
        self.count = 0

    @hookimpl(wrapper=True)
    def backtester_train(self, model, dataset, validation):
        self.count += 1
        return (yield)


def test_an_extension_that_watches_keeps_the_contract() -> None:
    report = check_extension_contract(Watching())

    assert report.counts["failed"] == 0
    assert report.counts["not applicable"] == 1


def around(step: str, change: Any):
    """Return an extension that changes a step's answer; it is also given what the step was given."""
    arguments = {
        "backtester_prepare": "model, data",
        "backtester_train": "model, dataset, validation",
        "backtester_predict": "model, features",
        "backtester_signal": "model, data, prediction",
    }[step]
    given = arguments.split(", ")[1]
    source = f"def {step}(self, {arguments}):\n    return change((yield), {given})\n"
    names: dict[str, Any] = {"change": change}
    exec(source, names)
    return type("Changing", (), {step: hookimpl(wrapper=True)(names[step])})()


class Answering:
    @hookimpl(tryfirst=True)
    def backtester_predict(self, model, features):
        return None


class Misspelt:
    @hookimpl
    def backtester_trian(self, model):
        return None


class Locked(Watching):
    def __reduce__(self):
        raise TypeError("a connection cannot be pickled")


class Swallowing:
    @hookimpl(wrapper=True)
    def backtester_train(self, model, dataset, validation):
        try:
            return (yield)
        except ValueError:
            return None


class Locking:
    """Opens before a step and closes after it, but not when the step raises."""

    def __init__(self) -> None:
        self.is_open = False

    @hookimpl(wrapper=True)
    def backtester_train(self, model, dataset, validation):
        if self.is_open:
            raise RuntimeError("it is open already")
        self.is_open = True
        report = yield
        self.is_open = False
        return report


class Remembering:
    """Lets one run into the next."""

    def __init__(self) -> None:
        self.n_signals = 0

    @hookimpl(wrapper=True)
    def backtester_signal(self, model, data, prediction):
        signals = yield
        self.n_signals += len(signals)
        return signals.assign(score=self.n_signals)


class Leaving:
    """Adds an operator to the catalog itself, so that nothing takes it back."""

    @hookimpl
    def backtester_register(self, registry):
        OPERATORS.add("left_behind", Operator(abs, compiled=False))


class Flat:
    """Takes the index for timestamps."""

    @hookimpl(wrapper=True)
    def backtester_signal(self, model, data, prediction):
        assert data.index.nlevels == 1
        return (yield)


def write_into_bars(answer: Any, data: pd.DataFrame) -> Any:
    data["close"] = 1.0
    return answer


def seed_and_return(answer: Any, given: Any) -> Any:
    random.seed(0)
    return answer


EXTENSION_FAULTS: dict[str, Any] = {
    "test_extension_registers": Misspelt(),
    "test_hooks_wrap_and_do_not_answer": Answering(),
    "test_it_may_be_taken_back": Leaving(),
    "test_it_travels_to_a_worker": Locked(),
    "test_prepare_passes_the_answer_through": around("backtester_prepare", lambda answer, given: None),
    "test_train_passes_the_answer_through": around("backtester_train", lambda answer, given: None),
    "test_predict_passes_the_answer_through": around(
        "backtester_predict", lambda answer, given: replace(answer, expected=answer.expected + 1)
    ),
    "test_signal_passes_the_answer_through": around(
        "backtester_signal", lambda answer, given: answer.iloc[1:]
    ),
    "test_walk_forward_gives_what_it_gives_without": around(
        "backtester_predict", lambda answer, given: replace(answer, expected=answer.expected / 2)
    ),
    "test_two_runs_are_the_same": Remembering(),
    "test_a_panel_is_survived": Flat(),
    "test_errors_are_passed_through": Swallowing(),
    "test_a_failed_step_leaves_it_usable": Locking(),
    "test_bars_are_not_changed": around("backtester_signal", write_into_bars),
    "test_registering_and_running_leave_the_process_alone": around("backtester_train", seed_and_return),
}


@pytest.mark.parametrize("check", EXTENSION_FAULTS)
def test_an_extension_with_this_fault_is_turned_down(check: str) -> None:
    try:
        outcome = found(broken(ExtensionContract, extension=EXTENSION_FAULTS[check]), check)
    finally:
        OPERATORS.discard("left_behind") if "left_behind" in OPERATORS else None

    assert outcome == "failed"


def test_an_entry_point_that_nobody_installed_is_turned_down() -> None:
    contract = broken(ExtensionContract, entry_point="nobody")

    assert found(contract, "test_entry_point_leads_to_the_extension") == "failed"


# -- data sources -------------------------------------------------------------------------------------------------

SHORT = random_bars(40, seed=1)
KEPT = SHORT.copy()


def test_our_files_keep_the_contract_of_data_sources(tmp_path: Path) -> None:
    for symbol in ("AAA", "BBB"):
        SHORT.to_csv(tmp_path / f"{symbol}.csv")

    report = check_data_source(
        "csv",
        config={"path": str(tmp_path), "symbols": ["AAA", "BBB"]},
        missing={"symbols": ["NOBODY"]},
    )

    assert report.counts["passed"] == len(report.results)


def drifting(config: Any) -> pd.DataFrame:
    return SHORT * (1.0 + random.SystemRandom().random() / 100)


def raises_its_own(config: Any) -> pd.DataFrame:
    if config.symbols:
        raise BarsError("something went wrong")
    return SHORT.copy()


def raises_a_key_error(config: Any) -> pd.DataFrame:
    return {"AAA": SHORT}[config.symbols[0]] if config.symbols else SHORT.copy()


def seeded(config: Any) -> pd.DataFrame:
    random.seed(0)
    return SHORT.copy()


def cut_short(config: Any) -> pd.DataFrame:
    return SHORT.iloc[5:].copy() if config.start else SHORT.copy()


SOURCE_FAULTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "test_bars_are_accepted": (lambda config: -SHORT, {}),
    "test_there_are_bars": (lambda config: SHORT.iloc[:1].copy(), {}),
    "test_bars_are_a_frame_or_frames": (lambda config: SHORT.to_numpy(), {}),
    "test_bars_are_in_order_of_time": (lambda config: SHORT.iloc[::-1].copy(), {}),
    "test_same_question_gives_the_same_bars": (drifting, {}),
    "test_bars_are_the_askers_own": (lambda config: KEPT, {}),
    "test_no_bar_is_from_the_future": (
        lambda config: SHORT.set_axis(SHORT.index + pd.Timedelta(days=36500)),
        {},
    ),
    "test_start_and_end_are_kept": (drifting, {}),
    "test_symbols_asked_for_are_there": (
        lambda config: {"AAA": SHORT, "BBB": SHORT, "CCC": SHORT},
        {"config": {"symbols": ["AAA", "DDD"]}},
    ),
    "test_what_is_missing_is_an_error_of_ours": (raises_a_key_error, {"missing": {"symbols": ["NOBODY"]}}),
    "test_errors_are_told_in_a_sentence": (raises_its_own, {"missing": {"symbols": ["NOBODY"]}}),
    "test_asking_leaves_the_process_alone": (seeded, {}),
}


@pytest.mark.parametrize("check", SOURCE_FAULTS)
def test_a_data_source_with_this_fault_is_turned_down(check: str) -> None:
    source, attributes = SOURCE_FAULTS[check]
    DATA_SOURCES.add("planted", source)
    try:
        outcome = found(broken(DataSourceContract, source="planted", **attributes), check)
    finally:
        DATA_SOURCES.discard("planted")

    assert outcome == "failed"


def test_a_data_source_that_nobody_registered_is_turned_down() -> None:
    assert found(broken(DataSourceContract, source="nowhere"), "test_source_is_registered") == "failed"


# -- no check that cannot fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contract", "shown"),
    [
        (FeatureContract, {*FEATURE_FAULTS}),
        (LabelContract, {*LABEL_FAULTS}),
        (ExtensionContract, {*EXTENSION_FAULTS, "test_entry_point_leads_to_the_extension"}),
        (DataSourceContract, {*SOURCE_FAULTS, "test_source_is_registered"}),
    ],
)
def test_every_check_has_something_that_it_turns_down(contract: type, shown: set[str]) -> None:
    assert set(contract.checks()) - {LAST} == shown
