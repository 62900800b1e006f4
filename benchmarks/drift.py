"""Measure what monitoring costs, how often it cries wolf, and what it finds: the tables of docs/monitoring.md.

``python benchmarks/drift.py features`` plants shifts into four of 24 features and counts the runs in which each is
found, and those in which one of the twenty others is called drifted. ``joint`` does the same for correlations and the
domain classifier, ``errors`` for the detectors on streams of errors, and ``cost`` times all of it. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtester_model_core import ModelConfig, load_config, walk_forward
from backtester_model_core.events import Event
from backtester_model_core.factory import create_model
from backtester_model_core.monitoring import DETECTORS, Monitor, Reference, TrainingRows
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import second_pass

Floats = NDArray[np.float64]

N_TRAINED, N_SERVED, N_STEADY = 1000, 504, 20
AT = np.datetime64("2000-01-03", "ns") + np.arange(N_TRAINED + N_SERVED) * np.timedelta64(1, "D")


# -- series ---------------------------------------------------------------------------------------------------------


def independent(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.standard_normal(shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.standard_t(3, shape) / np.sqrt(3)


def persistent(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    rows = rng.standard_normal(shape)
    for t in range(1, len(rows)):
        rows[t] = 0.9 * rows[t - 1] + np.sqrt(1 - 0.81) * rows[t]
    return rows


def twenty_bar_mean(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    total = np.cumsum(rng.standard_normal((shape[0] + 20, shape[1])), axis=0)
    return (total[20:] - total[:-20]) / np.sqrt(20)


def clustered(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Returns of GARCH(1, 1) with coefficients 0.1 and 0.85 (Bollerslev 1986), of variance one."""
    rows, variance = np.empty(shape), np.ones(shape[1])
    for t in range(shape[0]):
        rows[t] = np.sqrt(variance) * rng.standard_normal(shape[1])
        variance = 0.05 + 0.1 * rows[t] ** 2 + 0.85 * variance
    return rows


SERIES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "independent": independent,
    "heavy tails, t(3)": heavy_tailed,
    "persistent, AR 0.9": persistent,
    "20-bar mean": twenty_bar_mean,
    "clustered, GARCH": clustered,
}


# -- features -------------------------------------------------------------------------------------------------------

SHIFTS: dict[str, Callable[[Floats], Floats]] = {
    "mean + 0.5": lambda live: live + 0.5,
    "mean + 1": lambda live: live + 1.0,
    "deviation x 1.5": lambda live: live * 1.5,
    "deviation x 2": lambda live: live * 2.0,
}


def watched(rows: Floats, names: tuple[str, ...], measures: Sequence[str]) -> dict[str, int]:
    """Let a monitor see the rows that were not trained on; return the bars until each was named."""
    config = ModelConfig(framework="none", monitoring={"measures": tuple(measures)})
    trained_on = TrainingRows.of(names, rows[:N_TRAINED], AT[:N_TRAINED])
    monitor = Monitor(config, Reference.of(trained_on, config.monitoring))
    monitor.saw_rows(AT[N_TRAINED:], rows[N_TRAINED:], np.full(N_SERVED, np.nan))
    found: dict[str, int] = {}
    for event in monitor.events:
        if event.kind == "feature_drift":
            bars = int(np.searchsorted(AT, event.at)) - N_TRAINED + 1
            for name in event.figures:
                found.setdefault(name.split(" by ")[0], bars)
    return found


def feature_table(runs: int) -> Iterator[str]:
    """Yield the table of false alarms on twenty steady features, and of shifts found in four more."""
    shifted = tuple(SHIFTS)
    names = (*shifted, *(f"steady {k}" for k in range(N_STEADY)))
    yield table_row(["measures", "series", "false alarms", *shifted])
    yield "|---|---|" + "---:|" * (1 + len(shifted))
    for measures in (("psi", "ks"), ("psi",), ("ks",), ("wasserstein",)):
        for kind, simulate in SERIES.items():
            found = []
            for rng in np.random.default_rng(0).spawn(runs):
                rows = simulate(rng, (N_TRAINED + N_SERVED, len(names)))
                for j, name in enumerate(shifted):
                    rows[N_TRAINED:, j] = SHIFTS[name](rows[N_TRAINED:, j])
                found.append(watched(rows, names, measures))
            alarms = np.mean([any(name.startswith("steady") for name in run) for run in found])
            cells = [found_cell([run.get(name) for run in found]) for name in shifted]
            yield table_row([", ".join(measures), kind, f"{alarms:.1%}", *cells])


