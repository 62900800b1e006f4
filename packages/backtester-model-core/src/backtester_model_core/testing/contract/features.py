"""The contract of features: causal, forgetting what they say they forget, the same live as in a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import Panel
from backtester_model_core.compiled import numba_works
from backtester_model_core.config import FeaturesConfig, ModelConfig
from backtester_model_core.features import Expression, evaluate, resolve_features
from backtester_model_core.steps import prepare_dataset
from backtester_model_core.testing.checks.features import (
    feature_values,
    find_stream_leaks,
    find_symbol_leaks,
    find_warm_up_leaks,
    memory_of,
)
from backtester_model_core.testing.checks.target import find_target_leaks
from backtester_model_core.testing.contract.contract import (
    Contract,
    check,
    check_contract,
    declared,
    not_applicable,
)
from backtester_model_core.testing.contract.outcomes import ContractReport
from backtester_model_core.testing.contract.side_effects import Changes, noting_changes
from backtester_model_core.testing.lookahead import find_future_leaks, find_truncation_leaks
from backtester_model_core.testing.samples import random_bars, random_panel

BARS_COLUMNS = ("open", "high", "low", "close", "volume")
N_BEYOND = 60


class FeatureContract(Contract):
    """Checks that a feature set, or some expressions, may be learned from; each docstring says what to look at.

    Attributes:
        sets: Names of registered feature sets.
        expressions: Further columns, name to expression, as ``features.expressions`` of a configuration.
        bar_columns: Columns of the bars that they may use; those beyond the five are filled with random walks.
        bound: The largest value that is taken for one.
    """

    sets: ClassVar[tuple[str, ...]] = ()
    expressions: ClassVar[Mapping[str, str]] = {}
    bar_columns: ClassVar[tuple[str, ...]] = BARS_COLUMNS
    bound: ClassVar[float] = 1e12
    n_checks: ClassVar[int] = 18

    @classmethod
    def subject(cls) -> str:
        """Name the sets, or how many expressions there are."""
        return ", ".join(cls.sets) or f"{len(cls.expressions)} expressions"

    @check
    def test_features_can_be_read(self) -> None:
        """Look at names of sets, operators and columns that do not exist, and at columns that two definitions claim."""
        assert self.features()

    @check
    def test_names_are_plain(self) -> None:
        """Look at column names: letters, digits and underscores, which every framework takes, and none of a bar."""
        odd = [name for name in self.features() if not name.isidentifier() or name in BARS_COLUMNS]

        assert odd == []

    @check
    def test_every_feature_can_be_computed_of_ordinary_bars(self) -> None:
        """Look at a look-back that no history fills: past its warm-up a feature has values."""
        values = self.values()
        empty = [name for name in values.columns if values[name].isna().all()]

        assert empty == []

    @check
    def test_warm_up_is_not_answered(self) -> None:
        """Look at operators that answer before their window is full: such values mean something else."""
        values = self.values()
        early = [
            name
            for name, expression in self.features().items()
            if values[name].iloc[: expression.warm_up_bars].notna().any()
        ]

        assert early == []

    @check
    def test_values_are_finite_numbers(self) -> None:
        """Look at divisions and logarithms: infinity is no value, and a number beyond ``bound`` is none either."""
        found = self.values().to_numpy()
        known = found[~np.isnan(found)]

        assert np.isfinite(known).all()
        assert np.abs(known).max(initial=0.0) <= self.bound

    @check
    def test_no_feature_is_constant(self) -> None:
        """Look at a feature that says the same of every bar: it teaches nothing, and divides by zero."""
        values = self.values()
        constant = [name for name in values.columns if values[name].max() == values[name].min()]

        assert constant == []

    @check
    def test_no_two_features_are_one(self) -> None:
        """Look at columns that are equal in every bit: one of them is enough."""
        values = self.values()
        twice = values.columns[values.T.duplicated()]

        assert list(twice) == []

    @check
    def test_same_bars_give_the_same_values(self) -> None:
        """Look at operators that draw random numbers, or remember an earlier call."""
        pd.testing.assert_frame_equal(self.values(), self.compute(self.bars()), check_exact=True)

    @check
    def test_truncated_bars_change_nothing_before(self) -> None:
        """Look at operators that know later bars: cut after every bar, nothing before the cut may change (T1)."""
        assert find_truncation_leaks(self.compute, self.bars()) == []

    @check
    def test_another_future_changes_nothing_before(self) -> None:
        """Look at operators that know later bars, and hide it where the bars end (T2)."""
        bars = self.bars()

        assert find_future_leaks(self.compute, bars, cuts=range(5, len(bars), 9)) == []

    @check
    def test_declared_memory_is_enough(self) -> None:
        """Look at ``memory_bars``: older bars must not matter, or a live feature depends on where it began (T3)."""
        features = self.features()
        memory = {name: bars for name, bars in memory_of(features).items() if bars is not None}
        if not memory:
            not_applicable("every feature is anchored: it depends on the first bar for ever, and says so")
        bars = self.bars(n_bars=2 * max(memory.values()) + N_BEYOND)

        assert find_warm_up_leaks(self.compute, bars, memory_bars=memory, multiples=(1, 2)) == []

    @check
    def test_stream_equals_batch(self) -> None:
        """Look at an operator's step function, and at its state: live and in a batch it is the same code (T8)."""
        assert find_stream_leaks(self.features(), self.panel()) == []

    @check
    def test_compiled_equals_plain(self) -> None:
        """Look at what numba computes otherwise: division by zero, integers, numpy inside a step function."""
        if not numba_works():
            not_applicable("numba is not installed, so nothing is compiled")
        panel = Panel.of(self.bars())
        plain, compiled = (
            evaluate(self.features(), panel, engine=engine) for engine in ("python", "compiled")
        )

        assert np.array_equal(plain, compiled, equal_nan=True)

    @check
    def test_symbols_do_not_touch_each_other(self) -> None:
        """Look at operators over several symbols, and at state that is not reset between them (T14)."""
        assert find_symbol_leaks(self.compute, self.panel()) == []

    @check
    def test_target_is_not_among_the_features(self) -> None:
        """Look at columns that hold the outcome, a copy of it, or its name (T9)."""
        dataset = prepare_dataset(self.config(), self.bars())
        leaks = find_target_leaks(dataset.features, dataset.target_series)

        assert [str(leak) for leak in leaks] == []

    @check
    def test_flat_and_silent_bars_are_survived(self) -> None:
        """Look at divisions by a range, a deviation or a volume of zero: NaN is an answer, an error is none."""
        flat = self.bars()
        flat.loc[:, ["open", "high", "low", "close"]] = 100.0
        flat["volume"] = 0.0
        found = self.compute(flat).to_numpy()

        assert found.shape == (len(flat), len(self.features()))
        assert not np.isinf(found).any()

    @check
    def test_computing_leaves_bars_and_process_alone(self) -> None:
        """Look at operators that write into the bars, seed global generators, or change warnings."""
        bars, changes = self.bars(), Changes()
        before = bars.copy()
        with noting_changes(changes):
            self.compute(bars)

        pd.testing.assert_frame_equal(bars, before, check_exact=True)
        assert not changes, str(changes)

    # -- what the checks share --------------------------------------------------------------------------------------

    def features(self) -> dict[str, Expression]:
        """Return each column's expression."""
        config = FeaturesConfig(sets=self.sets, expressions=dict(self.expressions))
        return self.once(
            "reading the features", lambda: resolve_features(config, bar_columns=self.bar_columns)
        )

    def config(self) -> ModelConfig:
        """Return a configuration that learns from the features."""
        return ModelConfig(
            framework="none",
            lookback_period=1,
            features=FeaturesConfig(sets=self.sets, expressions=dict(self.expressions)),
        )

    def compute(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Compute the features of bars."""
        return feature_values(self.features())(bars)

    def bars(self, *, n_bars: int | None = None, seed: int = 1) -> pd.DataFrame:
        """Return bars that are longer than every warm-up."""
        longest = max(expression.warm_up_bars for expression in self.features().values())
        return self._extended(random_bars(n_bars or longest + N_BEYOND, seed=seed))

    def panel(self) -> pd.DataFrame:
        """Return a panel whose symbols are longer than every warm-up."""
        longest = max(expression.warm_up_bars for expression in self.features().values())
        return self._extended(random_panel(3, longest + N_BEYOND // 2, seed=2))

    def values(self) -> pd.DataFrame:
        """Return the features of :meth:`bars`, for checks that only read them."""
        return self.once("computing the features", lambda: self.compute(self.bars()))

    def _extended(self, bars: pd.DataFrame) -> pd.DataFrame:
        for number, name in enumerate(self._further()):
            steps = np.random.default_rng(number).normal(0.0, 1.0, len(bars))
            bars[name] = 100.0 + np.cumsum(steps)
        return bars

    def _further(self) -> Iterator[str]:
        return (name for name in self.bar_columns if name not in BARS_COLUMNS)


def check_features(*sets: str, **attributes: Any) -> ContractReport:
    """Run the feature contract without pytest.

    Args:
        sets: Names of registered feature sets.
        attributes: Of :class:`FeatureContract`, such as ``expressions`` or ``expected_failures``.

    Raises:
        ConfigError: When the contract has no attribute of a name, or no check that is expected to fail.
    """
    return check_contract(declared(FeatureContract, {"sets": sets, **attributes}))
