"""Measure how often what the evaluation says is wrong on noise, and how often it finds an edge.

Three tables, as they stand in ``docs/evaluation.md``. For the first, each run walks forward over simulated bars:
persistent features (AR(1), 0.9), returns over ``h`` bars that overlap, an ordinary least-squares model refitted every
63 bars on rows whose labels were known, and the training mean as its baseline. On a panel a common factor moves
features and returns of all symbols. The second asks how often intervals hold the true information coefficient of the
best forecast, the third what is said of the variant that did best among several. Run with::

    python benchmarks/verdict_size.py --runs 200 --out sizes.jsonl

Each finished line is shown, and kept in the file where one is named: a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import asin, pi, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backtester_model_core.evaluation import (
    SkillOutcome,
    deflated_sharpe_ratio,
    gate_opens,
    gate_statistic,
    information_intervals,
    judge_skill,
    judge_symbols,
    probabilistic_sharpe_ratio,
    probability_of_overfitting,
    skill_series,
)

Floats = NDArray[np.float64]

N_FEATURES = 5
PERSISTENCE = 0.9
COMMON = 0.3
"""Share of the variance of features and returns that all symbols have in common."""
N_SYMBOLS = 20
FIRST_TRAIN = 252
TEST = 63
BAND = 0.43
"""Deviations within which a return counts as neither up nor down: a third of them."""
BARS_PER_YEAR = 252
MIN_GATE_HORIZONS = 30
"""Scored horizons below which a walk-forward keeps its gate shut."""


@dataclass(frozen=True)
class Size:
    """How much is simulated for each line."""

    runs: int
    bars: int
    seed: int


@dataclass(frozen=True)
class Setting:
    """One simulated market: bars to hold, symbols, and the true correlation of the best forecast."""

    n_symbols: int
    ic: float
    horizon: int

    @property
    def loading(self) -> float:
        """What one bar's return takes from the first feature, so that over h bars the correlation is the IC."""
        return self.ic * sqrt(self.horizon) / float(np.sum(PERSISTENCE ** np.arange(self.horizon)))

    @property
    def true_coefficients(self) -> dict[str, float]:
        """The coefficients of the first feature, with what it adds to the variance of returns itself.

        Across n symbols they are what normal samples of that size give on average (Fisher 1915; Moran 1948).
        """
        lag = np.abs(np.subtract.outer(np.arange(self.horizon), np.arange(self.horizon)))
        added = self.loading**2 * float(np.sum(PERSISTENCE**lag))
        ic, n = self.ic * sqrt(self.horizon / (self.horizon + added)), self.n_symbols
        return {
            "ic": ic,
            "rank_ic": 6 / pi * asin(ic / 2),
            "ic_across": ic * (1 - (1 - ic**2) / (2 * n)),
            "rank_ic_across": 6 / pi * (asin(ic) + (n - 2) * asin(ic / 2)) / (n + 1),
        }


@dataclass(frozen=True)
class Search:
    """Variants of a strategy that were tried, one of them with a true yearly Sharpe ratio, the others with none."""

    skewed: bool
    n_trials: int
    sharpe: float


@dataclass(frozen=True)
class OutOfSample:
    """The out-of-sample rows of one walk-forward, (n,) each, in time order."""

    time: NDArray[np.int64]
    symbol: NDArray[np.int64]
    outcome: Floats
    forecast: Floats
    baseline: Floats

    def where(self, keep: NDArray[np.bool_]) -> OutOfSample:
        """Return the rows of a mask."""
        columns = (self.time, self.symbol, self.outcome, self.forecast, self.baseline)
        return OutOfSample(*(column[keep] for column in columns))

    @property
    def forecasts(self) -> dict[str, Floats]:
        """What every judgement asks for."""
        return {"outcome": self.outcome, "forecast": self.forecast, "baseline": self.baseline}


def simulate(rng: np.random.Generator, setting: Setting, n_bars: int) -> tuple[Floats, Floats]:
    """Return features (n_bars, n_symbols, n_features) and the overlapping returns (n_bars, n_symbols)."""

    def shocks(*shape: int) -> Floats:
        own, common = rng.standard_normal((n_bars, *shape)), rng.standard_normal((n_bars, 1, *shape[1:]))
        if setting.n_symbols == 1:
            return own
        both: Floats = sqrt(1 - COMMON) * own + sqrt(COMMON) * common
        return both

    features = shocks(setting.n_symbols, N_FEATURES)
    for t in range(1, n_bars):
        features[t] = PERSISTENCE * features[t - 1] + sqrt(1 - PERSISTENCE**2) * features[t]
    horizon, loading = setting.horizon, setting.loading
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
    squares, products, seen = np.zeros((N_FEATURES + 1, N_FEATURES + 1)), np.zeros(N_FEATURES + 1), 0
    for start in range(FIRST_TRAIN, n_bars, TEST):
        known = start - horizon - 1
        x, y = design[seen:known].reshape(-1, N_FEATURES + 1), outcome[seen:known].ravel()
        squares, products, seen = squares + x.T @ x, products + x.T @ y, known
        block = slice(start, start + TEST)
        forecast[block] = design[block] @ np.linalg.solve(squares, products)
        baseline[block] = products[0] / squares[0, 0]
    time, symbol = np.indices(outcome.shape)
    rows = OutOfSample(time.ravel(), symbol.ravel(), outcome.ravel(), forecast.ravel(), baseline.ravel())
    return rows.where(~np.isnan(rows.forecast) & ~np.isnan(rows.outcome))


