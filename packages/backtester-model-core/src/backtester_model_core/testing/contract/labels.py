"""The contract of labels: known when they say, unknown where nobody can know, and honest about the delisted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.labels import LABELS, Label, LabelKind, compute_label
from backtester_model_core.splits import walk_forward_windows
from backtester_model_core.steps import prepare_dataset
from backtester_model_core.testing.checks.features import find_symbol_leaks
from backtester_model_core.testing.checks.labels import find_label_leaks
from backtester_model_core.testing.checks.splits import find_window_leaks
from backtester_model_core.testing.contract.contract import (
    Contract,
    check,
    check_contract,
    declared,
    not_applicable,
)
from backtester_model_core.testing.contract.outcomes import ContractReport
from backtester_model_core.testing.contract.side_effects import Changes, noting_changes
from backtester_model_core.testing.samples import random_bars, random_panel

BARS = random_bars(120, seed=5)
LIVES = {"S001": (0, 70)}
PANEL = random_panel(3, 100, seed=6, lives=LIVES)
N_EARLY = 60


class LabelContract(Contract):
    """Checks that a kind of label may be learned; each check's docstring says what to look at when it fails.

    Attributes:
        label: The label's name in ``LABELS``.
        fields: Further fields of the configuration that it is computed by.
        looks_across: Whether a symbol's label depends on the other symbols, as an excess over their mean does.
        pays_delisted: Whether the last rows of a symbol that is delisted have a label: what a holder was paid.
    """

    label: ClassVar[str]
    fields: ClassVar[Mapping[str, Any]] = {}
    looks_across: ClassVar[bool] = False
    pays_delisted: ClassVar[bool] = True
    n_checks: ClassVar[int] = 17

    @classmethod
    def subject(cls) -> str:
        """Name the label."""
        return cls.label

    @check
    def test_label_is_registered(self) -> None:
        """Look at ``registry.add_label`` in ``backtester_register``, and at the entry point of the extension."""
        assert self.label in LABELS
        assert isinstance(self.kind, LabelKind)

    @check
    def test_every_row_has_an_entry(self) -> None:
        """Look at the lengths of what ``compute`` returns: one entry for each row of the panel, known or not."""
        for panel in self.panels():
            label = self.computed(panel)

            assert len(label.target) == len(label.label_end) == len(label.forward_return) == panel.n_rows

    @check
    def test_some_rows_are_labelled(self) -> None:
        """Look at bars that ordinary history does not have, such as a column that the label asks for."""
        assert self.dataset(BARS).is_labelled.any()

    @check
    def test_targets_are_classes_or_numbers(self) -> None:
        """Look at ``classes`` of the label kind: every known target is one of them, or a finite number."""
        dataset = self.dataset(BARS)
        known = dataset.target[~np.isnan(dataset.target)]
        strange = (
            known[~np.isin(known, self.kind.classes)] if self.kind.classes else known[~np.isfinite(known)]
        )

        assert strange.tolist() == []

    @check
    def test_every_class_occurs(self) -> None:
        """Look at a class that no bar of an ordinary walk has: nobody can learn it."""
        if self.kind.classes is None:
            not_applicable("it is a number, and has no classes")
        target = self.dataset(random_bars(400, seed=7)).target

        assert sorted(set(target[~np.isnan(target)])) == sorted(self.kind.classes)

    @check
    def test_unknown_labels_are_no_class(self) -> None:
        """Look at comparisons with NaN, which are False: a row without an end has no target, and none without one."""
        for bars in (BARS, PANEL):
            dataset = self.dataset(bars)

            assert (np.isnan(dataset.target) | ~np.isnat(dataset.label_end)).all()

    @check
    def test_last_row_is_unknown(self) -> None:
        """Look at rows whose exit nobody has seen: at the last bar a label is NaN, and so is its end."""
        dataset = self.dataset(BARS)

        assert np.isnan(dataset.target[-1])
        assert np.isnat(dataset.label_end[-1])

    @check
    def test_labels_end_after_their_row(self) -> None:
        """Look at ``label_end``: an outcome is known later than the row that it belongs to, and by the last bar."""
        for bars in (BARS, PANEL):
            dataset = self.dataset(bars)
            known = ~np.isnat(dataset.label_end)

            assert (dataset.label_end[known] > dataset.known_at[known]).all()
            assert (dataset.label_end[known] <= dataset.known_at.max()).all()

    @check
    def test_labels_settle_after_their_end(self) -> None:
        """Look at ``settled_at`` and ``return_end``: what may be used later is not known earlier."""
        dataset = self.dataset(BARS)
        known = ~np.isnat(dataset.label_end)

        assert (dataset.usable_from[known] >= dataset.label_end[known]).all()

    @check
    def test_nothing_after_its_end_moves_a_label(self) -> None:
        """Look at prices that the label reads after its ``label_end``: no purge protects from those (T4)."""
        assert find_label_leaks(self.values, BARS, cuts=range(40, len(BARS), 4)) == []

    @check
    def test_nothing_after_its_end_moves_a_label_of_a_panel(self) -> None:
        """Look at labels that read other symbols' later bars, or a delisting before it can be known (T4)."""
        assert find_label_leaks(self.values, PANEL, cuts=range(40, 100, 6)) == []

    @check
    def test_other_symbols_change_no_label(self) -> None:
        """Look at ``looks_across``, which the class declares, and at rows that run from one symbol into the next."""
        if self.looks_across:
            not_applicable("looks_across = True: it compares symbols")

        assert (
            find_symbol_leaks(lambda bars: self.values(bars)[["target"]], random_panel(3, 80, seed=6)) == []
        )

    @check
    def test_purging_by_its_end_is_enough(self) -> None:
        """Look at ``label_end``: windows that purge by it must hold no row whose label overlaps the fit (T5)."""
        config, dataset = self.config(), self.dataset(BARS)
        windows = walk_forward_windows(
            dataset.known_at, dataset.usable_from, validation=config.validation, train_test_split=0.6
        )

        assert find_window_leaks(windows, dataset.known_at, dataset.label_end) == []

    @check
    def test_delisted_symbols_are_labelled(self) -> None:
        """Look at the last rows of a symbol that ends: NaN deletes the disasters, or ``pays_delisted`` says so."""
        if not self.pays_delisted:
            not_applicable("pays_delisted = False: what became of the delisted is not said")
        dataset = self.dataset(PANEL)
        own = PANEL.index.get_level_values("symbol") == "S001"

        assert dataset.is_labelled[own][-3:].any()

    @check
    def test_same_bars_give_the_same_labels(self) -> None:
        """Look at random numbers, and at what an earlier call left behind."""
        pd.testing.assert_frame_equal(self.values(BARS), self.values(BARS.copy()), check_exact=True)

    @check
    def test_labelling_leaves_bars_and_process_alone(self) -> None:
        """Look at code that writes into the panel, seeds global generators, or changes warnings."""
        bars, changes = BARS.copy(), Changes()
        with noting_changes(changes):
            self.values(bars)

        pd.testing.assert_frame_equal(bars, BARS, check_exact=True)
        assert not changes, str(changes)

    # -- what the checks share --------------------------------------------------------------------------------------

    @property
    def kind(self) -> LabelKind:
        """The label's kind."""
        return LABELS[self.label]

    def config(self) -> ModelConfig:
        """Return a configuration that asks for the label."""
        fields = dict(self.fields)
        label = {"kind": self.label, **fields.pop("label", {})}
        return ModelConfig.model_validate(
            {
                "framework": "none",
                "model_type": self.kind.model_type,
                "lookback_period": 1,
                "features": {"sets": [], "expressions": {"change": "close / ref(close, 1) - 1"}},
                "validation": {"test_size": 20},
                "label": label,
                **fields,
            }
        )

    def panels(self) -> list[Panel]:
        """Return one symbol's bars and a panel's."""
        return [Panel.of(BARS), Panel.of(PANEL)]

    def computed(self, panel: Panel) -> Label:
        """Label a panel."""
        return compute_label(panel, self.config())

    def dataset(self, bars: pd.DataFrame) -> Dataset:
        """Prepare bars, with their labels."""
        return prepare_dataset(self.config(), bars)

    def values(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the columns that the checks of labels compare."""
        dataset = self.dataset(bars)
        columns = {"target": dataset.target, "label_end": dataset.label_end, "known_at": dataset.known_at}
        return pd.DataFrame(columns, index=dataset.index)


def check_labels(label: str, **attributes: Any) -> ContractReport:
    """Run the label contract without pytest.

    Args:
        label: The label's name.
        attributes: Of :class:`LabelContract`, such as ``fields`` or ``expected_failures``.

    Raises:
        ConfigError: When the contract has no attribute of a name, or no check that is expected to fail.
    """
    return check_contract(declared(LabelContract, {"label": label, **attributes}))
