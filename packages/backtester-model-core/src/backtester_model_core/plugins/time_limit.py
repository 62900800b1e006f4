"""A limit on how long a block may take: it is interrupted where that can be done, and named where it cannot."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from backtester_model_core.exceptions import PluginError

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
"""Until the next interruption of a block that has outlived one."""


class Interruption(BaseException):
    """What ends a block that takes too long; no ``except Exception`` of it catches this."""


@contextmanager
def time_limit(seconds: float, *, what: str, remedy: str) -> Iterator[None]:
    """Interrupt a block that takes longer; 0 sets no limit.

    Python interrupts its main thread only, and only where SIGALRM exists and nobody else uses it: elsewhere, and in a
    block that does not come back from C code, the log says once what is being waited for.

    Args:
        seconds: How long the block may take.
        what: What takes too long, as the subject of a sentence.
        remedy: What to do about it.

    Raises:
        PluginError: When the block was interrupted.
    """
    if seconds <= 0:
        yield
        return
    watch = _Watch(seconds, what=what, remedy=remedy)
    try:
        watch.start()
        try:
            yield
        finally:
            watch.ended.set()
    except Interruption as error:
        raise PluginError(f"it takes longer than {seconds:g} seconds, {error}. {remedy}") from error
    finally:
        watch.stop()


class _Watch:
    """A thread that waits beside the one that runs the block."""

    def __init__(self, seconds: float, *, what: str, remedy: str) -> None:
        self.ended = threading.Event()
        self._seconds, self._what, self._remedy = seconds, what, remedy
        self._watched = threading.current_thread()
        self._thread = threading.Thread(target=self._wait, name="backtester-model time limit", daemon=True)
        self._previous = signal.getsignal(signal.SIGALRM) if hasattr(signal, "SIGALRM") else None
        self._may_interrupt = self._watched is threading.main_thread() and (
            self._previous == signal.SIG_DFL or isinstance(getattr(self._previous, "__self__", None), _Watch)
        )

    def start(self) -> None:
        if self._may_interrupt:
            signal.signal(signal.SIGALRM, self._interrupt)
        self._thread.start()

    def stop(self) -> None:
        self.ended.set()
        self._thread.join()  # so that no signal comes once nobody handles it
        if self._may_interrupt:
            signal.signal(signal.SIGALRM, self._previous)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's arguments
        if not self.ended.is_set():
            raise Interruption(_place(frame))

    def _wait(self) -> None:
        if self.ended.wait(self._seconds):
            return
        n_tries = 0
        while self._may_interrupt:
            signal.pthread_kill(self._watched.ident or 0, signal.SIGALRM)
            if self.ended.wait(AGAIN_SECONDS):
                return
            n_tries += 1
            if n_tries == 1:
                self._tell()
        self._tell()

    def _tell(self) -> None:
        where = _place(sys._current_frames().get(self._watched.ident or 0))  # noqa: SLF001 - documented, despite its name
        logger.warning(
            "%s takes longer than %g seconds, %s, and cannot be interrupted. %s",
            self._what,
            self._seconds,
            where,
            self._remedy,
        )


def _place(frame: FrameType | None) -> str:
    return "nobody knows where" if frame is None else f"at {frame.f_code.co_filename}:{frame.f_lineno}"
