"""Checks of features: enough history, one value live and in batch, no target among them, no other symbol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from backtester_model_core.bars import Panel
from backtester_model_core.bars.panel import SINGLE_SYMBOL
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.features import Expression, FeatureStream, evaluate
from backtester_model_core.testing.leak import Compute, Leak, differences

MULTIPLES = (1, 2, 4, 8)
FORGOTTEN = 1e-4
"""Share of a value that history older than once the declared memory may make up."""
CONVERGED = 1e-9
"""Share of a value that history older than twice the declared memory, or more, may make up."""


def feature_values(expressions: Mapping[str, Expression]) -> Compute:
    """Return what computes expressions over bars, as the checks take it."""

    def compute(bars: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            evaluate(expressions, Panel.of(bars)), index=bars.index, columns=list(expressions)
        )

    return compute


def memory_of(expressions: Mapping[str, Expression]) -> dict[str, int | None]:
    """Return the memory that expressions declare, ``None`` for those that declare to remember everything."""
    return {
        name: None if getattr(expression, "anchored", False) else expression.memory_bars
        for name, expression in expressions.items()
    }


def find_warm_up_leaks(
    compute: Compute,
    bars: pd.DataFrame,
    *,
    memory_bars: Mapping[str, int | None],
    multiples: Iterable[int] = MULTIPLES,
    n_ends: int = 3,
) -> list[Leak]:
    """Compare the last value from 1, 2, 4 and 8 times the declared memory with that of the full history (T3).

    Finds a feature whose live value depends on where its history happens to begin: a memory declared too
    short, an average that has not converged, a cumulative column that never will. Cannot find a dependence on
    old bars that these bars do not show, and looks at some ends only. Takes ``n_ends`` computations for each
    memory and multiple.

    Args:
        compute: What is to be checked, over one symbol's bars.
        bars: One symbol's bars, longer than the longest memory.
        memory_bars: For each column the number of earlier bars that matter to a value; ``None`` declares that
            all do, and the column is left out.
        multiples: Of the memory; those that the bars are too few for are left out, except the first.
        n_ends: Number of last bars, evenly spaced over the later half of the bars.

    Raises:
        EvaluationError: When the bars are too few for one memory.
    """
    whole = compute(bars)
    last_values: dict[tuple[int, int], pd.Series] = {}  # columns of one memory begin and end alike
    leaks: dict[str, Leak] = {}
    for name, memory in memory_bars.items():
        if memory is None:
            continue
        if memory + 2 > len(bars):
            raise EvaluationError(
                f"{len(bars)} bars cannot show that {name!r} remembers no more than {memory}. Bring more bars."
            )
        spread = float(np.nanstd(whole[name].to_numpy())) if whole[name].notna().any() else 0.0
        first_end = max(len(bars) // 2, memory + 1)
        for end in np.unique(np.linspace(first_end, len(bars) - 1, n_ends).astype(int)).tolist():
            for multiple in multiples:
                start = end - multiple * memory
                if start <= 0:
                    break
                if (start, end) not in last_values:
                    last_values[start, end] = compute(bars.iloc[start : end + 1]).iloc[-1]
                recent = float(last_values[start, end][name])
                full = float(whole[name].iloc[end])
                allowed = (FORGOTTEN if multiple == 1 else CONVERGED) * max(abs(full), spread)
                if not (abs(recent - full) <= allowed or (np.isnan(recent) and np.isnan(full))):
                    message = (
                        f"{full!r} with the full history, {recent!r} with {multiple} x the declared memory "
                        f"of {memory} bars"
                    )
                    leaks[name] = Leak("warm-up", name, bars.index[end], None, message)
    return list(leaks.values())


def find_stream_leaks(
    expressions: Mapping[str, Expression],
    bars: pd.DataFrame,
    *,
    stream: Callable[[Mapping[str, Expression]], FeatureStream] = FeatureStream,
) -> list[Leak]:
    """Feed bars to a stream one by one, and compare its bits with those of the whole panel (T8).

    Finds a batch that knows more than one bar at a time can tell, state that symbols share, and values that
    differ between live trading and the backtest. Cannot find what batch and stream do wrong alike: that is
    what truncation is for. Takes one computation and one stream over the bars, in two orders of symbols.

    Args:
        expressions: Column name to expression.
        bars: Checked bars of one symbol or a panel.
        stream: What makes the stream.
    """
    whole = feature_values(expressions)(bars)
    is_panel = isinstance(bars.index, pd.MultiIndex)
    symbols = bars.index.get_level_values("symbol") if is_panel else pd.Index([SINGLE_SYMBOL] * len(bars))
    orders = {"in order of time": np.arange(len(bars))}
    if is_panel:
        orders["symbol after symbol"] = np.argsort(symbols, kind="stable")
    leaks: list[Leak] = []
    records = bars.to_dict("records")
    for said, order in orders.items():
        live = stream(expressions)
        values = np.empty(whole.shape)
        for row in order.tolist():
            values[row] = live.update(str(symbols[row]), {str(k): v for k, v in records[row].items()})
        streamed = pd.DataFrame(values, index=whole.index, columns=whole.columns)
        leaks += differences("stream", whole, streamed, None, between=("in the batch", f"streamed {said}"))
    return leaks


def find_order_leaks(
    compute: Compute, rows: pd.DataFrame, *, seed: int = 0, tolerance: float = 0.0
) -> list[Leak]:
    """Ask about rows in another order, in halves and one by one, and compare the answers (T8).

    Finds statistics that are taken over the rows of a call, such as a scaler, a rank or a threshold of the
    batch. Cannot find what was fitted beforehand. Takes five computations and one for each of twenty rows.

    Args:
        compute: From feature rows to a frame with one row for each, such as a trained model's predictions.
        rows: Feature rows.
        seed: Of the order.
        tolerance: Relative difference that counts as equal; a matrix product may differ in its last digits
            between batches of different length.
    """
    whole = compute(rows)
    rng = np.random.default_rng(seed)
    half = len(rows) // 2
    parts = {
        "shuffled": rows.iloc[rng.permutation(len(rows))],
        "reversed": rows.iloc[::-1],
        "in the first half": rows.iloc[:half],
        "in the second half": rows.iloc[half:],
    }
    some = np.unique(np.linspace(0, len(rows) - 1, 20).astype(int)).tolist()
    parts |= {f"alone, row {row}": rows.iloc[[row]] for row in some}
    leaks: list[Leak] = []
    for said, part in parts.items():
        answer = compute(part)
        between = ("among all rows", said)
        leaks += differences("row order", whole, answer, None, between=between, tolerance=tolerance)
    return leaks


def find_symbol_leaks(compute: Compute, panel: pd.DataFrame, *, seed: int = 0) -> list[Leak]:
    """Drop, add, rewrite and rename symbols, and compare what is computed for the others (T14).

    Finds features, or predictions of a model for each symbol, that take something from another symbol: a mean
    over all, a state that is not reset, a fill across the border. Columns that are *meant* to compare symbols
    are found as well: leave them out. Cannot find an influence that none of the changes touches. Takes five
    computations.

    Args:
        compute: What is to be checked.
        panel: Checked bars of at least two symbols.
        seed: Of the rewritten prices.

    Raises:
        EvaluationError: When there is no other symbol.
    """
    names = panel.index.get_level_values("symbol")
    first, *others = sorted(names.unique())
    if not others:
        raise EvaluationError("One symbol alone cannot show what another one changes. Bring a panel.")
    whole = compute(panel)
    last, is_last = others[-1], names == others[-1]
    changed, prices = panel.copy(), ["open", "high", "low", "close"]
    steps = np.random.default_rng(seed).normal(0.0, 0.05, int(is_last.sum()))
    changed.loc[is_last, prices] = panel.loc[is_last, prices].to_numpy() * np.exp(np.cumsum(steps))[:, None]
    extra = changed[is_last].rename(index={last: f"{last}+"}, level="symbol")
    added = pd.concat([panel, extra]).sort_index()
    variants = {
        f"without {last}": panel[~is_last],
        f"with another {last}": changed,
        "with one symbol more": added,
        f"beside a {first} in last place": panel.rename(
            index={first: f"~{first}"}, level="symbol"
        ).sort_index(),
    }
    leaks: list[Leak] = []
    for said, variant in variants.items():
        part = compute(variant)
        of_others = part.index.get_level_values("symbol").isin([last, f"{last}+", f"~{first}"])
        leaks += differences("symbols", whole, part[~of_others], None, between=("in the panel", said))
    return leaks
