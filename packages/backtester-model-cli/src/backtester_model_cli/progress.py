"""How far a walk-forward has come, on stderr: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

PLAIN_LINES = 8
"""About how many lines a whole walk-forward writes where there is no terminal."""

Progress = Callable[[int, int], None]


@contextmanager
def window_progress(*, quiet: bool, of: str = "window") -> Iterator[Progress | None]:
    """Yield what a walk-forward calls with (windows done, windows in all); ``None`` where nobody wants to know.

    Args:
        quiet: Whether nobody wants to know.
        of: What is counted, where it is not windows.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(of) as progress:
            yield progress
    else:
        yield partial(_write_line, of)


@contextmanager
def _bar(of: str) -> Iterator[Progress]:
    """Yield a callback that moves a bar, which is there before the number of windows is known."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("preparing", total=None)

        def move(done: int, total: int) -> None:
            bar.update(task, description=of, completed=done, total=total)

        yield move


def _write_line(of: str, done: int, total: int) -> None:
    """Write a line at the first step, at the last, and after every eighth of them all."""
    step = max(1, total // PLAIN_LINES)
    if done in {1, total} or done % step == 0:
        sys.stderr.write(f"{of} {done} of {total}\n")
        sys.stderr.flush()