# -- all features together ------------------------------------------------------------------------------------------

N_JOINT = 8


def joint_table(runs: int) -> Iterator[str]:
    """Yield the table of the domain classifier on eight features, two of which come to move together."""
    correlations = (0.0, 0.6, 0.9)
    yield table_row(["series", "false alarms", *(f"correlation {c:g}" for c in correlations[1:])])
    yield "|---|" + "---:|" * len(correlations)
    names = tuple(f"feature {k}" for k in range(N_JOINT))
    for kind in ("independent", "heavy tails, t(3)", "20-bar mean"):
        cells = []
        for correlation in correlations:
            found = []
            for rng in np.random.default_rng(1).spawn(runs):
                rows = SERIES[kind](rng, (N_TRAINED + N_SERVED, N_JOINT))
                live = rows[N_TRAINED:]
                live[:, 1] = correlation * live[:, 0] + np.sqrt(1 - correlation**2) * live[:, 1]
                found.append(watched(rows, names, ("domain_classifier",)).get("all features"))
            share = np.mean([bars is not None for bars in found])
            cells.append(found_cell(found) if correlation else f"{share:.1%}")
        yield table_row([kind, *cells])


# -- errors ---------------------------------------------------------------------------------------------------------

N_ERRORS, N_BEFORE = 2520, 1260
RISES = (0.5, 0.55, 0.6, 0.7)


def error_stream(rng: np.random.Generator, rate_after: float, *, clustering: float) -> Floats:
    """Return errors of rate 0.5, and another in the second half; with a chance each repeats the one before."""
    rate = np.where(np.arange(N_ERRORS) < N_BEFORE, 0.5, rate_after)
    errors = (rng.random(N_ERRORS) < rate).astype(np.float64)
    repeats = rng.random(N_ERRORS) < clustering
    for t in range(1, N_ERRORS):
        if repeats[t]:
            errors[t] = errors[t - 1]
    return errors


def error_table(runs: int) -> Iterator[str]:
    """Yield the table of the detectors on streams of errors."""
    yield table_row(["detector", "errors", "false alarms", *(f"0.5 to {rise:g}" for rise in RISES[1:])])
    yield "|---|---|" + "---:|" * len(RISES)
    for name in ("adwin", "page_hinkley", "ddm"):
        for kind, clustering in (("independent", 0.0), ("clustered, 0.2", 0.2)):
            cells = []
            for rise in RISES:
                found: list[int | None] = []
                n_false = 0
                for rng in np.random.default_rng(2).spawn(runs):
                    detector = DETECTORS[name]()
                    stream = error_stream(rng, rise, clustering=clustering)
                    alarms = [t for t, value in enumerate(stream.tolist()) if detector.update(value)]
                    n_false += bool(alarms)
                    late = [t - N_BEFORE + 1 for t in alarms if t >= N_BEFORE]
                    found.append(late[0] if late else None)
                cells.append(found_cell(found) if rise > 0.5 else f"{n_false / runs:.1%}")
            yield table_row([name, kind, *cells])


# -- cost -----------------------------------------------------------------------------------------------------------


