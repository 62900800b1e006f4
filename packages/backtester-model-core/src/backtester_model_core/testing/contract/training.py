"""Checks of training: what it may change, and rows that are out of the ordinary."""

from __future__ import annotations

from typing import Any

import numpy as np

from backtester_model_core.exceptions import OneClassError, TrainingError
from backtester_model_core.testing.contract.adapter_checks import AdapterChecks, learned_rows
from backtester_model_core.testing.contract.case import (
    N_TRAIN,
    Case,
    agreement,
    error_of,
    frame,
    same,
    series,
)
from backtester_model_core.testing.contract.contract import check, not_applicable

HUGE, TINY = 1e8, 1e-8


class TrainingChecks(AdapterChecks):
    """Checks of training."""

    @check
    def test_adapter_keeps_no_state(self) -> None:
        """Look at ``self.something = ...`` in the adapter: all that is fitted belongs to the native model."""
        for case in self.cases():
            before = dict(vars(case.adapter))
            values, target = case.rows()
            case.ask(case.native(values, target), values)

            assert vars(case.adapter).keys() == before.keys()
            assert all(vars(case.adapter)[name] is thing for name, thing in before.items())

    @check
    def test_training_twice_equals_training_once(self) -> None:
        """Look at state that survives in the adapter, or a warm start nobody asked for."""
        for trained in self.trained():
            values, target = trained.case.rows()
            model = trained.case.model(values, target)
            model.train(frame(values), series(target))

            assert same(model.predict(trained.served), trained.model.predict(trained.served))

    @check
    def test_another_training_forgets_the_first(self) -> None:
        """Look at ``train_model``: a model that is trained on other rows is as one that saw only those."""
        for trained in self.trained():
            others = trained.case.rows(seed=1)
            model = trained.case.model(*trained.case.rows())
            model.train(frame(others[0]), series(others[1]))
            fresh = trained.case.model(*others)

            assert same(model.predict(trained.served), fresh.predict(trained.served))

    @check
    def test_failed_training_leaves_the_model_as_it_was(self) -> None:
        """Look at an adapter that changes the given model before it is trained, or answers the train hook."""
        for trained in self.trained():
            model = trained.case.model(*trained.case.rows())
            before = model.predict(trained.served)
            values = np.full((30, 4), np.nan)
            error = error_of(lambda m=model, v=values: m.train(frame(v), series(np.zeros(len(v)))))

            assert isinstance(error, TrainingError)
            assert same(model.predict(trained.served), before)

    @check
    def test_one_class_is_refused(self) -> None:
        """Look at a train hook of the adapter's own: with one class there is nothing to tell apart."""
        for case in self.classifiers():
            values, target = case.rows()
            error = error_of(lambda c=case, v=values, t=target: c.model(v, np.zeros_like(t)))

            assert isinstance(error, OneClassError)

    @check
    def test_unknown_class_is_refused(self) -> None:
        """Look at a train hook of the adapter's own: a target outside the classes is an error, not a new class."""
        for case in self.classifiers():
            values, target = case.rows()
            target[-7] = 5
            error = error_of(lambda c=case, v=values, t=target: c.model(v, t))

            assert isinstance(error, TrainingError)
            assert "5" in str(error)

    @check
    def test_class_missing_from_training_keeps_its_column(self) -> None:
        """Look at how forecasts are put into the fixed class order: a class never seen is all but impossible."""
        for case in self.classifiers():
            values, target = case.rows()
            native = case.native(values, target + 1, classes=(-1.0, 0.0, 1.0))
            probability = case.ask(native, values)

            assert probability.shape == (len(values) - case.n_context, 3)
            assert (probability[:, 0] < 0.1).all()

    @check
    def test_three_classes_have_their_columns_in_order(self) -> None:
        """Look at the order of the columns that ``predict`` returns: it is the order of ``classes``."""
        for case in self.classifiers():
            values, _ = case.rows()
            decides = values[:, 0] - values[:, 1]
            three = np.digitize(decides, np.quantile(decides, [0.1, 0.4]))  # a tenth, three tenths, six
            probability = case.ask(case.native(values, three, classes=(-1.0, 0.0, 1.0)), values)

            assert probability.shape[1] == 3
            assert np.abs(probability.mean(axis=0) - [0.1, 0.3, 0.6]).max() < 0.15

    @check
    def test_rare_class_stays_rare(self) -> None:
        """Look at class weights that nobody asked for: a class of one row in forty is not foreseen in general."""
        for case in self.classifiers():
            values, target = case.rows(signal=0.0)
            target[:] = 0
            target[np.arange(20, len(target), 40)] = 1
            probability = case.ask(case.native(values, target), values)

            assert np.isfinite(probability).all()
            # Balanced weights give a half; a margin of -1, squashed, 0.27.
            assert probability[:, 1].mean() < 0.35

    @check
    def test_constant_feature_does_no_harm(self) -> None:
        """Look at divisions by a feature's deviation, which may be zero."""
        for case in self.cases():
            values, target = case.rows()
            values[:, 2] = 7.0
            _answers(case, values, target)

    @check
    def test_constant_features_are_answered_or_refused(self) -> None:
        """Look at rows that are all alike: forecasts that are finite, or a TrainingError that says why not."""
        for case in self.cases():
            values, target = case.rows()
            values[:] = 7.0
            _answers_or_refuses(case, values, target)

    @check
    def test_constant_target_is_answered_or_refused(self) -> None:
        """Look at divisions by the target's deviation: forecasts near the constant, or a TrainingError."""
        for case in self.regressions():
            values, target = case.rows()
            target[:] = 3.0
            answer = _answers_or_refuses(case, values, target)

            assert answer is None or (np.abs(answer - 3.0) < 0.5).all()

    @check
    def test_few_rows_are_answered_or_refused(self) -> None:
        """Look at splits, folds and neighbours that ask for more rows: a TrainingError says that they are too few."""
        for case in self.cases():
            for n_rows in (1, 2, 5):
                values, target = case.rows()
                target[-1] = 1 - target[-2] if case.classes else target[-1]
                first = len(values) - n_rows - case.n_context
                _answers_or_refuses(case, values[first:].copy(), target[first:].copy())

    @check
    def test_huge_and_tiny_features_are_answered(self) -> None:
        """Look at features that are not brought to one scale: prices and returns stand side by side."""
        for case in self.cases():
            values, target = case.rows()
            values *= np.array([HUGE, TINY, 1.0, HUGE])
            _answers(case, values, target)

    @check
    def test_scale_of_features_does_not_hide_them(self) -> None:
        """Look at how features are standardised: what is learned from them must not depend on their unit."""
        self.require_learning()
        for case in self.cases():
            if not case.config.normalize_features:
                not_applicable("normalize_features = False: the scale of features is the user's business")
            values, target, later, outcome = learned_rows(case)
            scale, shift = np.array([1e4, 1e-4, 1.0, 1e4]), np.array([1e5, 0.0, -10.0, 0.0])
            model = case.model(values * scale + shift, target)

            assert agreement(model.predict(frame(later * scale + shift)), outcome) > 0.5

    @check
    def test_sample_weights_are_honoured_or_declared(self) -> None:
        """Look at ``weight``: rows of weight near zero must not decide, or ``training_notes`` must say so."""
        self.require_learning()
        for case in self.cases():
            values, target = case.rows()
            flipped = np.concatenate([target, 1 - target if case.classes else -target])
            doubled = np.concatenate([values, values])
            weight = np.repeat([1.0, 1e-6], len(target))
            native = case.native(doubled, flipped, weight=weight)
            plain = case.native(values, target)
            agrees = agreement(case.lean(native, values), case.lean(plain, values))
            is_declared = any("weight" in note for note in case.adapter.training_notes(native))

            assert is_declared or agrees > 0.8

    @check
    def test_training_notes_are_sentences(self) -> None:
        """Look at what ``training_notes`` returns: a tuple of texts, for the report of the training."""
        for trained in self.trained():
            notes = trained.case.adapter.training_notes(trained.model.native)

            assert type(notes) is tuple
            assert [note for note in notes if type(note) is not str or not note.strip()] == []

    @check
    def test_training_needs_no_rows_held_back(self) -> None:
        """Look at ``validation``: it may be ``None``, also where ``uses_validation`` says yes."""
        for case in self.cases():
            native = case.native(*case.rows(N_TRAIN // 2))

            assert isinstance(case.adapter.uses_validation(case.config), bool)
            assert np.isfinite(case.ask(native, case.rows(N_TRAIN // 2)[0])).all()


def _answers(case: Case, values: Any, target: Any) -> Any:
    """Train on rows and return finite forecasts of them, or fail."""
    forecast = case.model(values, target).predict(frame(values))[case.n_context :]

    assert np.isfinite(forecast).all()
    return forecast


def _answers_or_refuses(case: Case, values: Any, target: Any) -> Any:
    """Do so, or return ``None`` where the core or the adapter refuses to learn from them, with an error of the tree."""
    error = error_of(lambda: case.model(values, target))
    assert error is None or isinstance(error, TrainingError), f"{type(error).__name__}: {error}"
    return None if error is not None else _answers(case, values, target)
