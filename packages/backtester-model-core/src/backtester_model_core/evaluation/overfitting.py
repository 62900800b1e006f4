"""Whether choosing the best of many variants chooses anything that lasts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray

MAX_BLOCKS = 20
"""Twenty blocks make 184,756 splits; more would say the same for longer."""

SPLITS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Overfitting:
    """What became out of sample of the variants that were best in sample.

    Attributes:
        probability: Share of the splits in which the best in sample is at or below the median out of sample.
        loss_probability: Share of the splits in which it has a negative Sharpe ratio there.
        logit: (n_splits,) ln(ω / (1 - ω)) of its relative rank ω out of sample; zero is the median.
    """

    probability: float
    loss_probability: float
    logit: FloatArray


def probability_of_overfitting(returns: ArrayLike, *, n_blocks: int = 16) -> Overfitting:
    """Estimate the probability of backtest overfitting by combinatorially symmetric cross-validation.

    Time is cut into ``n_blocks`` blocks. Every half of them is in sample once, the other half out of sample. The
    variant with the best Sharpe ratio in sample has rank r among the N out of sample, ω = r/(N + 1); overfitting is
    ω ≤ ½ (Bailey, Borwein, López de Prado & Zhu 2017). Variants without any skill give ½ on average. All
    are compared with each other: it says whether the choice means anything, and not whether the best is any good.

    Args:
        returns: (n, n_variants) returns of each variant that was tried, one row for each bar in time order.
        n_blocks: An even number of blocks, of equal length to within one row.

    Raises:
        EvaluationError: When there are fewer than two variants, rows for fewer than two a block, or an unknown value.
    """
    table = np.asarray(returns, dtype=np.float64)
    _check(table, n_blocks)
    # Sums over blocks are all that a Sharpe ratio needs; without the overall mean the squares keep their digits.
    level = table.mean(axis=0)
    blocks = np.array_split(table - level, n_blocks)
    sums = np.array([block.sum(axis=0) for block in blocks])
    squares = np.array([(block**2).sum(axis=0) for block in blocks])
    sizes = np.array([len(block) for block in blocks])
    halves = np.array(list(combinations(range(n_blocks), n_blocks // 2)))
    logit, losses = [], 0
    for start in range(0, len(halves), SPLITS_AT_ONCE):
        chosen = halves[start : start + SPLITS_AT_ONCE]
        inside = np.zeros((len(chosen), n_blocks))
        np.put_along_axis(inside, chosen, 1.0, axis=1)
        seen, unseen = (
            _sharpe(half @ sums, half @ squares, (half @ sizes)[:, None], level)
            for half in (inside, 1 - inside)
        )
        of_best = np.take_along_axis(unseen, seen.argmax(axis=1)[:, None], axis=1)
        # Ties, the best with itself among them, count half: with r from 1 to N this is the middle rank.
        rank = (unseen < of_best).sum(axis=1) + ((unseen == of_best).sum(axis=1) + 1) / 2
        relative = rank / (table.shape[1] + 1)
        logit.append(np.log(relative / (1 - relative)))
        losses += int((of_best < 0).sum())
    found = np.concatenate(logit)
    return Overfitting(float(np.mean(found <= 0)), losses / len(halves), found)


def _sharpe(sums: FloatArray, squares: FloatArray, n: FloatArray, level: FloatArray) -> FloatArray:
    """Return mean over deviation from sums of returns less their level; zero where they do not vary."""
    mean = sums / n
    variance = squares / n - mean**2
    varies = variance > 1e-12 * squares / n
    deviation = np.sqrt(np.where(varies, variance, 1.0))
    return np.where(varies, (mean + level) / deviation, 0.0)


def _check(table: FloatArray, n_blocks: int) -> None:
    """Refuse what cannot be split."""
    if n_blocks < 2 or n_blocks % 2 or n_blocks > MAX_BLOCKS:
        raise EvaluationError(
            f"{n_blocks} blocks cannot be halved in time. Take an even number from 2 to {MAX_BLOCKS}."
        )
    if table.ndim != 2 or table.shape[1] < 2 or len(table) < 2 * n_blocks:
        raise EvaluationError(
            f"Returns of shape {table.shape} cannot show overfitting in {n_blocks} blocks. "
            f"Pass at least {2 * n_blocks} rows, and a column for each of at least two variants."
        )
    if not np.isfinite(table).all():
        raise EvaluationError(
            "Returns hold an unknown or infinite value. Pass the bars that all variants have."
        )
