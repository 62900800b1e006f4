"""Change one thing at a time in the operators, labels and splits, and see whether a test notices.

::

    python tools/mutate.py                                     # the sample that docs/mutation.md reports
    python tools/mutate.py splits --sample 40 --seed 3
    python tools/mutate.py features --only steps.py#17         # one mutant again, by its name

Each mutant is written into a copy of the package, and its room's tests run on that copy in a process of their
own. A test that fails, or does not end, *kills* the mutant; one that survives either shows what no test looks at,
or changes nothing that could be seen.

Existing tools do not fit: mutmut wraps every function in a switch, and the compiled steps, which are made from the
functions' source, would be the switch's; cosmic-ray changes the very files that are worked on.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[1]
CORE = ROOT / "packages/backtester-model-core"
PACKAGE = "backtester_model_core"


@dataclass(frozen=True)
class Room:
    """Modules of one room, and its tests, the quickest first."""

    modules: list[str]
    tests: list[str]

    @classmethod
    def of(cls, name: str, *, modules: str, tests: str) -> Room:
        """Name a room's modules and tests by what is particular to each."""
        paths = [str(CORE / f"tests/test_{name}{test}.py") for test in tests.split(" ")]
        return cls([f"{name}/{module}.py" for module in modules.split()], paths)


ROOMS = {
    "features": Room.of(
        "features",
        modules="primitives steps window_steps recursive_steps qlib_steps qlib_windows qlib_pairs",
        tests="_windows _talib _technical _alpha _operators _causality",
    ),
    "labels": Room.of(
        "labels",
        modules="barrier forward kinds lives meta trend weights",
        tests="_kinds _weights _fields  _in_models _known_when",
    ),
    "splits": Room.of(
        "splits",
        modules="bound chronological combinatorial folds spans windows",
        tests="_bound _schemes _combinatorial _spans ",
    ),
}

# A property that fails need not be made small, and a busy machine misses deadlines.
PLUGIN = """
from hypothesis import Phase, settings
settings.register_profile(
    "mutation", deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("mutation")
"""


class Count(NamedTuple):
    """How many mutants of a module there are, were tried, and were killed."""

    module: str
    mutants: int
    tried: int
    killed: int


class Bench:
    """Copies of the package, one for each job, on which tests run."""

    def __init__(self, folder: Path, *, jobs: int) -> None:
        self._copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(jobs):
            copy = folder / f"copy{number}"
            shutil.copytree(CORE / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
            (copy / "mutation_profile.py").write_text(PLUGIN)
            self._copies.put(copy)

    def failure(self, room: Room, mutant: Mutant | None = None, *, timeout: float | None = None) -> str:
        """Return what the first failure of a room's tests says, on a copy with a mutant in it or on one without."""
        copy = self._copies.get()
        module = copy / PACKAGE / (room.modules[0] if mutant is None else mutant.module)
        original = module.read_text()
        try:
            replace(module, original if mutant is None else mutant.source)
            return run_tests(room, copy, timeout)
        finally:
            replace(module, original)
            self._copies.put(copy)


def replace(module: Path, source: str) -> None:
    """Write a module, and forget how it was compiled before, whose time stamp counts whole seconds only."""
    module.write_text(source)
    for compiled in module.parent.glob(f"__pycache__/{module.stem}.*"):
        compiled.unlink()


def run_tests(room: Room, copy: Path, timeout: float | None) -> str:
    """Run a room's tests on a copy of the package until the first failure, and return what it says; else nothing."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "mutation_profile"]
    path = os.pathsep.join([str(copy), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a third of the time of a short run
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", *options, *room.tests]
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=environment, timeout=timeout, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done after {timeout:.0f} s"
    return (run.stdout + run.stderr).decode() if run.returncode else ""


def judge(bench: Bench, room: Room, asked: argparse.Namespace) -> list[Count]:
    """Run a room's tests on its mutants, print the survivors, and count them for each module."""
    sources = {module: (CORE / "src" / PACKAGE / module).read_text() for module in room.modules}
    mutants = {module: mutants_of(module, source) for module, source in sources.items()}
    sampled = {module: sample(of, asked) for module, of in mutants.items()}
    if not any(sampled.values()):
        return []
    began = time.monotonic()
    if failure := bench.failure(room):
        raise SystemExit(f"{failure}\nThe tests fail without any mutant.")
    timeout = 5 * (time.monotonic() - began) + 10
    survivors: list[Mutant] = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        chosen = [mutant for of in sampled.values() for mutant in of]
        runs = {pool.submit(bench.failure, room, mutant, timeout=timeout): mutant for mutant in chosen}
        for number, run in enumerate(as_completed(runs), start=1):
            mutant, outcome = runs[run], "killed" if run.result() else "survives"
            print(f"{number}/{len(runs)} {mutant.name} {outcome}", flush=True)
            if outcome == "survives":
                survivors.append(mutant)
                print(mutant.diff(sources[mutant.module]), flush=True)
    survived = Counter(mutant.module for mutant in survivors)
    return [
        Count(module, len(mutants[module]), len(of), len(of) - survived[module])
        for module, of in sampled.items()
        if of
    ]


def sample(mutants: list[Mutant], asked: argparse.Namespace) -> list[Mutant]:
    """Return the mutants that are named, or where none are, a sample that the seed decides."""
    if asked.only:
        return [mutant for mutant in mutants if mutant.name in asked.only]
    chooser = random.Random(f"{mutants[0].module} {asked.seed}")
    return chooser.sample(mutants, min(asked.sample, len(mutants)))


def print_table(counts: list[Count]) -> None:
    """Print how many mutants of each module were killed, and of all together."""
    _, *columns = zip(*counts, strict=True)
    everything = Count("together", *map(sum, columns))
    print("\n| module | mutants | tried | killed | |\n|---|---:|---:|---:|---:|")
    for count in [*counts, everything]:
        print("|", " | ".join(map(str, count)), f"| {count.killed / count.tried:.0%} |")


def main() -> None:
    """Mutate the rooms that are named, and print a table of how many mutants survived."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rooms", nargs="*", help=f"of {', '.join(ROOMS)}; default: all")
    parser.add_argument("--sample", type=int, default=8, help="mutants of each module; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the sample; default: %(default)s")
    parser.add_argument("--only", nargs="+", default=[], metavar="MUTANT", help="names such as steps.py#17")
    parser.add_argument("--jobs", type=int, default=2, help="tests running at a time; default: %(default)s")
    asked = parser.parse_args()
    if unknown := set(asked.rooms).difference(ROOMS):
        parser.error(f"no such room: {', '.join(sorted(unknown))}")
    counts: list[Count] = []
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        bench = Bench(Path(folder), jobs=asked.jobs)
        for name in asked.rooms or ROOMS:
            counts += judge(bench, ROOMS[name], asked)
    if not counts:
        parser.error(f"no such mutant: {', '.join(asked.only)}")
    print_table(counts)


if __name__ == "__main__":
    main()
