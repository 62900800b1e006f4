"""The check of labels: nothing after a label's end moves it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig
from backtester_model_core.factory import create_model
from backtester_model_core.testing.leak import Compute, Leak, rewritten, sessions_of, until
from backtester_model_core.typing import BoolArray


def label_values(config: ModelConfig) -> Compute:
    """Return what labels bars as a configuration says, in the columns ``target``, ``label_end`` and ``known_at``."""

    def compute(bars: pd.DataFrame) -> pd.DataFrame:
        dataset = create_model(config).prepare(bars)
        columns = {"target": dataset.target, "label_end": dataset.label_end, "known_at": dataset.known_at}
        return pd.DataFrame(columns, index=dataset.index)

    return compute


def find_label_leaks(
    compute: Compute, bars: pd.DataFrame, *, cuts: Iterable[int] | None = None, seed: int = 0
) -> list[Leak]:
    """Rewrite, or cut off, all bars after each session, and compare the labels that had ended by then (T4).

    Finds a label that depends on bars after its ``label_end``, and so would slip through every purge; also a
    label that ends before its own row, and a target without an end. A label that shorter bars leave unknown is
    no fault. Cannot find an end that is *later* than it need be: that wastes rows and leaks nothing. Takes
    four computations for each cut.

    Args:
        compute: From bars to a frame on their index with the columns ``target``, ``label_end`` and
            ``known_at``, all instants in UTC.
        bars: Checked bars of one symbol or a panel.
        cuts: Numbers of sessions to keep; every one for which ``compute`` can be asked when not given.
        seed: Of the rewritten futures.
    """
    whole = compute(bars)
    sessions = sessions_of(bars)
    leaks = _impossible_ends(whole)
    known_at = whole["known_at"].to_numpy()
    level = (
        whole.index.get_level_values("timestamp") if isinstance(whole.index, pd.MultiIndex) else whole.index
    )
    for n_kept in cuts if cuts is not None else range(1, len(sessions)):
        last = sessions[n_kept - 1]
        instant = known_at[np.asarray(level == last)].max()
        ended = whole[(whole["label_end"] <= instant).to_numpy()]
        futures = {"cut off": until(bars, last), **rewritten(bars, last, seed=seed)}
        futures.pop("thinned")  # fewer rows: what it could show, cutting off shows
        for name, other in futures.items():
            leaks += _moved(name, ended, compute(other), last)
    return leaks


def _impossible_ends(labels: pd.DataFrame) -> list[Leak]:
    """Report labels that end by their own row's instant, and targets that never end."""
    leaks = []
    early = (labels["label_end"] <= labels["known_at"]).to_numpy()
    endless = (labels["target"].notna() & labels["label_end"].isna()).to_numpy()
    for at_fault, message in ((early, "ends before anything follows its row"), (endless, "has no end")):
        if at_fault.any():
            row = labels.index[int(np.flatnonzero(at_fault)[0])]
            leaks.append(Leak("label", "label_end", row, None, f"a label that {message}"))
    return leaks


def _moved(future: str, ended: pd.DataFrame, labels: pd.DataFrame, last: pd.Timestamp) -> list[Leak]:
    """Report the first ended label that has another value or end; unknown ones are no fault of shorter bars."""
    now = labels.loc[ended.index]
    target, other = ended["target"].to_numpy(), now["target"].to_numpy()
    end, other_end = ended["label_end"].to_numpy(), now["label_end"].to_numpy()
    moved: BoolArray = (target != other) & ~(np.isnan(target) & np.isnan(other))
    ends_elsewhere: BoolArray = end != other_end
    if future == "cut off":
        unknown = np.isnan(other) & np.isnat(other_end)
        moved, ends_elsewhere = moved & ~unknown, ends_elsewhere & ~unknown
    leaks = []
    for column, at_fault, first, second in (
        ("target", moved, target, other),
        ("label_end", ends_elsewhere, end, other_end),
    ):
        if at_fault.any():
            row = int(np.flatnonzero(at_fault)[0])
            message = f"{first[row]!r} with the bars as they are, {second[row]!r} with the future {future}"
            leaks.append(Leak("label", column, ended.index[row], last, message))
    return leaks
