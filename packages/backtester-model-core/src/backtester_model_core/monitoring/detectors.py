"""Has the error risen? Detectors that read a stream of errors one value at a time, in constant memory or nearly so.

Each is told one value between 0 and 1 at a time and answers how many values ago they rose for good, or zero. What a
detector that has found a rise goes on from, it says itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import log, sqrt
from typing import Any, Protocol, TypeAlias

from backtester_model_core.catalog import Catalog

State: TypeAlias = dict[str, Any]
"""Plain data: numbers and lists of numbers, by name."""

MIN_VALUES = 30
"""Values before which nothing is detected (Gama, Medas, Castillo & Rodrigues 2004, section 3)."""


class Detector(Protocol):
    """What reads a stream of errors."""

    def update(self, value: float) -> int:
        """Take the next value, and return how many values ago they rose; zero where they have not."""
        ...

    def snapshot(self) -> State:
        """Return the state as plain data."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned."""
        ...


class Adwin:
    """An adaptive window: it grows while its values agree, and loses its older part when they do not.

    The window is kept as exponentially growing buckets, at most five of each size, so both memory and the time of a
    look grow with the logarithm of its length (Bifet & Gavaldà 2007, section 4). Two parts of n₀ and n₁ values
    disagree when their means differ by more than (eq. 3.1 and after)::

        ε = √(2/m · σ² · ln(2/δ')) + 2/(3m) · ln(2/δ'),   1/m = 1/n₀ + 1/n₁,   δ' = δ / ln n

    A fall cuts the window too, but is not reported. What is left of the window agrees with itself, and may have some of
    what came before the rise: when that was is said by the two parts that are furthest apart in standard errors.

    Attributes:
        confidence: δ, a bound on the chance of a false cut at one look.
    """

    BUCKETS = 5
    LOOK_EVERY = 32
    MIN_PART = 5

    def __init__(self, confidence: float = 0.002) -> None:
        self.confidence = confidence
        self._n_seen = 0
        self._levels: list[list[tuple[float, float]]] = [
            []
        ]  # of each size the oldest first: sum, squared deviation

    @property
    def width(self) -> int:
        """Number of values in the window."""
        return sum(len(level) << size for size, level in enumerate(self._levels))

    @property
    def mean(self) -> float:
        """Mean of the window; zero before any value."""
        return sum(total for level in self._levels for total, _ in level) / max(1, self.width)

    def update(self, value: float) -> int:
        """Take the next value, and return how many values ago they rose; zero where they have not."""
        self._n_seen += 1
        self._levels[0].append((value, 0.0))
        self._compress()
        if self._n_seen % self.LOOK_EVERY or self.width < MIN_VALUES:
            return 0
        n_since = 0
        while (rise := self._disagreement()) is not None:
            if rise > 0 and not n_since:
                n_since = self._rose_before()
            self._drop_oldest()
        return n_since

    def snapshot(self) -> State:
        """Return the state as plain data."""
        return {"n_seen": self._n_seen, "levels": [[list(one) for one in level] for level in self._levels]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned."""
        self._n_seen = int(state["n_seen"])
        self._levels = [[(float(a), float(b)) for a, b in level] for level in state["levels"]]

    def _compress(self) -> None:
        """Join the two oldest buckets of a size of which there is one too many, and so on upwards."""
        for size, level in enumerate(self._levels):
            if len(level) <= self.BUCKETS:
                return
            if size + 1 == len(self._levels):
                self._levels.append([])
            (one, spread), (other, further) = level.pop(0), level.pop(0)
            between = (one - other) ** 2 / (1 << (size + 1))  # n/2 · (difference of means)², n values in each
            self._levels[size + 1].append((one + other, spread + further + between))

    def _disagreement(self) -> float | None:
        """Return newer less older mean at the first split whose parts disagree; ``None`` where none do."""
        width, mean = self.width, self.mean
        if width < 2 * self.MIN_PART:
            return None
        squares = sum(spread + (total - n * mean) ** 2 / n for n, total, spread in self._buckets())
        variance = squares / width
        margin = log(2 * log(width) / self.confidence)
        for _, inverse, difference in self._splits():
            if abs(difference) > sqrt(2 * inverse * variance * margin) + 2 / 3 * inverse * margin:
                return difference
        return None

    def _rose_before(self) -> int:
        """Return how many values the newer part has where it lies furthest above the older, in standard errors."""
        return max(self._splits(), key=lambda split: split[2] / sqrt(split[1]))[0]

    def _buckets(self) -> Iterator[tuple[int, float, float]]:
        """Yield number, sum and squared deviation of each bucket's values, the oldest first."""
        for size in reversed(range(len(self._levels))):
            for total, spread in self._levels[size]:
                yield 1 << size, total, spread

    def _splits(self) -> Iterator[tuple[int, float, float]]:
        """Yield of each split into an older and a newer part n₁, 1/n₀ + 1/n₁, and newer less older mean."""
        n_newer, newer, n_older, older = self.width, self.mean * self.width, 0, 0.0
        for n, total, _ in self._buckets():
            n_older, older, n_newer, newer = n_older + n, older + total, n_newer - n, newer - total
            if min(n_older, n_newer) >= self.MIN_PART:
                yield n_newer, 1 / n_older + 1 / n_newer, newer / n_newer - older / n_older

    def _drop_oldest(self) -> None:
        self._levels[-1].pop(0)
        while len(self._levels) > 1 and not self._levels[-1]:
            self._levels.pop()


class PageHinkley:
    """A cumulative sum of how far values lie above their mean so far (Page 1954; Hinkley 1971).

    With mean x̄ₜ and deviation sₜ of the values so far, ``Mₜ = Σ (xₜ - x̄ₜ)/sₜ - δ``; the values have risen when Mₜ
    is more than λ above its least value, and they rose when it was least. Both are in deviations, so that one pair
    serves errors of any size.

    After a rise the sum begins anew, and the mean goes on: where errors stay up, since the model was trained again too
    soon to know better, the rise is told again, until they are what values mostly were.

    Attributes:
        allowance: δ, the rise that is let pass.
        threshold: λ.
    """

    def __init__(self, allowance: float = 0.1, threshold: float = 50.0) -> None:
        self.allowance = allowance
        self.threshold = threshold
        self._begin()

    def _begin(self) -> None:
        self._n, self._mean, self._squares, self._sum, self._least = 0, 0.0, 0.0, 0.0, 0.0
        self._n_since = 0  # values since the sum was least

    def update(self, value: float) -> int:
        """Take the next value, and return how many values ago they rose; zero where they have not."""
        self._n += 1
        above = value - self._mean
        self._mean += above / self._n
        self._squares += above * (value - self._mean)
        if self._n < MIN_VALUES or self._squares <= 0:
            return 0
        self._sum += (value - self._mean) / sqrt(self._squares / self._n) - self.allowance
        self._n_since += 1
        if self._sum <= self._least:
            self._least, self._n_since = self._sum, 0
        if self._sum - self._least <= self.threshold:
            return 0
        n_since, self._n_since = self._n_since, 0
        self._sum = self._least = 0.0
        return n_since

    def snapshot(self) -> State:
        """Return the state as plain data."""
        return {"values": [self._n, self._n_since, self._mean, self._squares, self._sum, self._least]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned."""
        n, n_since, *others = state["values"]
        self._n, self._n_since = int(n), int(n_since)
        self._mean, self._squares, self._sum, self._least = (float(one) for one in others)


class Ddm:
    """The drift detection method of Gama, Medas, Castillo & Rodrigues (2004, section 3).

    With error rate p after n values and ``s = √(p(1 - p)/n)``, the values have risen when ``p + s`` is at least
    ``p_min + 3 s_min``, those of the n at which p + s was least. They rose when it was last above ``p_min + 2 s_min``
    for the first time, the warning. Made for errors of 0 or 1. After a rise it begins anew.
    """

    WARNING = 2.0
    DEVIATIONS = 3.0

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._n, self._sum, self._least_rate, self._least_error = 0, 0.0, 0.0, float("inf")
        self._n_warned = 0  # values since the warning

    def update(self, value: float) -> int:
        """Take the next value, and return how many values ago they rose; zero where they have not."""
        self._n += 1
        self._sum += value
        if self._n < MIN_VALUES:
            return 0
        rate = self._sum / self._n
        error = sqrt(max(0.0, rate * (1 - rate)) / self._n)
        if rate + error <= self._least_rate + self._least_error:
            self._least_rate, self._least_error = rate, error
        is_warned = rate + error > self._least_rate + self.WARNING * self._least_error
        self._n_warned = self._n_warned + 1 if is_warned else 0
        if rate + error <= self._least_rate + self.DEVIATIONS * self._least_error:
            return 0
        n_since = self._n_warned
        self._begin()
        return n_since

    def snapshot(self) -> State:
        """Return the state as plain data; -1 stands for a least error that is not known yet."""
        least = -1.0 if self._least_error == float("inf") else self._least_error
        return {"values": [self._n, self._n_warned, self._sum, self._least_rate, least]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned."""
        n, n_warned, total, rate, least = state["values"]
        self._n, self._n_warned = int(n), int(n_warned)
        self._sum, self._least_rate = float(total), float(rate)
        self._least_error = float("inf") if least < 0 else float(least)


DETECTORS: Catalog[Callable[[], Detector]] = Catalog("detector")
"""What reads errors, by name; each is made without arguments."""

DETECTORS.add("adwin", Adwin)
DETECTORS.add("page_hinkley", PageHinkley)
DETECTORS.add("ddm", Ddm)
