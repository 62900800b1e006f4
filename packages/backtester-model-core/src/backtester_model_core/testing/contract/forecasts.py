"""Checks of forecasts: one for each row, from that row and its history alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from backtester_model_core.exceptions import NotTrainedError
from backtester_model_core.factory import create_model
from backtester_model_core.testing.checks.features import find_order_leaks
from backtester_model_core.testing.contract.adapter_checks import AdapterChecks
from backtester_model_core.testing.contract.case import TOLERANCE, close, error_of, same
from backtester_model_core.testing.contract.contract import check, not_applicable

N_ALONE = 20


class ForecastChecks(AdapterChecks):
    """Checks of forecasts."""

    @check
    def test_predict_before_train_is_refused(self) -> None:
        """Look at an adapter that keeps state of its own, or answers the predict hook untrained."""
        for case in self.configured():
            features = case.served()
            error = error_of(lambda config=case.config, rows=features: create_model(config).predict(rows))

            assert isinstance(error, NotTrainedError)

    @check
    def test_forecasts_have_one_row_each(self) -> None:
        """Look at the shape that ``predict`` returns: (n,) for a regression, (n, n_classes) for a classifier."""
        for trained in self.trained():
            case, values = trained.case, trained.served.to_numpy()
            answer = np.asarray(case.ask(trained.model.native, values))
            n_rows = len(values) - case.n_context

            assert answer.shape == ((n_rows,) if case.classes is None else (n_rows, len(case.classes)))

    @check
    def test_forecasts_are_floating_numbers(self) -> None:
        """Look at the dtype that ``predict`` returns: floats, never labels, objects or integers."""
        for trained in self.trained():
            answer = trained.case.ask(trained.model.native, trained.served.to_numpy())

            assert isinstance(answer, np.ndarray)
            assert answer.dtype.kind == "f"

    @check
    def test_forecasts_are_finite(self) -> None:
        """Look at NaN and infinity in what ``predict`` returns: no complete row may be left without an answer."""
        for trained in self.trained():
            expected = trained.model.predict(trained.served)

            assert np.isfinite(expected[trained.model.context_rows :]).all()

    @check
    def test_warm_up_is_not_answered(self) -> None:
        """Look at ``context_rows``: rows with less history than it asks for are NaN, and no others."""
        for trained in self.trained():
            expected = trained.model.predict(trained.served)

            assert np.isnan(expected[: trained.model.context_rows]).all()
            assert len(expected) == len(trained.served)

    @check
    def test_probabilities_are_probabilities(self) -> None:
        """Look at the columns that ``predict`` returns: one a class, between 0 and 1, summing to 1."""
        for case in self.classifiers():
            values, target = case.rows()
            probability = case.ask(case.native(values, target), values)

            assert ((probability >= 0) & (probability <= 1)).all()
            assert np.allclose(probability.sum(axis=1), 1.0)

    @check
    def test_asking_twice_gives_the_same_answer(self) -> None:
        """Look at dropout that stays on, random forests of predictions, and state that ``predict`` leaves behind."""
        for trained in self.trained():
            assert same(trained.model.predict(trained.served), trained.model.predict(trained.served))

    @check
    def test_incomplete_rows_are_nan_and_change_no_other(self) -> None:
        """Look at rows that depend on other rows of the same call."""
        for trained in self.trained():
            for missing in (np.nan, np.inf, -np.inf):
                hole = trained.model.context_rows + 3
                holed = trained.served.copy()
                holed.iloc[hole, 1] = missing
                whole, partial = trained.model.predict(trained.served), trained.model.predict(holed)
                looks_at_it = slice(hole, hole + trained.model.context_rows + 1)
                whole[looks_at_it] = np.nan

                assert np.isnan(partial[looks_at_it]).all(), f"a row with {missing} was answered"
                assert close(partial, whole), f"a row with {missing} changed another"

    @check
    def test_batch_equals_row_by_row(self) -> None:
        """Look at statistics taken over the rows of a call, such as a scaler fitted in ``predict``."""
        for trained in self.trained():
            n_context = trained.model.context_rows
            rows = range(n_context, n_context + N_ALONE)
            batch = trained.model.predict(trained.served.iloc[: rows.stop])[n_context:]
            alone = [
                trained.model.predict(trained.served.iloc[row - n_context : row + 1])[-1] for row in rows
            ]

            assert close(batch, alone)

    @check
    def test_row_order_does_not_matter(self) -> None:
        """Look at ranks, differences and thresholds over the rows of a call: each row is answered by itself."""
        asked = [trained for trained in self.trained() if trained.model.context_rows == 0]
        if not asked:
            not_applicable("its models look back, so that the order of rows is what they learn from")
        for trained in asked:

            def answers(rows: pd.DataFrame, trained=trained) -> pd.DataFrame:  # type: ignore[no-untyped-def]
                return trained.model.predict_distribution(rows).frame  # type: ignore[no-any-return]

            assert find_order_leaks(answers, trained.served, tolerance=TOLERANCE) == []

    @check
    def test_outlier_in_served_rows_changes_no_other(self) -> None:
        """Look at a scaler that is fitted, or fitted again, outside training."""
        for trained in self.trained():
            spiked = trained.served.copy()
            spiked.iloc[0] = 1e6
            whole, other = trained.model.predict(trained.served), trained.model.predict(spiked)
            apart = slice(trained.model.context_rows + 1, None)

            assert close(whole[apart], other[apart])

    @check
    def test_declared_history_is_enough(self) -> None:
        """Look at ``context_rows``: rows before those it asks for must not change a forecast (T3)."""
        asked = [trained for trained in self.trained() if trained.case.n_context]
        if not asked:
            not_applicable("its models look at one row alone")
        for trained in asked:
            case, values = trained.case, trained.served.to_numpy()
            n_context, last = case.n_context, len(values) - 1
            other = values.copy()
            other[: last - n_context] = 1e3
            expected, answer = (case.ask(trained.model.native, rows)[-1:] for rows in (values, other))

            assert close(answer, expected)

    @check
    def test_one_row_is_answered(self) -> None:
        """Look at code that squeezes an axis away, or that asks for more rows than one."""
        for trained in self.trained():
            rows = trained.served.iloc[: trained.model.context_rows + 1]
            prediction = trained.model.predict_distribution(rows)

            assert prediction.expected.shape == (len(rows),)
            assert np.isfinite(prediction.expected[-1])

    @check
    def test_no_rows_are_no_answers(self) -> None:
        """Look at a predict hook of the adapter's own: an empty frame has an empty forecast."""
        for trained in self.trained():
            assert trained.model.predict(trained.served.iloc[:0]).shape == (0,)
