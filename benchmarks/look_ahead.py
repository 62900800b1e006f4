"""Run every check that applies on planted leaks and on their clean twins, and print what finds what.

Each leak has a twin that looks as suspicious and is clean. Features are cut at every bar. Run with::

    python benchmarks/look_ahead.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from look_ahead_cases import PAIRS, UNSEEN
from look_ahead_cases.case import Checks, Pair


def found_by(checks: Checks) -> list[str]:
    """Return the numbers of the checks that find something."""
    return [number for number, check in checks.items() if check()]


def table(pairs: Iterable[Pair]) -> tuple[list[str], int, int]:
    """Return the lines of the table, and how many leaks were found and twins accused."""
    lines = [
        "| leak | found by | not by | clean twin | accused by | seconds |",
        "|---|---|---|---|---|---|",
    ]
    n_found = n_accused = 0
    for pair in pairs:
        started = time.process_time()
        found, accused = found_by(pair.leak_checks), found_by(pair.twin_checks)
        missed = [number for number in pair.leak_checks if number not in found]
        n_found += bool(found)
        n_accused += bool(accused)
        cells = (pair.leak, *map(", ".join, (found, missed)), pair.twin, ", ".join(accused) or "none")
        lines.append(f"| {' | '.join(cells)} | {time.process_time() - started:.1f} |")
    return lines, n_found, n_accused


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    started = time.process_time()
    lines, n_found, n_accused = table(PAIRS)
    print("\n".join(lines))
    n = len(PAIRS)
    seen = ", ".join(found_by(UNSEEN.leak_checks)) or "none"
    print(
        f"\n{n_found} of {n} leaks found ({n_found / n:.0%}), {n_accused} of {n} clean twins accused "
        f"({n_accused / n:.0%}), {time.process_time() - started:.0f} s of one core. "
        f"Beyond reach, and not counted: {UNSEEN.leak} (found by: {seen})"
    )


if __name__ == "__main__":
    main()