def cost_table(runs: int) -> Iterator[str]:
    """Yield what monitoring costs, as ratios measured in turn in one process; times are processor times."""
    yield table_row(["what", "without", "with monitoring", "more"])
    yield "|---|---:|---:|---:|"
    fields = {
        "framework": "sklearn",
        "model_class": "LogisticRegression",
        "gate": {"mode": "off"},
        "validation": {"train_size": 1000, "test_size": 38},
    }
    off, on = (load_config({**fields, "enable_monitoring": flag}) for flag in (False, True))
    rng = np.random.default_rng(3)
    dataset = create_model(on).prepare(random_bars(2050))
    rows = dataset.take(dataset.is_complete & dataset.is_labelled)
    trained = {flag: create_model(config) for flag, config in (("off", off), ("on", on))}
    yield cost_row(
        "training, 2,000 rows, logistic",
        *([lambda flag=flag: trained[flag].train_dataset(rows) for flag in ("off", "on")]),
        runs=runs,
    )
    frame = rows.features.iloc[-1:]
    yield cost_row(
        "predicting one row",
        *([lambda flag=flag: trained[flag].predict(frame) for flag in ("off", "on")]),
        runs=20 * runs,
    )
    yield walk_forward_row("walk-forward, 1 symbol, 40 windows", on, random_bars(2520), runs=3)
    yield walk_forward_row("walk-forward, 100 symbols, 40 windows", on, random_panel(100, 2520), runs=1)
    values = rng.standard_normal((N_TRAINED + N_SERVED, N_STEADY))
    names = tuple(f"feature {k}" for k in range(N_STEADY))
    reference = Reference.of(TrainingRows.of(names, values[:N_TRAINED], AT[:N_TRAINED]), on.monitoring)
    times: list[float] = []
    means = []
    for _ in range(5):
        monitor, begun = Monitor(on, reference), time.process_time()
        for row in range(N_TRAINED, len(values)):
            started = time.perf_counter()
            monitor.saw(AT[row], values[row], 0.5, 1e-5)
            times.append(1e6 * (time.perf_counter() - started))
        means.append(1e6 * (time.process_time() - begun) / N_SERVED)
    yield ""
    yield (
        f"One live row of {N_STEADY} features: median {np.median(times):.1f} us, "
        f"90 of 100 within {np.quantile(times, 0.9):.1f} us, "
        f"mean of processor time with the looks {min(means):.0f} us."
    )


def walk_forward_row(what: str, config: ModelConfig, bars: pd.DataFrame, *, runs: int) -> str:
    """Take the time of the monitoring inside a walk-forward apart: between two runs other things differ more."""
    spent: list[float] = []
    watch_windows = second_pass.watch_windows

    def timed(*arguments: Any, **named: Any) -> list[Event]:
        started = time.process_time()
        events = watch_windows(*arguments, **named)
        spent.append(time.process_time() - started)
        return events

    second_pass.watch_windows = timed
    best = (np.inf, np.inf)
    try:
        for _ in range(runs):
            started = time.process_time()
            walk_forward(config, bars)
            whole = time.process_time() - started
            best = min(best, (whole - spent[-1], whole))
    finally:
        second_pass.watch_windows = watch_windows
    off, on = best
    return table_row([what, f"{1e3 * off:,.4g} ms", f"{1e3 * on:,.4g} ms", f"{on / off - 1:+.1%}"])


def cost_row(what: str, *works: Callable[[], object], runs: int) -> str:
    best = [np.inf, np.inf]
    for work in works:
        work()
    for _ in range(runs):
        for k, work in enumerate(works):
            started = time.process_time()
            work()
            best[k] = min(best[k], time.process_time() - started)
    off, on = best
    return table_row([what, f"{1e3 * off:,.3g} ms", f"{1e3 * on:,.3g} ms", f"{on / off - 1:+.1%}"])


# -- printing -------------------------------------------------------------------------------------------------------


def found_cell(bars: Sequence[int | None]) -> str:
    """Say in what share of runs a shift was found, and after how many bars in the middle."""
    known = [each for each in bars if each is not None]
    share = len(known) / len(bars)
    return f"{share:.0%} ({np.median(known):.0f})" if known else "0%"


def table_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


TABLES: dict[str, tuple[Callable[[int], Iterator[str]], int]] = {
    "features": (feature_table, 200),
    "joint": (joint_table, 25),
    "errors": (error_table, 200),
    "cost": (cost_table, 20),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables", nargs="*", help="which of features, joint, errors, cost; all when not given"
    )
    parser.add_argument("--quick", action="store_true", help="one run each: to see that it runs")
    arguments = parser.parse_args()
    for name in arguments.tables or TABLES:
        table, runs = TABLES[name]
        print(f"\n{name}")
        for line in table(1 if arguments.quick else runs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
