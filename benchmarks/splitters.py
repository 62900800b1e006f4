"""Count the training rows that leak into a test, and those that are dropped needlessly, splitter by splitter.

The probe is 300 daily rows of one symbol, once with labels that all end 5 bars later and once with labels that end
1 to 19 bars later, at random. Each splitter deals the rows with its own tests; a training row *leaks* when its label
interval overlaps that of a test row of its split, and a row is *dropped* needlessly when it overlaps none, could have
trained and does not. Both are found pair by pair, by the definition. Run with::

    python benchmarks/splitters.py --interpreter mlfinpy=/path/to/python

Libraries that are not installed beside the core can have an environment of their own, named by its interpreter, which
needs only the library.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Split = tuple[Any, Any]

N_ROWS = 300
N_BLOCKS = 6
"""The rows are six blocks of fifty: five windows after the first, six folds, or 15 pairs of test groups."""
BLOCK = N_ROWS // N_BLOCKS


@dataclass(frozen=True)
class Probe:
    """Rows of one symbol: when each is known and when its label is, (n,) each.

    Attributes:
        name: The labels' lengths in words.
        lengths: (n,) length of each label in bars.
        days: More days than there are rows, so that every label ends on one.
    """

    name: str
    lengths: Rows
    days: pd.DatetimeIndex

    @classmethod
    def of(cls, name: str, lengths: Rows) -> Probe:
        """Put rows and the ends of their labels on a calendar."""
        return cls(name, lengths, pd.date_range("2022-01-01", periods=N_ROWS + 20, freq="D"))

    @property
    def known_at(self) -> pd.Series[pd.Timestamp]:
        """(n,) the day of each row."""
        return pd.Series(self.days[:N_ROWS])

    @property
    def label_end(self) -> pd.Series[pd.Timestamp]:
        """(n,) the day on which each label ends."""
        return pd.Series(self.days[np.arange(N_ROWS) + self.lengths])

    @property
    def features(self) -> pd.DataFrame:
        """A frame of as many rows, which splitters are given."""
        return pd.DataFrame({"feature": np.zeros(N_ROWS)}, index=self.days[:N_ROWS])

    def conflicts(self, test: Rows) -> NDArray[np.bool_]:
        """Mark the rows that share information with a test row: a_j < e_i and a_i < e_j."""
        known, end = np.arange(N_ROWS), np.arange(N_ROWS) + self.lengths
        marked: NDArray[np.bool_] = ((known[:, None] < end[test]) & (known[test] < end[:, None])).any(axis=1)
        return marked


PROBES = (
    Probe.of("5 bars", np.full(N_ROWS, 5)),
    Probe.of("1-19 bars", np.random.default_rng(0).integers(1, 20, N_ROWS)),
)


@dataclass(frozen=True)
class Candidate:
    """A splitter in one setting.

    Attributes:
        kind: walk-forward, folds or combinatorial.
        name: Class and setting.
        split: From a probe to its splits.
    """

    kind: str
    name: str
    split: Callable[[Probe], Iterable[Split]]


@dataclass(frozen=True)
class Count:
    """What one splitter did to one probe, summed over its splits; ``error`` where it raised.

    Attributes:
        kept: Training rows that do not leak.
    """

    library: str
    kind: str
    name: str
    probe: str
    splits: int = 0
    leaked: int = 0
    dropped: int = 0
    kept: int = 0
    error: str = ""


def ours() -> Iterator[Candidate]:
    from backtester_model_core.config import ValidationConfig
    from backtester_model_core.splits import (
        BoundSplitter,
        CombinatorialPurgedCV,
        PurgedKFold,
        Splitter,
        WalkForwardSplit,
    )

    def bound(splitter: Splitter) -> Callable[[Probe], Iterable[Split]]:
        return lambda probe: BoundSplitter(
            splitter, probe.label_end.to_numpy(), probe.known_at.to_numpy()
        ).split(probe.features)

    walk = WalkForwardSplit(ValidationConfig(train_size=BLOCK, test_size=BLOCK))
    yield Candidate("walk-forward", "WalkForwardSplit", bound(walk))
    yield Candidate("folds", "PurgedKFold", bound(PurgedKFold(N_BLOCKS)))
    yield Candidate("combinatorial", "CombinatorialPurgedCV", bound(CombinatorialPurgedCV(N_BLOCKS, 2)))


def scikit_learn() -> Iterator[Candidate]:
    from sklearn.model_selection import KFold, TimeSeriesSplit

    def series(gap: int) -> Callable[[Probe], Iterable[Split]]:
        return lambda probe: TimeSeriesSplit(N_BLOCKS - 1, gap=gap, test_size=BLOCK).split(probe.features)

    for gap in (0, 4, 9, 18):
        yield Candidate("walk-forward", f"TimeSeriesSplit, gap {gap}", series(gap))
    yield Candidate("folds", "KFold", lambda probe: KFold(N_BLOCKS).split(probe.features))


def skfolio() -> Iterator[Candidate]:
    from skfolio.model_selection import CombinatorialPurgedCV, WalkForward

    def walk(size: int) -> Callable[[Probe], Iterable[Split]]:
        splitter = WalkForward(test_size=BLOCK, train_size=BLOCK - size, expand_train=True, purged_size=size)
        return lambda probe: splitter.split(probe.features)

    def combinatorial(size: int) -> Callable[[Probe], Iterable[Split]]:
        splitter = CombinatorialPurgedCV(N_BLOCKS, 2, purged_size=size)
        return lambda probe: (
            (train, np.concatenate(tests)) for train, tests in splitter.split(probe.features)
        )

    for size in (4, 9, 18):
        yield Candidate("walk-forward", f"WalkForward, purged_size {size}", walk(size))
        yield Candidate("combinatorial", f"CombinatorialPurgedCV, purged_size {size}", combinatorial(size))


def mlfinpy() -> Iterator[Candidate]:
    from mlfinpy.cross_validation import CombinatorialPurgedKFold
    from mlfinpy.cross_validation.cross_validation import PurgedKFold

    def spans(probe: Probe) -> pd.Series[pd.Timestamp]:
        return pd.Series(probe.label_end.to_numpy(), index=probe.known_at.to_numpy())

    yield Candidate(
        "folds",
        "PurgedKFold",
        lambda probe: PurgedKFold(N_BLOCKS, samples_info_sets=spans(probe)).split(probe.features),
    )
    yield Candidate(
        "combinatorial",
        "CombinatorialPurgedKFold",
        lambda probe: CombinatorialPurgedKFold(N_BLOCKS, 2, samples_info_sets=spans(probe)).split(
            probe.features
        ),
    )


def purgedcv() -> Iterator[Candidate]:
    from purgedcv import CombinatorialPurgedCV, PurgedKFold, WalkForwardSplit

    def times(probe: Probe) -> dict[str, Any]:
        return {"prediction_times": probe.known_at, "evaluation_times": probe.label_end}

    yield Candidate(
        "walk-forward",
        "WalkForwardSplit",
        lambda probe: WalkForwardSplit(N_BLOCKS - 1, BLOCK, **times(probe)).split(probe.features),
    )
    yield Candidate(
        "folds", "PurgedKFold", lambda probe: PurgedKFold(N_BLOCKS, **times(probe)).split(probe.features)
    )
    yield Candidate(
        "combinatorial",
        "CombinatorialPurgedCV",
        lambda probe: CombinatorialPurgedCV(N_BLOCKS, 2, **times(probe)).split(probe.features),
    )


LIBRARIES: dict[str, Callable[[], Iterator[Candidate]]] = {
    "backtester-model-core": ours,
    "scikit-learn": scikit_learn,
    "skfolio": skfolio,
    "mlfinpy": mlfinpy,
    "purgedcv": purgedcv,
}


def count(library: str, candidate: Candidate, probe: Probe) -> Count:
    """Compare every split with the definition of a conflict."""
    labels = (library, candidate.kind, candidate.name, probe.name)
    leaked = dropped = kept = n_splits = 0
    try:
        for given_train, given_test in candidate.split(probe):
            train, test = np.asarray(given_train), np.asarray(given_test)
            conflicts = probe.conflicts(test)
            free = ~conflicts
            free[test] = False
            if candidate.kind == "walk-forward":
                free[test.min() :] = False
            n_splits += 1
            leaked += int(conflicts[train].sum())
            kept += int((~conflicts[train]).sum())
            dropped += int(free.sum() - np.isin(np.flatnonzero(free), train).sum())
    except Exception as error:  # noqa: BLE001 (what a library raises is its entry in the table)
        return Count(*labels, error=f"{type(error).__name__}: {error}")
    return Count(*labels, n_splits, leaked, dropped, kept)


@dataclass(frozen=True)
class Measured:
    """What all settings of one library did, and its version."""

    library: str
    version: str
    counts: list[Count]


def measure(library: str) -> Measured:
    """Count for every setting of a library that is installed here.

    Raises:
        ImportError: When it is not.
    """
    warnings.simplefilter("ignore")
    counts = [count(library, candidate, probe) for candidate in LIBRARIES[library]() for probe in PROBES]
    return Measured(library, version(library), counts)


def measure_with(python: str, library: str) -> Measured:
    """Count in another environment.

    Raises:
        ImportError: When the library is not there.
    """
    command = [python, __file__, "--peer", library, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImportError(done.stderr.strip().splitlines()[-1])
    (found,) = json.loads(done.stdout)
    return Measured(library, found["version"], [Count(**fields) for fields in found["counts"]])


def print_table(measured: list[Measured]) -> None:
    """Print a table for each kind of splitter, then what was raised."""
    print(", ".join(f"{each.library} {each.version}" for each in measured))
    counts = [each for library in measured for each in library.counts]
    heads = "".join(f" {probe.name}: leaked | dropped | kept |" for probe in PROBES)
    for kind in dict.fromkeys(each.kind for each in counts):
        print(f"\n| {kind} | splits |{heads}\n|---|---:|{'---:|' * 3 * len(PROBES)}")
        rows: dict[tuple[str, str], list[Count]] = {}
        for each in counts:
            if each.kind == kind:
                rows.setdefault((each.library, each.name), []).append(each)
        for (library, name), found in rows.items():
            cells = "".join(
                " raised | | |" if each.error else f" {each.leaked} | {each.dropped} | {each.kept} |"
                for each in found
            )
            print(f"| {library}: {name} | {max(each.splits for each in found) or ''} |{cells}")
    for each in counts:
        if each.error:
            print(f"\n{each.library}: {each.name}, labels of {each.probe}: {each.error}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", choices=LIBRARIES, action="append", help="only these libraries")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument(
        "--interpreter", action="append", default=[], metavar="NAME=PYTHON", help="a library's own Python"
    )
    arguments = parser.parse_args()
    interpreters = dict(pair.split("=", 1) for pair in arguments.interpreter)
    measured: list[Measured] = []
    for library in arguments.peer or LIBRARIES:
        python = interpreters.get(library)
        try:
            measured.append(measure_with(python, library) if python else measure(library))
        except ImportError as error:
            if arguments.json:
                raise
            print(f"{library} is missing: {error}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([asdict(each) for each in measured]))
    else:
        print_table(measured)


if __name__ == "__main__":
    main()
