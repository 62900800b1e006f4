"""A finished run, replayed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from backtester_model_core.bars import check_bars
from backtester_model_core.replay.beside import Progress, Replay
from backtester_model_core.replay.recorded import check_recorded, replayable_config
from backtester_model_core.replay.report import ReplayReport
from backtester_model_core.walkforward import read_bars, walk_windows


def replay_diff(
    run: str | Path, bars: pd.DataFrame | None = None, *, fast: bool = True, progress: Progress | None = None
) -> ReplayReport:
    """Feed a run's bars to a stream, one at a time, and compare everything with what the run found.

    The run is walked again from its folder, which must give the predictions and signals recorded there; nothing of
    it is changed. Each window's model is trained again, by the same rows and seed; features and memory run through
    from the first bar. Features must agree in every bit, forecasts to 1e-9 of the largest (1e-6 where the adapter has a
    compiled step), and signals wherever the score does not lie that close to a threshold.

    Args:
        run: The folder of a finished walk-forward.
        bars: Bars to feed instead of those that the run keeps, such as today's download of the same history. Where
            they were edited, the first bar, feature and value that differ are named.
        fast: Whether compiled steps may be used.
        progress: Called as windows are replayed.

    Raises:
        RunError: When the folder holds no finished run, one whose models continue each other, or one that its
            configuration does not give today: of a policy given in code, or of other code or libraries.
    """
    folder = Path(run)
    config = replayable_config(folder)
    kept = read_bars(folder)
    walked = walk_windows(config, kept, out=folder, record=False)
    check_recorded(folder, walked)
    return Replay(walked, fast=fast).over(kept if bars is None else check_bars(bars), progress)
