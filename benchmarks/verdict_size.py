"""Measure how often the verdict and the gate are wrong on noise, and how often they find an edge.

Each run walks forward over simulated bars: persistent features (AR(1), 0.9), returns over ``h`` bars that overlap,
an ordinary least-squares model refitted every 63 bars on rows whose labels were known, and the training mean as
its baseline. On a panel a common factor moves features and returns of all symbols. Run with::

    python benchmarks/verdict_size.py --runs 200
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backtester_model_core.evaluation import SkillOutcome, gate_opens, gate_statistic, judge_skill

Floats = NDArray[np.float64]

N_FEATURES = 5
PERSISTENCE = 0.9
COMMON = 0.3
"""Share of the variance of features and returns that all symbols have in common."""
FIRST_TRAIN = 252
TEST = 63


@dataclass(frozen=True)
class Setting:
    """One simulated market: bars to hold, symbols, and the true correlation of the best forecast."""

    horizon: int
    n_symbols: int
    ic: float


@dataclass(frozen=True)
class OutOfSample:
    """The out-of-sample rows of one walk-forward, (n,) each, in time order."""

    time: NDArray[np.int64]
    outcome: Floats
    forecast: Floats
    baseline: Floats

    def where(self, keep: NDArray[np.bool_]) -> OutOfSample:
        """Return the rows of a mask."""
        return OutOfSample(self.time[keep], self.outcome[keep], self.forecast[keep], self.baseline[keep])


def simulate(rng: np.random.Generator, setting: Setting, n_bars: int) -> tuple[Floats, Floats]:
    """Return features (n_bars, n_symbols, n_features) and the overlapping returns (n_bars, n_symbols)."""

    def shocks(*shape: int) -> Floats:
        own, common = rng.standard_normal((n_bars, *shape)), rng.standard_normal((n_bars, 1, *shape[1:]))
        if setting.n_symbols == 1:
            return own
        both: Floats = np.sqrt(1 - COMMON) * own + np.sqrt(COMMON) * common
        return both

    features = shocks(setting.n_symbols, N_FEATURES)
    for t in range(1, n_bars):
        features[t] = PERSISTENCE * features[t - 1] + np.sqrt(1 - PERSISTENCE**2) * features[t]
    horizon = setting.horizon
    # One bar's return loads on the first feature so that over h bars the correlation is the IC.
    loading = setting.ic * np.sqrt(horizon) / np.sum(PERSISTENCE ** np.arange(horizon))
    one_bar = shocks(setting.n_symbols)
    one_bar[1:] += loading * features[:-1, :, 0]
    total = np.cumsum(one_bar, axis=0)
    outcome = np.full_like(one_bar, np.nan)
    outcome[:-horizon] = total[horizon:] - total[:-horizon]
    return features, outcome


def walk_forward(features: Floats, outcome: Floats, horizon: int) -> OutOfSample:
    """Refit least squares on the rows whose labels were known, every 63 bars."""
    n_bars, n_symbols = outcome.shape
    design = np.concatenate([np.ones((n_bars, n_symbols, 1)), features], axis=2)
    forecast, baseline = np.full_like(outcome, np.nan), np.full_like(outcome, np.nan)
    for start in range(FIRST_TRAIN, n_bars, TEST):
        known = start - horizon - 1
        x, y = design[:known].reshape(-1, N_FEATURES + 1), outcome[:known].ravel()
        block = slice(start, start + TEST)
        forecast[block] = design[block] @ np.linalg.solve(x.T @ x, x.T @ y)
        baseline[block] = y.mean()
    time = np.broadcast_to(np.arange(n_bars)[:, None], outcome.shape)
    rows = OutOfSample(time.ravel(), outcome.ravel(), forecast.ravel(), baseline.ravel())
    return rows.where(~np.isnan(rows.forecast) & ~np.isnan(rows.outcome))


def gate_opened(rows: OutOfSample, horizon: int) -> bool:
    """Return whether the gate opens at any window, for as many windows as there are."""
    starts = range(FIRST_TRAIN + TEST, int(rows.time[-1]) + 1, TEST)
    for done, start in enumerate(starts, start=1):
        known = rows.where(rows.time + 1 + horizon <= start)
        z = gate_statistic(
            known.time,
            outcome=known.outcome,
            forecast=known.forecast,
            baseline=known.baseline,
            horizon=horizon,
        )
        if gate_opens(z, windows_done=done, planned_windows=len(starts)):
            return True
    return False


def judge_runs(setting: Setting, *, n_runs: int, n_bars: int, seed: int) -> Iterator[dict[str, bool]]:
    """Judge independent runs; each gives what the verdict, two naive tests and the gate say."""
    for rng in np.random.default_rng(seed).spawn(n_runs):
        rows = walk_forward(*simulate(rng, setting, n_bars), setting.horizon)
        verdict = judge_skill(
            rows.time,
            outcome=rows.outcome,
            forecast=rows.forecast,
            baseline=rows.baseline,
            horizon=setting.horizon,
        )
        g = (rows.outcome - rows.baseline) * (rows.forecast - rows.baseline)
        yield {
            "skill": verdict.outcome is SkillOutcome.SKILL,
            "worse": verdict.outcome is SkillOutcome.WORSE,
            "t(d) < 0": verdict.t_d < -verdict.critical,
            "rows pooled": bool(g.mean() / g.std() * np.sqrt(len(g)) > 1.645),
            "gate": gate_opened(rows, setting.horizon),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help="independent runs for each line")
    parser.add_argument("--bars", type=int, default=2520, help="bars of each run")
    parser.add_argument("--symbols", type=int, default=20, help="symbols of the panel")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings = [
        Setting(horizon, n_symbols, ic)
        for n_symbols in (1, arguments.symbols)
        for ic in (0.0, 0.05, 0.08)
        for horizon in (1, 5, 20)
    ]
    print(f"{arguments.runs} runs of {arguments.bars} bars; shares of runs in per cent")
    print("symbols    IC   h   skill   worse   t(d) < 0   rows pooled    gate")
    for setting in settings:
        runs = judge_runs(setting, n_runs=arguments.runs, n_bars=arguments.bars, seed=arguments.seed)
        found = [100 * share for share in np.mean([list(run.values()) for run in runs], axis=0)]
        shown = "{:7.1f} {:7.1f} {:10.1f} {:13.1f} {:7.1f}".format(*found)
        print(f"{setting.n_symbols:7} {setting.ic:5.2f} {setting.horizon:3} {shown}", flush=True)


if __name__ == "__main__":
    main()
