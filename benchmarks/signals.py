"""Measure what signals are worth where the truth is known: calibrated probabilities, thresholds by cost, the gate.

Three tables, as they stand in ``docs/signals.md``, each by whole walk-forwards over simulated bars on which every open
moves as a known probability says. A feature x (AR(1), 0.9) moves the return of the bar after the fill:
``r = s (ic x + sqrt(1 - ic^2) e)``, so that a rise has the probability ``Phi(ic x / sqrt(1 - ic^2))``. Run with::

    python benchmarks/signals.py --runs 200

Nothing is tuned to the seeds: they count from zero.
"""
# ruff: noqa: ARG002, D102 - the signatures are the adapter's

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import erf, sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.calibration.logistic import fit_logistic, smoothed_targets
from backtester_model_core.config import ModelConfig
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.walkforward import WalkForwardResult, walk_forward

Floats = NDArray[np.float64]

PERSISTENCE = 0.9
VOLATILITY = 0.01
N_NOISE = 4
"""Features that say nothing, beside the one that does."""
FIRST_TRAIN, TEST = 252, 126
N_LABELLED, BLOCK = 5_000, 250
"""Labelled rows, a multiple of the block that one model serves: the block after them is measured."""
SMALL_IC = 0.08
N_SYMBOLS, PANEL_BARS = 10, 1_512
CHOSEN_FROM = 3
"""The window from which on thresholds by cost and by quantile are in force; all are compared from there."""
CONFIDENT_IC = 0.3
DISTORTIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "2.5 times too sure": lambda odds: 2.5 * odds,
    "0.4 times as sure as it may be": lambda odds: 0.4 * odds,
    "lopsided": lambda odds: np.where(odds > 0, 3.0, 0.7) * odds + 0.3,
}


# -- bars and models -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulated:
    """Bars whose probability of a rise is known.

    Attributes:
        bars: The bars, with columns x0 to x4 of which the first knows.
        rise: (n,) true probability that a position opened on a row gains.
    """

    bars: pd.DataFrame
    rise: Floats


def simulated(n_bars: int, *, ic: float, seed: int) -> Simulated:
    rng = np.random.default_rng(seed)
    shocks = rng.normal(size=(n_bars, 1 + N_NOISE)) * sqrt(1 - PERSISTENCE**2)
    features = np.empty_like(shocks)
    features[0] = rng.normal(size=1 + N_NOISE)
    for row in range(1, n_bars):
        features[row] = PERSISTENCE * features[row - 1] + shocks[row]
    lean = ic * features[:, 0]
    returns = VOLATILITY * (lean + sqrt(1 - ic**2) * rng.normal(size=n_bars))
    opens = np.concatenate([[100.0, 100.0], 100.0 * np.cumprod(1 + returns[:-2])])
    close = np.append(opens[1:], opens[-1])
    frame = {
        "open": opens,
        "high": np.maximum(opens, close) * 1.001,
        "low": np.minimum(opens, close) * 0.999,
        "close": close,
        "volume": np.full(n_bars, 1e6),
        **{f"x{k}": features[:, k] for k in range(1 + N_NOISE)},
    }
    rise = np.array([(1 + erf(z / sqrt(2))) / 2 for z in lean / sqrt(1 - ic**2)])
    return Simulated(
        pd.DataFrame(frame, index=pd.bdate_range("1980-01-01", periods=n_bars, name="timestamp")), rise
    )


def simulated_panel(n_symbols: int, n_bars: int, *, ic: float, seed: int) -> pd.DataFrame:
    names = {f"S{k:02d}": simulated(n_bars, ic=ic, seed=1_000 * seed + k).bars for k in range(n_symbols)}
    return pd.concat(names, names=["symbol", "timestamp"]).swaplevel().sort_index()


class Logistic(ModelFrameworkAdapter[Any]):
    """Logistic regression by maximum likelihood."""

    def initialize_model(self, config: ModelConfig) -> Any:
        return None

    def train_model(self, model: Any, features: Floats, target: Any, **options: Any) -> Any:
        design = np.column_stack([features, np.ones(len(features))])
        return fit_logistic(design, smoothed_targets(target.astype(np.float64)))

    def predict(self, model: Any, features: Floats) -> Floats:
        up = 1 / (1 + np.exp(-(features @ model[:-1] + model[-1])))
        return np.column_stack([1 - up, up])


