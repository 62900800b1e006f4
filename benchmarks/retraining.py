"""Plant a change of regime, and measure what each retraining policy makes of it.

Hourly bars with one feature. The probability that a bar rises is 0.5 plus an edge in the feature's direction; half way
through the bars that are served the edge changes its sign, while the feature itself goes on as it was. A classifier
by least squares is fitted to the bars before the first, and each policy walks through the rest. The first table is of
bars whose regime changes, the second of bars whose regime stays, where every training but the schedule's is a false
alarm. ``python benchmarks/retraining.py`` writes both as they stand in ``docs/retraining.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core import ModelFrameworkAdapter, walk_forward
from backtester_model_core.config import ModelConfig, PolicyRule
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.typing import FloatArray

N_TRAIN, N_SERVED = 500, 2000
PERSISTENCE = 0.5
LATEST = 125
"""Decision times over which a model must be right again to have recovered."""

POLICIES: Mapping[str, PolicyRule] = {
    "never": "never",
    "schedule": "schedule",
    "drift": "drift",
    "skill": "skill",
    "drift or skill": {"any": ["drift", "skill"]},
}


class LeastSquares(ModelFrameworkAdapter[FloatArray]):
    """A linear probability, clipped."""

    config_class = ModelConfig

    def initialize_model(self, config: ModelConfig) -> FloatArray:  # noqa: ARG002
        """Return nothing learned."""
        return np.zeros(0)

    def train_model(
        self,
        model: FloatArray,
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


@dataclass(frozen=True)
class Market:
    """Bars to simulate.

    Attributes:
        edge: Probability of a rise above one half, in the feature's direction.
        changes: Whether the edge changes its sign half way.
    """

    edge: float
    changes: bool


def simulate(market: Market, seed: int) -> pd.DataFrame:
    """Return hourly bars with a feature that foresees the next open's move, until it foresees the opposite."""
    rng = np.random.default_rng(seed)
    n = N_TRAIN + N_SERVED + 2
    feature = rng.standard_normal(n)
    for t in range(1, n):
        feature[t] = PERSISTENCE * feature[t - 1] + np.sqrt(1 - PERSISTENCE**2) * feature[t]
    sign = np.where(market.changes & (np.arange(n) >= N_TRAIN + N_SERVED // 2), -1.0, 1.0)
    rises = rng.random(n) < 0.5 + market.edge * sign * np.sign(feature)
    moves = np.where(rises, 1.0, -1.0) * np.abs(rng.normal(0.0, 0.01, n))
    # the label of bar t is the move from the open of t + 1 to that of t + 2
    opens = 100.0 * np.exp(np.concatenate([[0.0, 0.0], np.cumsum(moves)[:-2]]))
    closes = opens * np.exp(rng.normal(0.0, 0.001, n))
    index = pd.date_range("2015-01-01", periods=n, freq="h", name="timestamp")
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * 1.001,
            "low": np.minimum(opens, closes) * 0.999,
            "close": closes,
            "volume": 1e6,
            "feature": feature,
        },
        index=index,
    )


def configuration(policy: PolicyRule, changes: Mapping[str, Any]) -> ModelConfig:
    """Return a rolling walk-forward under a policy."""
    fields: dict[str, Any] = {
        "framework": "line",
        "lookback_period": 1,
        "confidence_threshold": 0.5,
        "features": {"sets": [], "expressions": {"feature": "feature"}},
        "validation": {"scheme": "rolling", "train_size": N_TRAIN, "test_size": 250},
        "gate": {"mode": "off"},
        "retraining": {"policy": policy, "cooldown": 60, **changes},
    }
    return ModelConfig.model_validate(fields)


def measure(seed: int, *, market: Market, policy: PolicyRule, changes: Mapping[str, Any]) -> dict[str, float]:
    """Walk through one market, and return what a policy made of it."""
    bars = simulate(market, seed)
    with use_plugins(Plugins(discover=False, environ={})) as own:
        own.register_adapter("line", LeastSquares)
        result = walk_forward(configuration(policy, changes), bars)
    predictions = result.predictions.dropna(subset=["expected", "outcome"])
    right = ((predictions["expected"] > 0.5) == (predictions["outcome"] > 0.5)).to_numpy()
    half = N_SERVED // 2
    before, after = right[:half], right[half:]
    latest = pd.Series(after).rolling(LATEST).mean().to_numpy()
    again = np.flatnonzero(latest > before.mean() - 0.05)
    fits = result.events.loc[result.events["kind"] == "trained", "at"]
    change = bars.index[N_TRAIN + half]
    return {
        "before": before.mean(),
        "after": after.mean(),
        "late": after[-half // 4 :].mean(),
        "first training": float((fits[fits >= change].min() - change) / pd.Timedelta("1h")),
        "recovered": float(again[0]) if len(again) else np.nan,
        "trainings": len(fits),
        "early": float((fits < change).sum() - 1),
        "return": result.return_metrics["signals"]["total_return"],
    }


def table(market: Market, *, seeds: int, changes: Mapping[str, Any]) -> pd.DataFrame:
    """Return means over seeds of what each policy made of a market."""
    rows = {}
    with ProcessPoolExecutor() as pool:
        for name, policy in POLICIES.items():
            run = partial(measure, market=market, policy=policy, changes=changes)
            found = pd.DataFrame(list(pool.map(run, range(seeds))))
            rows[name] = {
                **found.mean().to_dict(),
                "share recovered": float(found["recovered"].notna().mean()),
            }
    return pd.DataFrame(rows).T


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--edge", type=float, default=0.1)
    arguments = parser.parse_args()
    for changes in (True, False):
        print(table(Market(arguments.edge, changes), seeds=arguments.seeds, changes={}).round(3).to_string())
