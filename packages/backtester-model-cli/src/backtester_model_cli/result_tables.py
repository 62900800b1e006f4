"""A walk-forward's result as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING

from backtester_model_cli.console import new_table
from backtester_model_cli.formats import format_number, format_share, format_stamps

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from backtester_model_core.walkforward import WalkForwardResult

MAX_WINDOWS = 40
MAX_EVENTS = 15

WINDOW_METRICS = ("accuracy", "roc_auc", "rmse", "r2_oos", "ic")
"""The metrics of a window that fit into a line; ``windows.csv`` has all of them."""

WINDOW_SHARES: Mapping[str, str] = {"hit_rate": "hits", "net_return": "net", "mean_turnover": "traded"}
"""What a window's signals came to, in per cent."""

MAX_SYMBOLS = 20

ROUTINE = {"trained", "calibrated"}
"""Events of every window."""

SHARES = {"total_return", "annualised_return", "annualised_volatility", "max_drawdown"}
"""Figures that are shown in per cent."""

CALIBRATION: Mapping[str, str] = {
    "n": "n",
    "brier": "Brier score",
    "log_loss": "log loss",
    "ece": "calibration error",
    "ece_if_perfect": "a perfect forecaster's",
}

STAGES: Mapping[str, tuple[str, str]] = {
    "bars": ("bars", ""),
    "complete_features": ("with complete features", "warm-up"),
    "known_label": ("and a known label", "outcomes still to come"),
    "trained_on": ("that trained in a window", "bars after the last training"),
    "served": ("bars served by a window", ""),
    "foreseen": ("with a forecast", "warm-up, or a refused training"),
    "in_date": ("of a model that has not expired", "a model past retraining.expires_after"),
    "with_probability": ("with a probability", "too few earlier residuals"),
    "past_gate": ("past the skill gate", "no skill shown by then"),
    "above_signal_threshold": ("past signal_threshold", "a probability below it"),
    "above_confidence": ("past the confidence wanted", "a confidence below it"),
    "above_cost": ("past what trading costs", "an edge that does not pay for its trades"),
    "selected": ("among the selected symbols", "other symbols' higher or lower scores"),
    "acted": ("signals for a position", "none of either side"),
}
"""Of each stage of the funnel, what it counts and to what the others were lost. From ``served`` on it counts the
bars that a window served."""

REMEDIES: Mapping[str, str] = {
    "foreseen": "Read the refusals among the events; a longer training window is the usual answer.",
    "in_date": "Raise retraining.expires_after, or train more often.",
    "with_probability": "A regression wants 200 earlier out-of-sample rows: lengthen the training window.",
    "past_gate": 'The model has shown no skill; to see its signals all the same, set gate.mode = "warn".',
    "above_signal_threshold": "Lower signal_threshold.",
    "above_confidence": (
        "An honest confidence rarely reaches 0.6 on daily bars; try confidence_threshold = 0.52, or "
        'thresholds.entry = "quantile".'
    ),
    "above_cost": (
        "On earlier rows no threshold, or no bet, paid for its trades: compare the windows' break_even with the "
        "confidences, and the costs with what they are."
    ),
    "selected": "Raise sizing.n_selected.",
}