class LeastSquares(ModelFrameworkAdapter[Any]):
    """Linear regression by least squares."""

    def initialize_model(self, config: ModelConfig) -> Any:
        return None

    def train_model(self, model: Any, features: Floats, target: Any, **options: Any) -> Any:
        return np.linalg.lstsq(np.column_stack([features, np.ones(len(features))]), target, rcond=None)[0]

    def predict(self, model: Any, features: Floats) -> Floats:
        forecast: Floats = features @ model[:-1] + model[-1]
        return forecast


class GivenDirection(ModelFrameworkAdapter[Any]):
    """Leans as the column x0 says, from the training mean, with nothing to estimate: its IC is that of x0."""

    def initialize_model(self, config: ModelConfig) -> Any:
        return None

    def train_model(self, model: Any, features: Floats, target: Any, **options: Any) -> Any:
        return float(target.mean())

    def predict(self, model: Any, features: Floats) -> Floats:
        forecast: Floats = model + SMALL_IC * VOLATILITY * features[:, 0]
        return forecast


class Distorted(ModelFrameworkAdapter[Any]):
    """Knows the true log-odds of a rise, the column x0, and says something else."""

    say: Callable[[Floats], Floats] = staticmethod(lambda odds: odds)

    def initialize_model(self, config: ModelConfig) -> Any:
        return "knows already"

    def train_model(self, model: Any, features: Floats, target: Any, **options: Any) -> Any:
        return model

    def predict(self, model: Any, features: Floats) -> Floats:
        up = 1 / (1 + np.exp(-self.say(features[:, 0])))
        return np.column_stack([1 - up, up])


def configured(**fields: Any) -> ModelConfig:
    base = {
        "framework": "logistic",
        "lookback_period": 1,
        "features": {"sets": [], "expressions": {f"x{k}": f"x{k}" for k in range(1 + N_NOISE)}},
        "validation": {"train_size": FIRST_TRAIN, "test_size": TEST},
        "gate": {"mode": "off"},
        "enable_monitoring": False,
    }
    return ModelConfig.model_validate({**base, **fields})


# -- the tables ------------------------------------------------------------------------------------------------------


def calibration_table(runs: int) -> None:
    """E|p - true p| on rows served after 5,000 labelled ones, of the raw and of each calibrated probability."""
    print("| the model | raw | sigmoid | beta | isotonic |\n|---|---:|---:|---:|---:|")
    models = [*DISTORTIONS.items(), ("logistic regression on 252 rows", None)]
    for name, say in models:
        errors = np.array([calibration_errors(say, seed) for seed in range(runs)])
        print(f"| {name} | " + " | ".join(f"{error:.4f}" for error in errors.mean(axis=0)) + " |", flush=True)


def calibration_errors(say: Callable[[Floats], Floats] | None, seed: int) -> list[float]:
    n_bars = FIRST_TRAIN + N_LABELLED + BLOCK
    truth = simulated(n_bars, ic=CONFIDENT_IC, seed=seed)
    bars, framework = truth.bars, "logistic"
    if say is not None:
        Distorted.say, framework = staticmethod(say), "distorted"
        bars = bars.assign(x0=np.log(truth.rise / (1 - truth.rise)))
    validation = {"scheme": "rolling", "train_size": FIRST_TRAIN, "test_size": BLOCK}
    errors = []
    for method in ("none", "sigmoid", "beta", "isotonic"):
        config = configured(framework=framework, validation=validation, calibration={"method": method})
        said = walk_forward(config, bars).predictions["probability_up"].to_numpy()
        errors.append(float(np.abs(said - truth.rise[FIRST_TRAIN:])[N_LABELLED:].mean()))
    return errors


GATED = (
    ("given direction", 1, 2_520, 0.0, 1),
    ("least squares", 1, 2_520, 0.0, 1),
    ("logistic", 1, 2_520, 0.0, 1),
    ("given direction", 1, 2_520, SMALL_IC, 1),
    ("least squares", 1, 2_520, SMALL_IC, 1),
    ("logistic", 1, 2_520, SMALL_IC, 1),
    ("least squares", 1, 3_780, SMALL_IC, 2),
    ("least squares", 1, 5_040, SMALL_IC, 2),
    ("least squares", N_SYMBOLS, 1_512, SMALL_IC, 4),
)
"""Model, symbols, bars and true IC of each line, and by what its runs are divided: longer ones take longer.

The IC is that of what there is to know. A model that must estimate its weights forecasts with less; one whose direction
is given forecasts with all of it.
"""
THRESHOLDS: Mapping[str, Mapping[str, Any]] = {
    "fixed, 0.5": {"confidence_threshold": 0.5},
    "fixed, 0.52": {"confidence_threshold": 0.52},
    "fixed, 0.55": {"confidence_threshold": 0.55},
    "fixed, 0.6 (the default)": {},
    "quantile 0.8": {"thresholds": {"entry": "quantile"}},
    "cost": {"thresholds": {"entry": "cost"}},
}


