"""Checks of seeds and copies: the same training gives the same model."""

from __future__ import annotations

import pickle

from backtester_model_core.testing.contract.adapter_checks import AdapterChecks
from backtester_model_core.testing.contract.case import same
from backtester_model_core.testing.contract.contract import check
from backtester_model_core.testing.contract.side_effects import Changes, noting_changes


class RepetitionChecks(AdapterChecks):
    """Checks of seeds and copies."""

    @check
    def test_same_seed_gives_the_same_model(self) -> None:
        """Look at randomness that does not come from ``seed``: the global generators, hash order, threads."""
        for trained in self.trained():
            again = trained.case.model(*trained.case.rows())

            assert same(again.predict(trained.served), trained.model.predict(trained.served))

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
    def test_model_travels_to_a_worker(self) -> None:
        """Look at what cannot be pickled: open files, local functions, a plugin manager."""
        for trained in self.trained():
            twin = pickle.loads(pickle.dumps(trained.model))  # noqa: S301 - our own bytes, as joblib sends them

            assert same(twin.predict(trained.served), trained.model.predict(trained.served))
