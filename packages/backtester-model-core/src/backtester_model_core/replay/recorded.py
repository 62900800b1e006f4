"""What a run folder says that its run found, and whether its configuration gives that again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig, read_config_file
from backtester_model_core.exceptions import RunError
from backtester_model_core.factory import load_config
from backtester_model_core.runs import RunFolder
from backtester_model_core.walkforward import Walked

CONFIG, PREDICTIONS, SIGNALS = "config.json", "predictions.csv", "signals.csv"
TOLERANCE = 1e-9
"""How far a number may differ, as a share of the largest: windows that were deleted are trained again."""


def replayable_config(folder: Path) -> ModelConfig:
    """Return the configuration of the run that a folder holds.

    Raises:
        RunError: When it holds no finished run, or one that the configuration alone does not repeat.
    """
    if not all((folder / name).is_file() for name in (CONFIG, PREDICTIONS, SIGNALS)):
        raise RunError(f"{folder} holds no finished run. Name the folder given to run --out.")
    config = load_config(
        read_config_file(folder / CONFIG)
    )  # where the bars were does not matter: they are kept
    if config.retraining.warm_start:
        raise RunError(
            f"The models of {folder} continue each other (retraining.warm_start), and a replay trains each by itself. "
            "Run with warm_start = false to replay."
        )
    policies = _policies_in_code(folder)
    if policies and None not in policies:
        raise RunError(
            f"What {folder} holds was trained when {policies[-1]} said so, a policy given in code, which a replay "
            "cannot ask again. Run with a policy that retraining.policy names to replay."
        )
    return config


def check_recorded(folder: Path, walked: Walked) -> None:
    """Compare what was walked again with what the folder says that its run found.

    Raises:
        RunError: When they differ; the message names the first row that does.
    """
    rows = np.concatenate([window.test_rows for window in walked.windows])
    expected = np.concatenate([block.expected for block in walked.blocks])
    forecasts = pd.DataFrame({"expected": expected}, index=walked.dataset.index[rows])
    _check_file(folder / PREDICTIONS, forecasts)
    _check_file(folder / SIGNALS, walked.second.signals[["signal", "target_weight", "reason"]])


def _policies_in_code(folder: Path) -> list[str | None]:
    """Return the policy of each run of the folder; ``None`` for its configuration's own."""
    return [facts.get("policy") for facts in RunFolder(folder).runs().values()]


def _check_file(file: Path, walked: pd.DataFrame) -> None:
    """Compare a file's columns with what was walked, both as text."""
    recorded, again = _texts(file), _texts(io.StringIO(walked.to_csv(lineterminator="\n")))
    keys = list(walked.index.names)
    if not {*keys, *walked} <= {*recorded} or not recorded[keys].equals(again[keys]):
        raise _other_run(f"{file} has other rows than the {len(again):,} that its configuration gives again")
    for name in walked:
        differs = recorded[name] != again[name]
        if pd.api.types.is_numeric_dtype(walked[name]):
            differs &= ~_is_near(recorded[name], again[name])
        if differs.any():
            first = int(np.argmax(differs))
            row = " of ".join(again[keys].iloc[first])
            raise _other_run(
                f"{name} at {row} is {recorded[name].iloc[first]!r} in {file.name} of {file.parent}, and "
                f"{again[name].iloc[first]!r} when its configuration is walked again"
            )


def _texts(file: Path | io.StringIO) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def _is_near(recorded: pd.Series[str], again: pd.Series[str]) -> pd.Series[bool]:
    """Say which texts are numbers within the tolerance of each other."""
    one, other = (pd.to_numeric(texts, errors="coerce") for texts in (recorded, again))
    near: pd.Series[bool] = (one - other).abs() <= TOLERANCE * other.abs().max()
    return near


def _other_run(what: str) -> RunError:
    return RunError(
        f"{what}. The run had a policy given in code, or other code or library versions than there are now, so that a "
        "replay of its configuration would prove nothing about it. Run it again, and replay that."
    )