def threshold_table(runs: int) -> None:
    """Yearly return after costs at a small known skill, by how thresholds are found, once all are in force."""
    print("| costs, one way | thresholds | return a year | Sharpe ratio | by cost earned more in |")
    print("|---:|---|---:|---:|---:|")
    for bps in (2.0, 10.0):
        costs = {"commission_bps": bps, "half_spread_bps": 0.0, "slippage_bps": 0.0}
        figures: dict[str, list[Floats]] = {name: [] for name in THRESHOLDS}
        for seed in range(runs):
            bars = simulated_panel(N_SYMBOLS, PANEL_BARS, ic=SMALL_IC, seed=seed)
            for name, fields in THRESHOLDS.items():
                result = walk_forward(configured(costs=costs, **fields), bars)
                started = result.windows["serves_from"].iloc[CHOSEN_FROM].tz_localize(None)
                figures[name].append(result.returns["signals"].loc[started:].to_numpy())
        by_cost = np.mean(figures["cost"], axis=1)
        for name, paths in figures.items():
            net = np.array(paths)
            mean, deviation = net.mean(axis=1), net.std(axis=1)
            ratio = np.mean(mean / np.where(deviation > 0, deviation, 1.0)) * sqrt(252)
            better = "" if name == "cost" else f"{np.mean(by_cost > mean):.0%} of runs"
            print(f"| {bps:g} bps | {name} | {mean.mean() * 252:.2%} | {ratio:.2f} | {better} |", flush=True)


def gate_table(runs: int, lines: Sequence[int]) -> None:
    """Share of runs that trade at all, and in the last window, through the real gate."""
    print("| model | symbols | bars | true IC | runs | trade at all | trade in the last window |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, n_symbols, n_bars, ic, share in (GATED[line] for line in lines):
        n = max(runs // share, 2)
        seen = [when_it_traded(name, n_symbols, n_bars, ic=ic, seed=seed) for seed in range(n)]
        at_all, at_last = np.mean(seen, axis=0)
        figures = f"{ic:g} | {n} | {at_all:.1%} | {at_last:.1%}"
        print(f"| {name} | {n_symbols} | {n_bars:,} | {figures} |", flush=True)


def when_it_traded(name: str, n_symbols: int, n_bars: int, *, ic: float, seed: int) -> tuple[bool, bool]:
    """Say whether a run traded at all, and in its last window, thresholds by cost."""
    config = configured(
        framework=name.replace(" ", "_"),
        model_type="classification" if name == "logistic" else "regression",
        thresholds={"entry": "cost"},
        costs={"commission_bps": 1.0, "half_spread_bps": 0.0, "slippage_bps": 0.0},
        gate={"mode": "block", "planned_windows": -(-(n_bars - FIRST_TRAIN) // TEST)},
    )
    bars = (
        simulated(n_bars, ic=ic, seed=seed).bars
        if n_symbols == 1
        else simulated_panel(n_symbols, n_bars, ic=ic, seed=seed)
    )
    result = walk_forward(config, bars)
    return traded(result, 0) > 0, traded(result, len(result.windows) - 1) > 0


def traded(result: WalkForwardResult, first_window: int) -> int:
    """Count the signals for a position from a window on."""
    served = result.predictions.index[result.predictions["window"] >= first_window]
    return int((result.signals.loc[served, "target_weight"] != 0).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="runs of the gate; the others take a tenth")
    parser.add_argument("--only", choices=("calibration", "thresholds", "gate"), help="one table")
    every = range(len(GATED))
    parser.add_argument(
        "--lines", type=int, nargs="+", choices=every, default=every, help="of the gate's table"
    )
    chosen = parser.parse_args()
    plugins = Plugins(discover=False, environ={})
    plugins.register_adapter("logistic", Logistic)
    plugins.register_adapter("least_squares", LeastSquares)
    plugins.register_adapter("given_direction", GivenDirection)
    plugins.register_adapter("distorted", Distorted)
    few = max(chosen.runs // 10, 2)
    tables: Mapping[str, Callable[[], None]] = {
        "calibration": partial(calibration_table, few),
        "thresholds": partial(threshold_table, few),
        "gate": partial(gate_table, chosen.runs, chosen.lines),
    }
    with use_plugins(plugins):
        for name, table in tables.items():
            if chosen.only in {None, name}:
                started = time.perf_counter()
                table()
                print(f"\n{name}: {time.perf_counter() - started:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
