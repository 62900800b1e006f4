"""The processes that this one has started: one for each place, few at a time, none left when it ends."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable

from backtester_model_isolated.answers import AnswerT, Failure
from backtester_model_isolated.process import Child, Place, ProcessDied
from backtester_model_isolated.protocol import Message

MAX_PROCESSES = 8
"""How many are kept; the one that was asked longest ago leaves for another."""


class _Seat:
    """Where at most one process of a place is, and who may ask it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.child: Child | None = None
        self.asked_at = 0.0

    def clear(self) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None


class Children:
    """Processes by their places; any thread may ask, and those of one place wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seats: dict[Place, _Seat] = {}

    def ask(
        self,
        place: Place,
        question: Message,
        read: Callable[[Message], AnswerT | Failure],
        *,
        max_bytes: int,
        seconds: float,
        restarts: int,
    ) -> AnswerT:
        """Ask the process of a place, starting it where there is none, and again where it dies.

        Args:
            place: Where to ask.
            question: What is asked.
            read: Turns a message into an answer, or raises a ProtocolError.
            max_bytes: How large the arrays and files of the answer may be.
            seconds: How long a start or an answer may take.
            restarts: How often another process is asked when one dies.

        Raises:
            ConfigError: When the interpreter is not allowed.
            IsolationError: When there is no answer.
            BacktesterModelError: What the adapter raised.
        """
        with self._lock:
            seat = self._seats.setdefault(place, _Seat())
        with seat.lock:
            n_asked = 0
            while True:
                n_asked += 1
                child = self._seated(seat, place, seconds)
                try:
                    return child.ask(question, read, max_bytes=max_bytes, seconds=seconds)
                except ProcessDied as error:
                    if n_asked > restarts:
                        times = "once" if n_asked == 1 else f"{n_asked} times, of as many processes"
                        raise child.error(
                            f"{child.how_it_ended()} before it answered; it was asked {times}"
                        ) from error

    def close(self) -> None:
        """End all of them, and wait until they are gone."""
        seats = list(self._seats.values())
        for seat in seats:
            if seat.child is not None:
                seat.child.release()
        for seat in seats:
            seat.clear()

    def abandon(self) -> None:
        """Forget all of them in a copy of this process; the original goes on asking them."""
        for seat in self._seats.values():
            if seat.child is not None:
                seat.child.abandon()
        self._lock = threading.Lock()  # the old one may be held by a thread that is not copied
        self._seats = {}

    def _seated(self, seat: _Seat, place: Place, seconds: float) -> Child:
        seat.asked_at = time.monotonic()
        if seat.child is None or not seat.child.is_alive:
            seat.clear()
            self._make_room()
            seat.child = Child(place, seconds=seconds)
        return seat.child

    def _make_room(self) -> None:
        """Let those leave that were asked longest ago, unless they are being asked."""
        with self._lock:
            seated = [seat for seat in self._seats.values() if seat.child is not None]
        for seat in sorted(seated, key=lambda one: one.asked_at)[: len(seated) - MAX_PROCESSES + 1]:
            if seat.lock.acquire(blocking=False):
                try:
                    seat.clear()
                finally:
                    seat.lock.release()


CHILDREN = Children()
atexit.register(CHILDREN.close)
os.register_at_fork(after_in_child=CHILDREN.abandon)
