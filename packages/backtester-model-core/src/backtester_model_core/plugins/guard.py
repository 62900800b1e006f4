"""The import of one plugin: what it may not do to the process is undone, and the plugin is named.

This is against accidents. A package that is installed can do whatever it wants to, and nothing here prevents that.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

from backtester_model_core.exceptions import PluginError
from backtester_model_core.plugins.shared_state import left_as_it_was
from backtester_model_core.plugins.time_limit import Interruption, time_limit

logger = logging.getLogger(__name__)

LIMIT = "BACKTESTER_MODEL_IMPORT_SECONDS"
DEFAULT_LIMIT_SECONDS = 120.0
MAX_LIMIT_SECONDS = 86_400.0


@contextmanager
def guarding(plugin: str, *, environ: Mapping[str, str]) -> Iterator[None]:
    """Guard the import of one plugin, and say in the log what it did to the process.

    What it prints goes to the error stream, as a command's output may be read by a program. What it changes of what
    all share is put back.

    Args:
        plugin: What is imported, such as ``adapter 'murmur' of murmur-pack``.
        environ: Where the time limit is read from.

    Raises:
        PluginError: When it tries to end the process, or takes too long.
    """
    printed = _Aside()
    changes: list[str] = []
    seconds = _limit_seconds(environ)
    remedy = f"Set BACKTESTER_MODEL_DISABLE to leave it out, or {LIMIT} to wait longer"
    try:
        with (
            redirect_stdout(cast("Any", printed)),
            left_as_it_was() as changes,
            time_limit(seconds, what=f"The import of the {plugin}", remedy=remedy),
            staying_alive(),
        ):
            yield
    finally:
        printed.is_over = True
        done = [*(["prints"] if printed.is_used else []), *changes]
        if done:
            logger.warning(
                "The %s does more than it should when it is imported: it %s. What it prints went to the error stream, "
                "and what it changes was put back.",
                plugin,
                ", ".join(done),
            )


@contextmanager
def staying_alive() -> Iterator[None]:
    """Turn what would end the process into a fault of the plugin; Ctrl-C is the user's.

    Raises:
        PluginError: In the place of whatever no ``except Exception`` would catch.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, Interruption):
        raise
    except SystemExit as error:
        raise PluginError(f"it tries to exit the process ({error.code})") from error
    except BaseException as error:
        raise PluginError(f"it raises a {type(error).__name__}, which would end the process") from error


def _limit_seconds(environ: Mapping[str, str]) -> float:
    text = environ.get(LIMIT)
    if text is None:
        return DEFAULT_LIMIT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_LIMIT_SECONDS:
        raise PluginError(f"{LIMIT}={text!r} is not a number of seconds such as 120. 0 sets no limit")
    return seconds


class _Aside:
    """Stands for the output while a plugin is imported: what the importing thread writes goes to the error stream.

    Other threads write on as before. So does the plugin afterwards, which may have kept this for a log of its own.
    """

    def __init__(self) -> None:
        self.is_used = False
        self.is_over = False
        self._output = sys.stdout
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        self.is_used = self.is_used or (self._is_aside and bool(text.strip()))
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def _is_aside(self) -> bool:
        return not self.is_over and threading.get_ident() == self._thread

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._is_aside else self._output
