"""Checks of what an adapter may do beside training and forecasting: fast steps, updates, importance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backtester_model_core.exceptions import ModelError
from backtester_model_core.testing.contract.adapter_checks import AdapterChecks, Trained, learned_rows
from backtester_model_core.testing.contract.case import STEP_TOLERANCE, agreement, error_of, same
from backtester_model_core.testing.contract.contract import check, not_applicable
from backtester_model_core.typing import FloatArray, RowStep


class CapabilityChecks(AdapterChecks):
    """Checks of ``compile_step``, ``update_model`` and ``feature_importance``."""

    @check
    def test_compiled_step_answers_as_predict_does(self) -> None:
        """Look at what ``compile_step`` leaves out: preprocessing, the target's scale, the order of classes."""
        for trained, step in self._steps():
            values = trained.case.rows()[0]
            stepped = trained.case.ask_step(step, values)
            asked = trained.case.ask(trained.model.native, values)

            assert stepped.shape == asked.shape
            assert np.allclose(stepped, asked, rtol=STEP_TOLERANCE, atol=STEP_TOLERANCE)

    @check
    def test_compiled_step_keeps_no_row(self) -> None:
        """Look at buffers of ``compile_step``: an answer must not depend on earlier rows, or change later."""
        for trained, step in self._steps():
            values = trained.case.rows()[0][:40]
            forth = trained.case.ask_step(step, values)
            size = trained.case.n_context + 1
            one = values[:size] if size > 1 else values[0].tolist()
            first = step(one)
            kept = np.array(first)
            step(values[-size:] if size > 1 else values[-1].tolist())

            assert same(np.asarray(first, dtype=np.float64), kept)
            assert same(trained.case.ask_step(step, values), forth)

    @check
    def test_update_leaves_the_earlier_model_as_it_was(self) -> None:
        """Look at ``update_model``: it returns another model, since the one in force may be kept."""
        for trained in self._updatable():
            case, values = trained.case, trained.served.to_numpy()
            native = case.native(*case.rows())
            before = case.ask(native, values).copy()
            case.updated(native, *case.rows(seed=1))

            assert same(case.ask(native, values), before)

    @check
    def test_update_learns_from_the_new_rows(self) -> None:
        """Look at ``update_model``: what the new rows show must enter the model."""
        for trained in self._updatable():
            case, values = trained.case, trained.served.to_numpy()
            native = case.native(*case.rows())
            turned, target = case.rows(seed=1)
            updated = case.updated(native, -turned, target)

            assert not same(case.ask(updated, values), case.ask(native, values))
            assert np.isfinite(case.ask(updated, values)).all()

    @check
    def test_update_keeps_what_was_learned(self) -> None:
        """Look at ``update_model``: rows of the same rule must not undo what the first training learned."""
        self.require_learning()
        for trained in self._updatable():
            case = trained.case
            values, target, later, outcome = learned_rows(case)
            updated = case.updated(case.native(values, target), *case.rows(100, seed=1))
            forecast = case.lean(updated, later)

            assert agreement(forecast, outcome[case.n_context :]) > 0.5

    @check
    def test_same_update_gives_the_same_model(self) -> None:
        """Look at randomness of ``update_model`` that does not come from ``seed``."""
        for trained in self._updatable():
            case, values = trained.case, trained.served.to_numpy()
            first, second = (
                case.updated(case.native(*case.rows()), *case.rows(seed=1), seed=3) for _ in range(2)
            )

            assert same(case.ask(first, values), case.ask(second, values))

    @check
    def test_importance_has_one_number_for_each_feature(self) -> None:
        """Look at what ``feature_importance`` returns: (p,) finite numbers, in the order of the columns."""
        for trained in self._weighing():
            importance = self._importance(trained)

            assert importance.shape == (4,)
            assert np.isfinite(importance).all()

    @check
    def test_importance_finds_what_matters(self) -> None:
        """Look at ``feature_importance``: the two features that decide weigh more than the two that do not."""
        self.require_learning()
        for trained in self._weighing():
            importance = self._importance(trained)

            assert importance[:2].min() > importance[2:].max()

    def _steps(self) -> Iterator[tuple[Trained, RowStep]]:
        """Give each trained model that has a compiled step."""
        self.require("compile_step")
        found = [
            (trained, step)
            for trained in self.trained()
            if (step := trained.case.step(trained.model.native)) is not None
        ]
        if not found:
            not_applicable("compile_step refuses the configured models")
        for trained, step in found:
            self.looking_at(str(trained.case))
            yield trained, step

    def _updatable(self) -> Iterator[Trained]:
        """Give each trained model that can be continued."""
        self.require("update_model")
        found = self.once(
            "continuing a model", lambda: [trained for trained in self.trained() if _can_continue(trained)]
        )
        if not found:
            not_applicable("update_model refuses the configured models")
        for trained in found:
            self.looking_at(str(trained.case))
            yield trained

    def _weighing(self) -> Iterator[Trained]:
        """Give each trained model whose features can be weighed."""
        self.require("feature_importance")
        found = [
            trained
            for trained in self.trained()
            if not isinstance(error_of(lambda one=trained: self._importance(one)), ModelError)
        ]
        if not found:
            not_applicable("feature_importance refuses the configured models")
        for trained in found:
            self.looking_at(str(trained.case))
            yield trained

    def _importance(self, trained: Trained) -> FloatArray:
        case = trained.case
        values, target = case.rows()
        return np.asarray(
            case.adapter.feature_importance(
                trained.model.native, values, target[case.n_context :], seed=0, **case.ends(len(values))
            )
        )


def _can_continue(trained: Trained) -> bool:
    """Say whether a configured model can be continued: one that cannot says so with a ModelError."""
    case = trained.case
    native = case.native(*case.rows())
    return not isinstance(error_of(lambda: case.updated(native, *case.rows(seed=1))), ModelError)
