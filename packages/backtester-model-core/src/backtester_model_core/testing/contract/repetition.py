"""Checks of seeds, processes and threads: the same again, wherever and however often it is asked."""

from __future__ import annotations

import pickle

from backtester_model_core.testing.contract.adapter_checks import AdapterChecks
from backtester_model_core.testing.contract.case import close, same
from backtester_model_core.testing.contract.contract import check
from backtester_model_core.testing.contract.elsewhere import N_PREDICTS, N_ROWS_ASKED, require_platform
from backtester_model_core.testing.contract.side_effects import Changes, noting_changes

MAY_GROW = N_PREDICTS * N_ROWS_ASKED * 16
"""Bytes by which a process may grow over a thousand forecasts: half of what keeping the rows asked for takes."""


class RepetitionChecks(AdapterChecks):
    """Checks of seeds, processes and threads."""

    @check
    def test_same_seed_gives_the_same_model(self) -> None:
        """Look at randomness that does not come from ``seed``: the global generators, hash order, threads."""
        for trained in self.trained():
            again = trained.case.model(*trained.case.rows())

            assert same(again.predict(trained.served), trained.model.predict(trained.served))

    @check
    def test_same_seed_gives_the_same_model_in_another_process(self) -> None:
        """Look at randomness that comes from the process: hash order, what was imported or trained before."""
        for trained, answer in zip(self.trained(), self.elsewhere().of("train"), strict=True):
            assert trained.model.predict_distribution(trained.served).frame.equals(answer)

    @check
    def test_another_seed_gives_another_model_where_training_is_random(self) -> None:
        """Look at ``random``, which the class declares, and at a ``seed`` that is not handed on."""
        differs = []
        for trained in self.trained():
            case, values = trained.case, trained.served.to_numpy()
            first, second = (case.ask(case.native(*case.rows(), seed=seed), values) for seed in (0, 12345))
            differs.append(not same(first, second))

        if self.random:
            assert any(differs), "random = True, and another seed gives the same model"
        else:
            assert not any(differs), "random = False, and another seed gives another model"

    @check
    def test_training_leaves_global_randomness_alone(self) -> None:
        """Look at ``random.seed`` and ``np.random.seed``: use a generator of your own, or put the state back."""
        for trained in self.trained():
            changes: Changes = {}
            with noting_changes(changes):
                model = trained.case.model(*trained.case.rows())
                model.predict(trained.served)

            assert "random" not in changes

    @check
    def test_work_leaves_the_process_as_it_was(self) -> None:
        """Look at a first training that imports the framework: logging, warnings and the environment stay."""
        changes = self.elsewhere().worked

        assert not changes, str(changes)

    @check
    def test_model_travels_to_a_worker(self) -> None:
        """Look at what cannot be pickled: open files, local functions, a plugin manager."""
        for trained in self.trained():
            twin = pickle.loads(pickle.dumps(trained.model))  # noqa: S301 - our own bytes, as joblib sends them

            assert same(twin.predict(trained.served), trained.model.predict(trained.served))

    @check
    def test_model_answers_the_same_in_a_worker(self) -> None:
        """Look at what a model finds in its own process only: registered classes, caches, open sessions."""
        for trained, answer in zip(self.trained(), self.elsewhere().of("unpickle"), strict=True):
            assert trained.model.predict_distribution(trained.served).frame.equals(answer)

    @check
    def test_several_threads_may_ask_one_model(self) -> None:
        """Look at buffers that ``predict`` keeps between calls."""
        for alone, together in self.elsewhere().of("threads"):
            for expected, answer in zip(alone, together, strict=True):
                assert close(expected.to_numpy(), answer.to_numpy())

    @check
    def test_memory_does_not_grow(self) -> None:
        """Look at what ``predict`` appends to, and at caches without a bound: a thousand calls must leave nothing."""
        grown = self.elsewhere().of("memory")
        require_platform(grown, "/proc, which tells a process's memory")

        assert max(grown) < MAY_GROW, f"{max(grown):,} bytes after {N_PREDICTS:,} forecasts"

    @check
    def test_interrupt_leaves_the_model_usable(self) -> None:
        """Look at ``except BaseException``, and at state that a training which Ctrl-C ended leaves behind."""
        answers = self.elsewhere().of("interrupt")
        require_platform(answers, "interval timers")

        for before, after, anew in answers:
            assert after.equals(before), "the model answers otherwise after an interrupted training"
            assert anew.equals(before), "a model trained after an interrupted training is another"