def gate_opened(rows: OutOfSample, horizon: int) -> bool:
    """Return whether the gate of a walk-forward opens at any window, for as many windows as are planned."""
    starts = range(FIRST_TRAIN + TEST, int(rows.time[-1]) + 1, TEST)
    series = skill_series(rows.time, **rows.forecasts)
    for start in starts:
        known = series.decision_time + 1 + horizon <= start
        n_scored = int(known.sum())
        if n_scored < MIN_GATE_HORIZONS * horizon:
            continue
        # The mean over symbols of a time does not change as time goes on, and is its own product with one.
        z = gate_statistic(
            series.decision_time[known], outcome=series.g[known], forecast=1.0, baseline=0.0, horizon=horizon
        )
        if gate_opens(z, windows_done=n_scored / TEST, planned_windows=len(starts)):
            return True
    return False


def judge_runs(setting: Setting, size: Size) -> Iterator[dict[str, bool]]:
    """Judge independent runs; each gives what the verdict in its forms, two naive tests and the gate say."""
    horizon, many = setting.horizon, setting.n_symbols > 1
    for rng in np.random.default_rng(size.seed).spawn(size.runs):
        features, outcome = simulate(rng, setting, size.bars)
        rows = walk_forward(features, outcome, horizon)
        band = BAND * sqrt(horizon)
        classes = np.where(np.isnan(outcome), np.nan, (outcome > band) * 1.0 - (outcome < -band))
        three_way = walk_forward(features, classes, horizon)
        verdict = judge_skill(rows.time, **rows.forecasts, horizon=horizon)
        drawn = judge_skill(rows.time, **rows.forecasts, horizon=horizon, method="bootstrap")
        of_classes = judge_skill(three_way.time, **three_way.forecasts, horizon=horizon)
        g = (rows.outcome - rows.baseline) * (rows.forecast - rows.baseline)
        said = {
            "skill": verdict.outcome is SkillOutcome.SKILL,
            "by bootstrap": drawn.outcome is SkillOutcome.SKILL,
            "three-way": of_classes.outcome is SkillOutcome.SKILL,
            "worse than naive": verdict.outcome is SkillOutcome.WORSE,
            "t(d) below": verdict.t_d < -verdict.critical,
            "rows pooled": bool(g.mean() / g.std() * sqrt(len(g)) > 1.645),
            "gate opens": gate_opened(rows, horizon),
        }
        if many:
            across = judge_skill(rows.time, **rows.forecasts, horizon=horizon, cross_sectional=True)
            symbols = judge_symbols(rows.time, symbol=rows.symbol, **rows.forecasts, horizon=horizon).values()
            said |= {
                "order of symbols": across.outcome is SkillOutcome.SKILL,
                "any symbol, alone": any(each.t_g > each.critical for each in symbols),
                "any symbol, Holm": any(each.outcome is SkillOutcome.SKILL for each in symbols),
            }
        yield said


def cover_runs(setting: Setting, size: Size) -> Iterator[dict[str, bool]]:
    """Return of each run which intervals hold the true coefficient of the best forecast."""
    true = setting.true_coefficients
    for rng in np.random.default_rng(size.seed).spawn(size.runs):
        features, outcome = simulate(rng, setting, size.bars)
        intervals = information_intervals(
            outcome.ravel(),
            forecast=features[:, :, 0].ravel(),
            decision_time=np.indices(outcome.shape)[0].ravel(),
            horizon=setting.horizon,
        )
        names = list(true) if setting.n_symbols > 1 else ["ic", "rank_ic"]
        yield {f"`{name}`": bool(intervals[name][0] <= true[name] <= intervals[name][1]) for name in names}


