"""Checks that need other processes: what a fresh one loads, repeats, survives and keeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from backtester_model_core.testing.contract.adapter_checks import AdapterChecks
from backtester_model_core.testing.contract.case import close
from backtester_model_core.testing.contract.contract import check, not_applicable
from backtester_model_core.testing.contract.elsewhere import N_PREDICTS, N_ROWS_ASKED, require_platform

MAY_GROW = N_PREDICTS * N_ROWS_ASKED * 16
"""Bytes by which a process may grow over a thousand forecasts: half of what keeping the rows asked for takes."""


class ProcessChecks(AdapterChecks):
    """Checks that need other processes; all but the last share one."""

    @check
    def test_same_seed_gives_the_same_model_in_another_process(self) -> None:
        """Look at randomness that comes from the process: hash order, what was imported or trained before."""
        for trained, answer in zip(self.trained(), self.elsewhere().of("train"), strict=True):
            assert trained.model.predict_distribution(trained.served).frame.equals(answer)

    @check
    def test_work_leaves_the_process_as_it_was(self) -> None:
        """Look at a first training that imports the framework: logging, warnings and the environment stay."""
        changes = self.elsewhere().worked

        assert not changes, str(changes)

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

    @check
    def test_saved_model_answers_the_same_in_a_fresh_process(self) -> None:
        """Look at what ``save_model`` leaves out: it must be all that ``predict`` needs, to the last bit."""
        for trained, answer in zip(self.savable(), self.elsewhere().of("load"), strict=True):
            assert trained.model.predict_distribution(trained.served).frame.equals(answer)

    @check
    def test_killed_saves_leave_every_version_whole(self) -> None:
        """Look at ``BaseModel.save``, which an extension may have wrapped: an adapter does not touch the disk.

        The environment variable ``BACKTESTER_MODEL_KILLS`` says how many writers are killed; by default ten.
        """
        if not hasattr(os, "fork"):
            not_applicable("this platform cannot fork")
        with self.saved() as saved:
            n_kills = os.environ.get("BACKTESTER_MODEL_KILLS", "10")
            answer = subprocess.run(  # noqa: S603 - our own program
                [sys.executable, "-m", "backtester_model_core.testing.kills", str(saved[0][1]), n_kills],
                check=True,
                capture_output=True,
            )

            assert json.loads(answer.stdout)["after"] == 0
