"""Plant a change of regime, and measure what each retraining policy makes of it.

Hourly bars with one feature. The probability that a bar rises is one half plus an edge in the feature's direction; some
way through the bars that are served the edge changes its sign, while the feature itself goes on as it was. A line is
fitted to the latest 500 bars, and each policy walks through the other 2,000. The first table is of bars whose regime
changes, the second of bars whose regime stays, where nothing but the schedule's trainings is called for. Run with::

    python benchmarks/retraining.py

It prints both tables as they stand in ``docs/retraining.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core import ModelFrameworkAdapter, walk_forward
from backtester_model_core.config import ModelConfig, PolicyRule
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.typing import FloatArray

N_TRAIN, N_SERVED = 500, 2000
EVERY = 500
"""Sessions from one training of the schedule to the next."""
PERSISTENCE = 0.5
REST = 200
"""Decision times, at the least, over which a model must be right again to have recovered."""
ALLOWANCE = 0.05
"""How much less often than before the change a model may be right that has recovered."""


@dataclass(frozen=True)
class Entrant:
    """A policy, what else of ``retraining`` goes with it, and what reads the errors."""

    policy: PolicyRule
    further: Mapping[str, Any] = field(default_factory=dict)
    detector: str = "adwin"


DRIFT_OR_SKILL: PolicyRule = {"any": ["drift", "skill"]}  # type: ignore[assignment]  # as a file has it

SINCE_CHANGE = {"min_after_change": 60}

ENTRANTS: Mapping[str, Entrant] = {
    "never": Entrant("never"),
    "schedule": Entrant("schedule"),
    "drift": Entrant("drift"),
    "drift, learning since": Entrant("drift", SINCE_CHANGE),
    "... by page_hinkley": Entrant("drift", SINCE_CHANGE, detector="page_hinkley"),
    "skill": Entrant("skill"),
    "drift or skill": Entrant(DRIFT_OR_SKILL),
    "... challenged": Entrant(DRIFT_OR_SKILL, {"challenge": "unless_worse", "rollback_sessions": 60}),
}

COLUMNS = {
    "right before": "{:.1%}",
    "right after": "{:.1%}",
    "first training": "{:.0f}",
    "recovered": "{:.0%}",
    "after": "{:.0f}",
    "trainings": "{:.1f}",
    "of them before": "{:.1f}",
    "net return": "{:+.0%}",
}
IN_THE_MIDDLE = ("first training", "after")
"""Columns of medians, since what has not happened by the end happens later than all that has; the others are means."""


class LeastSquares(ModelFrameworkAdapter[FloatArray]):
    """A linear probability, clipped."""

    config_class = ModelConfig

    def initialize_model(self, config: ModelConfig) -> FloatArray:  # noqa: ARG002
        """Return nothing learned."""
        return np.zeros(0)

    def train_model(
        self,
        model: FloatArray,  # noqa: ARG002 - the line is fitted anew
        features: FloatArray,
        target: Any,
        **options: Any,  # noqa: ARG002
    ) -> FloatArray:
        """Fit a line."""
        design = np.column_stack([np.ones(len(features)), features])
        return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0])

    def predict(self, model: FloatArray, features: FloatArray) -> FloatArray:
        """Answer the line, within 0.01 and 0.99."""
        up = np.clip(model[0] + features @ model[1:], 0.01, 0.99)
        return np.column_stack([1 - up, up])


def simulate(seed: int, *, edge: float, changes: bool) -> tuple[pd.DataFrame, int]:
    """Return hourly bars, and the bar from which their feature foresees the opposite, if it does.

    That bar lies anywhere within one period of the schedule, so that the schedule is neither lucky nor unlucky.
    """
    rng = np.random.default_rng(seed)
    n = N_TRAIN + N_SERVED + 2
    change = N_TRAIN + N_SERVED // 2 - EVERY // 2 + int(rng.integers(EVERY))
    feature = rng.standard_normal(n)
    for t in range(1, n):
        feature[t] = PERSISTENCE * feature[t - 1] + np.sqrt(1 - PERSISTENCE**2) * feature[t]
    sign = np.where(changes & (np.arange(n) >= change), -1.0, 1.0)
    rises = rng.random(n) < 0.5 + edge * sign * np.sign(feature)
    moves = np.where(rises, 1.0, -1.0) * np.abs(rng.normal(0.0, 0.01, n))
    opens = 100.0 * np.exp(
        np.concatenate([[0.0, 0.0], np.cumsum(moves)[:-2]])
    )  # bar t foresees t + 1 to t + 2
    closes = opens * np.exp(rng.normal(0.0, 0.001, n))
    index = pd.date_range("2015-01-01", periods=n, freq="h", name="timestamp")
    prices = {
        "open": opens,
        "high": np.maximum(opens, closes) * 1.001,
        "low": np.minimum(opens, closes) * 0.999,
        "close": closes,
    }
    return pd.DataFrame({**prices, "volume": 1e6, "feature": feature}, index=index), change


def configuration(entrant: Entrant) -> ModelConfig:
    """Return a rolling walk-forward under a policy."""
    fields: dict[str, Any] = {
        "framework": "line",
        "lookback_period": 1,
        "confidence_threshold": 0.5,
        "features": {"sets": [], "expressions": {"feature": "feature"}},
        "validation": {"scheme": "rolling", "train_size": N_TRAIN, "test_size": EVERY},
        "gate": {"mode": "off"},
        "monitoring": {"detector": entrant.detector},
        "retraining": {"policy": entrant.policy, "cooldown": 60, **entrant.further},
    }
    return ModelConfig.model_validate(fields)


def measure(seed: int, *, entrant: Entrant, edge: float, changes: bool) -> dict[str, float]:
    """Walk through one market, and return what a policy made of it."""
    bars, change = simulate(seed, edge=edge, changes=changes)
    with use_plugins(Plugins(discover=False, environ={})) as own:
        own.register_adapter("line", LeastSquares)
        result = walk_forward(configuration(entrant), bars)
    foreseen = result.predictions.dropna(subset=["expected", "outcome"])
    right = (foreseen["expected"] > 0.5) == (foreseen["outcome"] > 0.5)
    at = bars.index[change]
    before, after = right[right.index < at].mean(), right[right.index >= at]
    rest = after[::-1].expanding(REST).mean()[::-1].to_numpy()  # how often right from each decision on
    is_well = rest >= before - ALLOWANCE
    fits = result.events.loc[result.events["kind"] == "trained", "at"]
    kept = int((result.events["kind"] == "champion_kept").sum())
    later = fits[fits >= at]
    return {
        "right before": before,
        "right after": after.mean(),
        "first training": (later.min() - at) / pd.Timedelta("1h") if len(later) else np.nan,
        "recovered": float(is_well.any()),
        "after": float(np.argmax(is_well)) if is_well.any() else np.nan,
        "trainings": len(fits) + kept,
        "of them before": float((fits < at).sum()),
        "net return": result.return_metrics["signals"]["total_return"],
    }


def table(*, edge: float, changes: bool, seeds: int, jobs: int) -> str:
    """Return a table in Markdown: what each policy made of a market, over seeds."""
    lines = [_line(["policy", *COLUMNS]), "|---|" + "---:|" * len(COLUMNS)]
    with ProcessPoolExecutor(jobs) as pool:
        for name, entrant in ENTRANTS.items():
            run = partial(measure, entrant=entrant, edge=edge, changes=changes)
            made = pd.DataFrame(list(pool.map(run, range(seeds))))
            figures = made.mean()
            for column in IN_THE_MIDDLE:
                figures[column] = made[column].fillna(np.inf).median()
            shown = [
                form.format(figures[column]) if np.isfinite(figures[column]) else "-"
                for column, form in COLUMNS.items()
            ]
            lines.append(_line([name, *shown]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=12, help="markets of each kind")
    parser.add_argument("--edge", type=float, default=0.1, help="probability of a rise above one half")
    parser.add_argument("--jobs", type=int, default=1, help="markets at a time")
    arguments = parser.parse_args()
    for changes in (True, False):
        print(table(edge=arguments.edge, changes=changes, seeds=arguments.seeds, jobs=arguments.jobs), "\n")


if __name__ == "__main__":
    main()