def search_runs(search: Search, size: Size) -> Iterator[dict[str, bool]]:
    """Return of each run what is said of the variant that did best."""
    for rng in np.random.default_rng(size.seed).spawn(size.runs):
        shape = (size.bars, search.n_trials)
        returns = 1 - rng.exponential(size=shape) if search.skewed else rng.standard_normal(shape)
        returns[:, 0] += search.sharpe / sqrt(BARS_PER_YEAR)
        best = returns[:, np.argmax(returns.mean(axis=0) / returns.std(axis=0))]
        said = {
            "probabilistic > 95 %": probabilistic_sharpe_ratio(best) > 0.95,
            "deflated > 95 %": deflated_sharpe_ratio(best, n_trials=search.n_trials) > 0.95,
        }
        if search.n_trials > 1:
            overfitting = probability_of_overfitting(returns, n_blocks=10).probability
            said |= {"overfitting < 5 %": overfitting < 0.05, "overfitting < 50 %": overfitting < 0.5}
        yield said


Case = Setting | Search


@dataclass(frozen=True)
class Table:
    """One table: its lines, what leads each of them, and what is measured for it."""

    name: str
    lead: tuple[str, ...]
    figures: tuple[str, ...]
    cases: tuple[Case, ...]
    runs_of: Callable[..., Iterator[dict[str, bool]]]

    @property
    def header(self) -> str:
        """The first two lines of the table in Markdown."""
        names = (*self.lead, *self.figures)
        return _line(names) + "\n" + "|" + "---:|" * len(names)

    def row(self, case: Case, shares: Mapping[str, float]) -> str:
        """One line in Markdown: shares in per cent, a dash for what there is none of."""
        figures = [f"{shares[name]:.1f}" if name in shares else "-" for name in self.figures]
        return _line([*self.leading(case), *figures])

    def leading(self, case: Case) -> list[str]:
        """The cells that say what a line is about."""
        if isinstance(case, Search):
            return ["skewed" if case.skewed else "normal", str(case.n_trials), f"{case.sharpe:g}"]
        return [str(case.n_symbols), f"{case.ic:g}", str(case.horizon)]


def tables() -> tuple[Table, ...]:
    """Return the three tables, unmeasured."""
    settings = tuple(
        Setting(n_symbols, ic, horizon)
        for n_symbols in (1, N_SYMBOLS)
        for ic in (0.0, 0.05, 0.08)
        for horizon in (1, 5, 20)
    )
    searches = tuple(
        Search(skewed, n_trials, sharpe)
        for skewed in (False, True)
        for sharpe in (0.0, 1.0)
        for n_trials in (1, 10, 100)
    )
    said = (
        "skill",
        "by bootstrap",
        "three-way",
        "worse than naive",
        "t(d) below",
        "rows pooled",
        "gate opens",
    )
    of_symbols = ("order of symbols", "any symbol, alone", "any symbol, Holm")
    coefficients = ("`ic`", "`rank_ic`", "`ic_across`", "`rank_ic_across`")
    of_best = ("probabilistic > 95 %", "deflated > 95 %", "overfitting < 5 %", "overfitting < 50 %")
    lead = ("symbols", "true IC", "horizon")
    return (
        Table("verdict", lead, said + of_symbols, settings, judge_runs),
        Table("intervals", lead, coefficients, settings, cover_runs),
        Table("best of many", ("returns", "trials", "true Sharpe"), of_best, searches, search_runs),
    )


def measure(table: Table, size: Size, *, done: dict[str, dict[str, float]]) -> Iterator[tuple[Case, str]]:
    """Give each line of a table as it is ready, and put its shares into ``done``."""
    for case in table.cases:
        key = json.dumps([table.name, asdict(case), asdict(size)])
        if key not in done:
            runs = list(table.runs_of(case, size))
            done[key] = {name: 100 * sum(run[name] for run in runs) / len(runs) for name in runs[0]}
        yield case, key


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help="independent runs for each line")
    parser.add_argument("--bars", type=int, default=2520, help="bars of each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two short runs a line: to see that it runs")
    parser.add_argument("--out", type=Path, help="file that keeps finished lines, and from which to go on")
    arguments = parser.parse_args()
    size = Size(2, 400, 0) if arguments.quick else Size(arguments.runs, arguments.bars, arguments.seed)
    kept = arguments.out.read_text().splitlines() if arguments.out and arguments.out.exists() else []
    done: dict[str, dict[str, float]] = dict(json.loads(line) for line in kept)
    print(f"{size.runs} runs of {size.bars} bars a line; shares of runs in per cent")
    for table in tables():
        print(f"\n{table.header}")
        for case, key in measure(table, size, done=done):
            print(table.row(case, done[key]), flush=True)
            if arguments.out:
                arguments.out.write_text("".join(json.dumps(item) + "\n" for item in done.items()))


if __name__ == "__main__":
    main()