def windows_table(result: WalkForwardResult) -> Table:
    """Show one line for each window: its dates, its training rows, its metrics, the gate."""
    windows = result.windows
    metrics = [name for name in WINDOW_METRICS if name in windows]
    counts = ["n_train", "n_served", *(["n_refused"] if (windows["n_refused"] > 0).any() else [])]
    dates = {"fitted": format_stamps(windows["fit_at"]), "serves to": format_stamps(windows["serves_to"])}
    table = new_table(
        "Windows", ["#", *dates, *counts, *metrics, *WINDOW_SHARES.values(), "gate t(g)"], text=list(dates)
    )
    hidden = range(MAX_WINDOWS // 2, len(windows) - MAX_WINDOWS // 2)
    for position, (number, row) in enumerate(windows.iterrows()):
        if position in hidden:
            if position == hidden.start:
                table.add_row("...", f"{len(hidden)} more in", "windows.csv")
            continue
        figures = [format_number(row[name]) for name in (*counts, *metrics)]
        figures += [format_share(row[name], digits=1) for name in WINDOW_SHARES]
        gate = f"{format_number(row['gate_statistic'], digits=2)} {'open' if row['gate_open'] else 'shut'}"
        table.add_row(str(number), *(column[position] for column in dates.values()), *figures, gate)
    return table


def verdicts_table(result: WalkForwardResult) -> Table | None:
    """Show the verdicts of a panel taken apart: the order of its symbols, and each of them; ``None`` for one symbol.

    The symbols' p-values are adjusted for how many they are; the likeliest to have skill come first.
    """
    if result.order_verdict is None:
        return None
    table = new_table(
        "Skill, taken apart",
        ["of", "verdict", "t(g)", "adjusted p", "decision times"],
        text=["of", "verdict"],
    )
    symbols = sorted(result.symbol_verdicts.items(), key=lambda item: (isnan(item[1].p_g), item[1].p_g))
    for name, verdict in [("order of symbols", result.order_verdict), *symbols[:MAX_SYMBOLS]]:
        p = format_number(verdict.p_g, digits=3)
        table.add_row(name, str(verdict.outcome), format_number(verdict.t_g, digits=2), p, f"{verdict.n:,}")
    if len(symbols) > MAX_SYMBOLS:
        table.add_row("...", f"{len(symbols) - MAX_SYMBOLS} more in metrics.json")
    return table


def metrics_table(result: WalkForwardResult) -> Table:
    """Show the out-of-sample metrics beside those of what needs no model."""
    table = new_table(
        "Out of sample, beside what needs no model", ["metric", "model", *result.baselines], text=["metric"]
    )
    is_single = not result.metrics.get("n_across")
    for name, value in result.metrics.items():
        if is_single and "_across" in name:  # the order of several symbols, which one has not
            continue
        others = (format_number(figures.get(name)) for figures in result.baselines.values())
        table.add_row(name, format_number(value), *others)
    return table


def calibration_table(result: WalkForwardResult) -> Table:
    """Show whether probabilities meant what they said: scores and calibration errors, beside a perfect forecaster's."""
    table = new_table(
        "Probability of a rise, out of sample", ["figure", *result.calibration], text=["figure"]
    )
    for name, label in CALIBRATION.items():
        figures = (format_number(values[name]) for values in result.calibration.values())
        table.add_row(label, *figures)
    return table


def signals_table(result: WalkForwardResult) -> Table:
    """Show, by signal type, how many there were, how often they hit, and what followed."""
    table = new_table("Signals", ["signal", "n", "hit rate", "mean forward return"], text=["signal"])
    for name, row in result.signal_table.iterrows():
        table.add_row(
            str(name),
            format_number(int(row["n"])),
            format_share(row["hit_rate"]),
            format_share(row["mean_forward_return"], digits=3),
        )
    return table


def returns_table(result: WalkForwardResult) -> Table:
    """Show the simple return after costs of the signals, beside always long and buy-and-hold."""
    paths = result.return_metrics
    costs = result.config.costs
    title = f"Returns after costs ({costs.one_way * 1e4:g} bps one way; {costs.year:g} bars in a year)"
    table = new_table(title, ["figure", *(name.replace("_", " ") for name in paths)], text=["figure"])
    for name in dict.fromkeys(name for figures in paths.values() for name in figures):
        show = format_share if name in SHARES else format_number
        table.add_row(name, *(show(figures.get(name)) for figures in paths.values()))
    return table


def funnel_table(result: WalkForwardResult) -> Table:
    """Show how many rows pass each stage from bars to signals: the answer to "why no trades?"."""
    table = new_table("From bars to signals", ["stage", "rows", "lost", "lost to"], text=["stage", "lost to"])
    losses = _losses(result.funnel)
    for stage, count in result.funnel.items():
        what, why = STAGES.get(stage, (stage, ""))
        lost = losses.get(stage, 0)
        table.add_row(what, format_number(count), format_number(lost) if lost else "", why if lost else "")
    return table


def funnel_sentence(result: WalkForwardResult) -> str | None:
    """Say what stopped the most served bars and what to do, where no signal asks for a position; else ``None``."""
    if result.funnel["acted"] > 0:
        return None
    losses = _losses(result.funnel)
    worst = max(REMEDIES, key=lambda stage: losses[stage])
    n_served, why = result.funnel["served"], STAGES[worst][1]
    most = f"{losses[worst]:,} of {n_served:,} served bars"
    return f"No signal asks for a position. What stopped the most, {most}: {why}. {REMEDIES[worst]}"


def _losses(funnel: Mapping[str, int]) -> dict[str, int]:
    """Return how many rows each stage lost; a served bar need not have trained, so there the count starts anew."""
    pairs = zip(funnel, list(funnel)[1:], strict=False)
    return {stage: funnel[before] - funnel[stage] for before, stage in pairs if stage != "served"}


def events_table(result: WalkForwardResult) -> Table | None:
    """Show the events that matter: refusals, the gate, suggestions to retrain; ``None`` when there was none."""
    events = result.events[~result.events["kind"].isin(ROUTINE)]
    if events.empty:
        return None
    table = new_table("Events", ["at", "window", "event", "message"], text=["at", "event", "message"])
    shown = events.head(MAX_EVENTS)
    for at, (_, event) in zip(format_stamps(shown["at"]), shown.iterrows(), strict=True):
        table.add_row(at, str(event["window"]), event["kind"].replace("_", " "), event["message"])
    if len(events) > MAX_EVENTS:
        table.add_row("...", "", "", f"{len(events) - MAX_EVENTS} more in events.csv")
    return table


def frame_table(title: str, frame: pd.DataFrame) -> Table:
    """Show a frame of numbers, its index first."""
    table = new_table(title, [str(frame.index.name), *map(str, frame.columns)], text=[str(frame.index.name)])
    for name, *values in frame.itertuples():
        table.add_row(str(name), *map(format_number, values))
    return table


def comparison_table(model_name: str, comparison: pd.DataFrame) -> Table:
    """Show one line for each retraining policy: trainings, what became of challengers, skill, returns, time."""
    counts = ["trainings", "promoted", "kept", "rolled_back"]
    shares = ["accuracy", "net_return", "stale_share"]
    table = new_table(
        f"Retraining of {model_name}",
        ["policy", *(str(name).replace("_", " ") for name in comparison)],
        text=["policy"],
    )
    for policy, *values in comparison.itertuples():
        row = dict(zip(map(str, comparison), values, strict=True))
        shown = {name: format_number(value, digits=2) for name, value in row.items()}
        shown |= {name: format_number(int(row[name])) for name in counts}
        shown |= {name: format_share(row[name]) for name in shares}
        shown["skill"] = format_number(row["skill"], digits=5)
        table.add_row(str(policy), *shown.values())
    return table
