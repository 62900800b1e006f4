"""How a command ends: its exit code, and one message where an error is ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import typer


class ExitCode(IntEnum):
    """What a script may go by."""

    FINE = 0
    REFUSED = 1
    USAGE = 2
    NO_SKILL = 3
    DIFFERS = 4
    LOOKS_AHEAD = 5
    CANNOT_TELL = 6
    INTERRUPTED = 130


EXIT_CODES = """Exit codes:

0  fine

1  refused: bad bars, a bad configuration, a missing package, ...; one message on stderr (--debug: the traceback)

2  wrong usage of the command

3  no skill was shown, where --require-skill asks for it

4  a replay differs from its run

5  what was checked looks ahead

6  nobody can tell whether what was checked looks ahead

130  interrupted"""
"""The epilogue of ``--help``; blank lines, because a paragraph is a line there."""


@contextmanager
def one_message(*, debug: bool, out: Path | None = None) -> Iterator[None]:
    """End the command with one message on stderr where an error is ours; a bug keeps its traceback.

    Args:
        debug: Whether our errors keep their traceback too.
        out: The run folder from which an interrupted command resumes; ``None`` where there is none.
    """
    # Here, because --help must not wait for pandas, which the core imports.
    from backtester_model_core.exceptions import BacktesterModelError

    try:
        yield
    except BacktesterModelError as error:
        if debug:
            raise
        _write(f"Error: {error}")
        raise typer.Exit(ExitCode.REFUSED) from None
    except KeyboardInterrupt:
        kept = out is not None and out.exists()
        resumes = f" The finished windows are in {out}: the same command goes on from there." if kept else ""
        _write(f"Interrupted.{resumes}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _write(message: str) -> None:
    sys.stderr.write(f"{message}\n")
