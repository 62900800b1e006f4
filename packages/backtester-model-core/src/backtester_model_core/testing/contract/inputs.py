"""Checks of what an adapter is handed: rows in any form that numpy has, which stay as they were."""

from __future__ import annotations

import numpy as np

from backtester_model_core.exceptions import FeatureMismatchError
from backtester_model_core.testing.contract.adapter_checks import AdapterChecks
from backtester_model_core.testing.contract.case import (
    close,
    error_of,
    frame,
    panel_frame,
    same,
    series,
)
from backtester_model_core.testing.contract.contract import check


class InputChecks(AdapterChecks):
    """Checks of what an adapter is handed."""

    @check
    def test_inputs_are_not_changed(self) -> None:
        """Look at in-place preprocessing, and at ``copy=False``."""
        for case in self.cases():
            values, target = case.rows()
            before = values.copy(), target.copy()
            native = case.native(values, target, weight=np.ones(len(target)))
            case.ask(native, values)

            assert same(values, before[0])
            assert same(target, before[1])

    @check
    def test_read_only_arrays_are_enough(self) -> None:
        """Look at in-place preprocessing and at compiled code that asks for writable memory."""
        for case in self.cases():
            values, target = case.rows()
            values.flags.writeable = target.flags.writeable = False
            answer = case.ask(case.native(values, target), values)

            assert len(answer) == len(values) - case.n_context

    @check
    def test_single_precision_features_are_taken(self) -> None:
        """Look at a predict hook of the adapter's own: the core hands over double precision."""
        for trained in self.trained():
            single = trained.served.astype(np.float32)
            expected = trained.model.predict(single.astype(np.float64))

            assert same(trained.model.predict(single), expected)

    @check
    def test_any_memory_layout_is_taken(self) -> None:
        """Look at compiled code and memory views that take rows for contiguous, and do not ask."""
        for trained in self.trained():
            case, native, values = trained.case, trained.model.native, trained.served.to_numpy()
            expected = case.lean(native, np.ascontiguousarray(values))
            strided = np.repeat(np.repeat(values, 2, axis=0), 2, axis=1)[::2, ::2]

            for said, laid_out in (
                ("Fortran order", np.asfortranarray(values)),
                ("every other cell", strided),
            ):
                assert close(case.lean(native, laid_out), expected), said

    @check
    def test_column_order_does_not_matter(self) -> None:
        """Look at a predict hook of the adapter's own: columns go by their names."""
        for trained in self.trained():
            turned = trained.served[trained.served.columns[::-1]]

            assert same(trained.model.predict(turned), trained.model.predict(trained.served))

    @check
    def test_missing_and_extra_columns_are_named(self) -> None:
        """Look at a predict hook of the adapter's own: other columns are an error, not a guess."""
        for trained in self.trained():
            renamed = trained.served.rename(columns={"f1": "g1"})
            error = error_of(lambda model=trained.model, features=renamed: model.predict(features))

            assert isinstance(error, FeatureMismatchError)
            assert "f1" in str(error)
            assert "g1" in str(error)

    @check
    def test_index_is_kept(self) -> None:
        """Look at a predict hook of the adapter's own: a forecast belongs to its row's index label."""
        for trained in self.trained():
            prediction = trained.model.predict_distribution(trained.served)

            assert prediction.index.equals(trained.served.index)

    @check
    def test_panel_rows_keep_their_symbol(self) -> None:
        """Look at how rows of several symbols are told apart: each answers as if it were alone."""
        for trained in self.trained():
            alone = trained.model.predict(trained.served)
            panel = panel_frame(trained.served.to_numpy())
            prediction = trained.model.predict_distribution(panel)

            assert prediction.index.equals(panel.index)
            for symbol in ("S0", "S1"):
                is_own = panel.index.get_level_values("symbol") == symbol
                assert close(prediction.expected[is_own], alone), symbol

    @check
    def test_incomplete_training_rows_are_left_out(self) -> None:
        """Look at a train hook of the adapter's own: rows with NaN or infinite features are counted, not learned."""
        for case in self.cases():
            values, target = case.rows()
            values[-20] = np.nan
            values[-10, 0] = np.inf
            model = case.model(values, target)

            assert model.latest_report.n_dropped >= 2
            assert np.isfinite(model.predict(case.served())[case.n_context :]).all()

    @check
    def test_unlabelled_training_rows_are_left_out(self) -> None:
        """Look at a train hook of the adapter's own: a row without a label is of no class."""
        for case in self.cases():
            values, target = case.rows()
            unknown = series(target)
            unknown.iloc[-5:] = np.nan
            model = case.model(values, target)
            model.train(frame(values), unknown)

            assert model.latest_report.n_dropped == 5 + case.n_context
