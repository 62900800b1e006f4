"""Checks by experiment: nothing is found where there is nothing, and something where something was planted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite, sqrt

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.evaluation import SkillOutcome
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.model import BaseModel
from backtester_model_core.testing.extension import extension_in_force
from backtester_model_core.testing.leak import Leak
from backtester_model_core.testing.samples import random_bars
from backtester_model_core.walkforward import WalkForwardResult, walk_forward

MIN_SEEDS = 12
CRITICAL_T = 4.02
"""Student's t with eleven degrees of freedom exceeds it once in a thousand times."""

Run = Callable[[ModelConfig, pd.DataFrame], WalkForwardResult]


def find_skill_on_noise(
    score: Callable[[int], float], *, seeds: Iterable[int] = range(MIN_SEEDS)
) -> list[Leak]:
    """Score noise under at least twelve seeds, and report a mean that noise does not have (T10).

    Finds any leak strong enough to show as skill, wherever it hides and whatever it passes through. Cannot find
    small ones: the accuracy on random walks of a walk-forward without purging is 0.509, and 0.507 with it. So a
    pass is weak evidence, and the purge is proven structurally (T5). A clean pipeline is reported once in a
    thousand times. Takes one run for each seed.

    Args:
        score: From a seed to a figure that is zero on average where nothing can be known, and positive for
            skill: an accuracy less its chance level, an information coefficient, a t-value.
        seeds: At least twelve.

    Raises:
        EvaluationError: When there are fewer seeds, or a score is not finite.
    """
    figures = np.array([score(seed) for seed in seeds])
    n = len(figures)
    if n < MIN_SEEDS or not np.isfinite(figures).all():
        raise EvaluationError(
            f"{int(np.isfinite(figures).sum())} finite scores of {n} seeds show nothing. "
            f"Give at least {MIN_SEEDS} seeds and a score that is a number for each."
        )
    mean, error = float(figures.mean()), float(figures.std(ddof=1)) / sqrt(n)
    statistic = mean / error if error > 0 else float(np.sign(mean)) * float("inf")
    if mean <= 0 or statistic <= CRITICAL_T:
        return []
    message = f"a mean score of {mean:.3g} over {n} seeds, {statistic:.1f} standard errors above none"
    return [Leak("noise", "score", None, None, message)]


def random_walk_score(
    config: ModelConfig, *, n_bars: int = 300, run: Run = walk_forward
) -> Callable[[int], float]:
    """Return what walks forward over a random walk of a seed, and gives the verdict's t(g)."""

    def score(seed: int) -> float:
        t_g = run(config, random_bars(n_bars, seed=seed)).verdict.t_g
        return t_g if isfinite(t_g) else 0.0

    return score


def coin_toss_score(
    config: ModelConfig, *, n_bars: int = 300, run: Run = walk_forward
) -> Callable[[int], float]:
    """Return what walks forward on labels that were tossed, and gives the verdict's t(g)."""

    def score(seed: int) -> float:
        with extension_in_force("coin-toss", CoinToss(seed)):
            return random_walk_score(config, n_bars=n_bars, run=run)(seed)

    return score


@dataclass(frozen=True)
class CoinToss:
    """An extension that tosses the label of each row: a class, or a number around zero."""

    seed: int

    @hookimpl(wrapper=True, tryfirst=True)
    def backtester_prepare(self, model: BaseModel, data: pd.DataFrame) -> Generator[None, Dataset, Dataset]:  # noqa: ARG002
        """Keep what is known when, and toss what it is."""
        dataset = yield
        rng = np.random.default_rng([self.seed, 1])
        tossed = rng.normal(0.0, 0.01, len(dataset))
        if dataset.classes is not None:
            tossed = rng.choice(np.asarray(dataset.classes), len(dataset))
        return replace(dataset, target=np.where(np.isnan(dataset.target), np.nan, tossed))


def find_missed_edge(
    config: ModelConfig, *, momentum: float = 0.5, n_bars: int = 900, seed: int = 0, run: Run = walk_forward
) -> list[Leak]:
    """Walk forward over bars whose returns repeat in part, and report when no skill is found (T11).

    A pipeline that finds nothing anywhere passes every other check: this one it fails. Finds targets shifted
    against features, a sign turned round, purging or scaling that destroys what is there. Cannot find that a
    subtler edge would be missed. It asks for a feature that holds the last return, and takes one walk-forward.

    Args:
        config: A model that can learn a line, with the last bar's return among its features.
        momentum: Share of a bar's log return that repeats in the next.
        n_bars: Length of the bars.
        seed: Of the bars.
        run: The walk-forward to check.
    """
    verdict = run(config, random_bars(n_bars, seed=seed, momentum=momentum)).verdict
    if verdict.outcome is SkillOutcome.SKILL:
        return []
    return [Leak("positive control", "verdict", None, None, f"a planted edge was missed: {verdict.sentence}")]


def find_blind_checks(planted: Mapping[str, Callable[[], list[Leak]]]) -> list[Leak]:
    """Run checks on planted leaks, and report each that finds nothing (T11).

    A check that cannot fail proves nothing. Finds checks that have gone blind, or are pointed at the wrong
    thing. Cannot find that a check would miss another leak than the one planted. Takes what the checks take.

    Args:
        planted: For each name a check on something that has a leak.
    """
    return [
        Leak("positive control", name, None, None, "a planted leak was not found")
        for name, check in planted.items()
        if not check()
    ]
