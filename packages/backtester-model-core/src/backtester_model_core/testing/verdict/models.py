"""The verdict on a whole configuration: features, labels, windows, fits, forecasts, signals, retraining."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.factory import create_model
from backtester_model_core.features import resolve_features
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.model import BaseModel
from backtester_model_core.testing.checks.features import find_order_leaks
from backtester_model_core.testing.checks.fitting import find_fit_leaks, find_fit_time_leaks, fit_model
from backtester_model_core.testing.checks.labels import find_label_leaks, label_values
from backtester_model_core.testing.checks.retraining import find_retraining_leaks
from backtester_model_core.testing.checks.splits import find_window_leaks
from backtester_model_core.testing.checks.statistics import MIN_SEEDS, CoinToss, find_skill_on_noise
from backtester_model_core.testing.checks.target import find_target_leaks
from backtester_model_core.testing.checks.trading import find_early_fills, find_monitoring_leaks
from backtester_model_core.testing.checks.universe import find_survivorship
from backtester_model_core.testing.extension import extension_in_force
from backtester_model_core.testing.leak import Leak, sessions_of
from backtester_model_core.testing.lookahead import (
    find_future_leaks,
    find_truncation_leaks,
    find_walk_forward_leaks,
)
from backtester_model_core.testing.verdict.answer import Check, LookAheadVerdict, Progress, run_checks
from backtester_model_core.testing.verdict.columns import evenly
from backtester_model_core.testing.verdict.expressions import of_expressions
from backtester_model_core.testing.verdict.reach import with_reach
from backtester_model_core.walkforward import walk_forward
from backtester_model_core.walkforward.engine import plan_windows

TRAIN, TEST, N_WINDOWS = 240, 40, 4
"""Sessions of the windows that are walked: few and short, since a leak does not depend on their size."""
N_CUTS = 12
SECONDS = 40.0
"""What an experiment of many walk-forwards may take; beyond it, it is left out."""
MAX_EVENTS = 40
"""About how many instants monitoring has events at, each of which takes a walk-forward."""
TOLERANCE = 1e-6
"""Relative difference that counts as none for models that compute in single precision."""
LAST_DIGITS = 1e-9
"""Relative difference that is none between walk-forwards: a block that ends earlier is a smaller batch, whose
products may be summed in another order. What differs by no more than that in features is found by cutting them."""


def check_config(
    config: ModelConfig, bars: pd.DataFrame, *, name: str, progress: Progress | None = None
) -> LookAheadVerdict:
    """Answer whether a configuration's walk-forward looks ahead, with every plugin that is in force.

    It is walked over the last sessions of the bars with short windows and without the skill gate, so that every row
    has a signal which could differ. Checks that would need many walk-forwards of a slow model are left out.

    Args:
        config: What to run.
        bars: Checked bars of one symbol or a panel.
        name: What to call it.
        progress: Called with (checks done, checks in all).

    Raises:
        EvaluationError: When the bars are too few.
    """
    small, recent = _shortened(config, bars, name)
    started = time.perf_counter()
    walk_forward(small, recent)
    seconds = time.perf_counter() - started
    expressions = resolve_features(
        config.features, bar_columns=bars.columns, feature_columns=config.feature_columns
    )
    checks = [*_of_rows(small, recent), *of_expressions(expressions, bars), *_of_windows(small, recent)]
    if MIN_SEEDS * seconds <= SECONDS:
        checks.append(_of_noise(small, recent))
    if not small.retraining.is_planned:
        checks.append(
            Check(
                "T16",
                "Is each decision to retrain the same without any later bar?",
                lambda: find_retraining_leaks(small, recent),
            )
        )
    if small.enable_monitoring and MAX_EVENTS * seconds <= SECONDS:
        checks.append(
            Check(
                "T16",
                "Is each event of monitoring the same without any later bar?",
                lambda: find_monitoring_leaks(small, recent),
            )
        )
    verdict = LookAheadVerdict(name, run_checks(checks, progress=progress))
    return with_reach(verdict, lambda given: create_model(small).prepare(given).features, recent)


def _shortened(config: ModelConfig, bars: pd.DataFrame, name: str) -> tuple[ModelConfig, pd.DataFrame]:
    """Return the configuration with short windows, and the last sessions of the bars that they need."""
    sessions = sessions_of(bars)
    dataset = create_model(config).prepare(bars)
    learnable = dataset.known_at[dataset.is_complete & dataset.is_labelled]
    n_warm = int((np.unique(dataset.known_at) < learnable.min()).sum()) if len(learnable) else len(sessions)
    n_train = n_warm + TRAIN + config.prediction_horizon
    n_wanted = n_train + N_WINDOWS * TEST
    if n_wanted > len(sessions):
        raise EvaluationError(
            f"{name} needs {n_warm} sessions before its first complete row, and the checks {n_wanted} in all; the "
            f"bars have {len(sessions)}. Bring more bars."
        )
    validation = config.validation.model_copy(update={"train_size": n_train, "test_size": TEST})
    changes = {
        "validation": validation,
        "confidence_threshold": 0.5,
        "gate": config.gate.model_copy(update={"mode": "off"}),
        "random_state": 0 if config.random_state is None else config.random_state,
    }
    level = bars.index.get_level_values("timestamp") if isinstance(bars.index, pd.MultiIndex) else bars.index
    return config.model_copy(update=changes), bars[np.asarray(level >= sessions[-n_wanted])]


def _of_rows(config: ModelConfig, bars: pd.DataFrame) -> list[Check]:
    """Return what is asked of features, labels and the rows of one fit."""
    dataset = create_model(config).prepare(bars)
    windows = plan_windows(config, dataset)
    model = create_model(config)
    train_rows = windows[0].train_rows
    model.train_dataset(dataset.with_history(model.context_rows).take(train_rows))
    complete = dataset.features[dataset.is_complete]

    def features(given: pd.DataFrame) -> pd.DataFrame:
        return create_model(config).prepare(given).features

    def signals(given: pd.DataFrame) -> pd.DataFrame:
        return model.generate_signals(given)[["signal", "confidence", "score", "target_weight"]]

    def cut_features() -> list[Leak]:
        return find_truncation_leaks(features, bars, cuts=_spread(bars, every=3))

    def cut_peeking_features() -> list[Leak]:
        with extension_in_force("peeking", Peeking()):
            return find_truncation_leaks(features, bars, cuts=_spread(bars)[:2])

    checks = [
        Check(
            "T1",
            "Are the features so far the same when the bars end here?",
            cut_features,
            cut_peeking_features,
        ),
        Check(
            "T1",
            "Are a trained model's signals so far the same when the bars end here?",
            lambda: find_truncation_leaks(signals, bars, cuts=_spread(bars), tolerance=TOLERANCE),
        ),
        Check(
            "T2",
            "Are the features so far the same when the bars go on differently?",
            lambda: find_future_leaks(features, bars, cuts=_spread(bars)[1::4]),
        ),
        Check(
            "T4",
            "Does anything after a label's end move the label?",
            lambda: find_label_leaks(label_values(config), bars, cuts=_spread(bars)),
        ),
        Check(
            "T5",
            "Had every training label ended by the fit, in every window?",
            lambda: find_window_leaks(windows, dataset.known_at, dataset.label_end),
        ),
        Check(
            "T6",
            "Is a fit the same when every row outside training is garbage?",
            lambda: find_fit_leaks(fit_model(config), dataset, train_rows),
        ),
        Check("T9", "Is the target among the features?", lambda: _target_leaks(config, dataset)),
    ]
    if model.context_rows == 0:
        checks.append(
            Check(
                "T8",
                "Do rows in any order and company get the same forecasts?",
                lambda: find_order_leaks(
                    lambda rows: model.predict_distribution(rows).frame, complete, tolerance=TOLERANCE
                ),
            )
        )
    return checks


def _of_windows(config: ModelConfig, bars: pd.DataFrame) -> list[Check]:
    """Return what is asked of whole walk-forwards."""

    def cut_while_peeking() -> list[Leak]:
        with extension_in_force("peeking", Peeking()):
            return find_walk_forward_leaks(config, bars, tolerance=LAST_DIGITS)

    return [
        Check(
            "T7",
            "Is the whole walk-forward the same when the bars end one session after each fit?",
            lambda: find_walk_forward_leaks(config, bars, tolerance=LAST_DIGITS),
            cut_while_peeking,
        ),
        Check(
            "T13",
            "Was every label that reached a fit known at the first decision that it served?",
            lambda: find_fit_time_leaks(config, bars),
        ),
        Check("T12", "Does a perfect signal earn anything before its fill?", find_early_fills),
        Check("T15", "Who should have been in the bars?", lambda: find_survivorship(bars)),
    ]


def _of_noise(config: ModelConfig, bars: pd.DataFrame) -> Check:
    """Return the check for skill on labels that were tossed."""

    def score(seed: int) -> float:
        with extension_in_force("coin-toss", CoinToss(seed)):
            t_g = walk_forward(config, bars).verdict.t_g
        return t_g if np.isfinite(t_g) else 0.0

    return Check("T10", "Is there skill where labels were tossed?", lambda: find_skill_on_noise(score))


def _target_leaks(config: ModelConfig, dataset: Dataset) -> list[Leak]:
    """Look for the target among the features, knowing when a label is known."""
    known_after = config.prediction_horizon + (config.label.exit == "open")
    target = pd.Series(dataset.target, index=dataset.index)
    return find_target_leaks(dataset.features, target, known_after_bars=known_after)


def _spread(bars: pd.DataFrame, *, every: int | None = None) -> list[int]:
    """Return numbers of sessions to keep within the later half of the bars: a dozen of them, or one of every few."""
    n_sessions = len(sessions_of(bars))
    if every is not None:
        return list(range(n_sessions // 2, n_sessions, every))
    return evenly(n_sessions // 2, n_sessions - 1, N_CUTS)


class Peeking:
    """An extension that puts each row's own outcome into its first feature: what every check must notice."""

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model: BaseModel, data: pd.DataFrame) -> Generator[None, Dataset, Dataset]:  # noqa: ARG002
        """Replace the first feature by the target, and by nothing where that is not known."""
        dataset = yield
        values = dataset.values.copy()
        values[:, 0] = np.where(np.isnan(dataset.target), 0.0, dataset.target) + np.where(
            np.isnan(values[:, 0]), np.nan, 0.0
        )
        return replace(dataset, values=values)
