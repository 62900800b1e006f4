"""One process of another environment: started when it is asked, watched while it answers, never left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from backtester_model_core.adapter import API_LEVEL
from backtester_model_core.exceptions import BacktesterModelError, IsolationError, PluginError
from backtester_model_isolated.answers import ERRORS, AnswerT, Failure, Greeting, parse_answer
from backtester_model_isolated.interpreters import check_allowed
from backtester_model_isolated.protocol import Arrival, Message, ProtocolError, encode, rest_of

MODULE = "backtester_model_isolated.child"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
LEAVE_SECONDS = 5.0
"""How long a process that is no longer wanted may take to leave by itself."""
LOOK_SECONDS = 1.0
"""How often a silent process is looked for: when it is gone, what it has forked may still hold its pipes open."""
MAX_GREETING_BYTES = 2**16
KEPT_BYTES = 8_192
SHOWN_LINES = 20


class Place(NamedTuple):
    """Where an adapter runs: one process for each.

    Attributes:
        python: Absolute path of the interpreter.
        adapter: Name of the adapter.
        threads: OpenMP and BLAS threads; ``None`` for those of this process.
    """

    python: str
    adapter: str
    threads: int | None = None


class ProcessDied(Exception):  # noqa: N818 - it is what happened; an error once nobody asks again
    """The process ended before it answered."""


class Child:
    """A process that answers one question at a time.

    Args:
        place: Where it runs.
        seconds: How long it may take to start.

    Raises:
        ConfigError: When its interpreter is not allowed.
        IsolationError: When it does not start, or is of another version.
    """

    def __init__(self, place: Place, *, seconds: float) -> None:
        python = check_allowed(place.python)
        self.place = place
        self._printed = bytearray()
        their_request, self._request = os.pipe()
        self._answer, their_answer = os.pipe()
        self._stderr, their_stderr = os.pipe()
        theirs = (their_request, their_answer, their_stderr)
        command = [python, "-I", "-m", MODULE, str(their_request), str(their_answer)]
        try:
            # Standard output goes where errors go: what an adapter prints is not taken for an answer. In a session of
            # its own it is not interrupted by Ctrl-C in the middle of an answer, and ends with all that it started.
            self._process = subprocess.Popen(  # noqa: S603 - an interpreter that was allowed by name
                command,
                stdin=subprocess.DEVNULL,
                stdout=their_stderr,
                stderr=their_stderr,
                pass_fds=(their_request, their_answer),
                env=_environment(os.environ, place.threads),
                start_new_session=True,
            )
        except OSError as error:
            self._close_pipes()
            raise self.error(f"does not start: {error.strerror}") from error
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for end in theirs:
                os.close(end)
        for end in (self._request, self._answer, self._stderr):
            os.set_blocking(end, False)
        self._greet(seconds)

    @property
    def is_alive(self) -> bool:
        """Whether it is there to be asked."""
        return self._process.returncode is None and not self._has_ended()

    def ask(
        self,
        question: Message,
        read: Callable[[Message], AnswerT | Failure],
        *,
        max_bytes: int,
        seconds: float,
    ) -> AnswerT:
        """Hand over a question and wait for the answer; a process that fails to give one is ended.

        Args:
            question: What is asked.
            read: Turns a message into an answer, or raises a ProtocolError.
            max_bytes: How large the arrays and files of the answer may be.
            seconds: How long it may take.

        Raises:
            ProcessDied: When it ends before it has answered.
            IsolationError: When it takes too long, what it sends is no answer, or its adapter breaks.
            BacktesterModelError: What its adapter raised.
        """
        try:
            parts = encode(question)
        except ProtocolError as error:
            raise self.error(f"cannot be asked: {error}") from error
        try:
            answer = read(self._exchange(parts, max_bytes=max_bytes, seconds=seconds))
        except ProtocolError as error:
            self.kill()
            raise self.error(f"sent what is no answer: {error}") from error
        except TimeoutError as error:
            self.kill()
            raise self.error(
                f"did not answer within {seconds:g} s and was ended. Raise time_limit_seconds if it needs longer"
            ) from error
        except ProcessDied:
            self._bury()
            raise
        except BaseException:
            self.kill()
            raise
        if isinstance(answer, Failure):
            raise self._failed(answer)
        return answer

    def error(self, problem: str) -> IsolationError:
        """Return an error that names the process, what became of it, and the end of what it printed."""
        return IsolationError.of(self.place.adapter, self.place.python, problem, last_words=self.last_words())

    def last_words(self) -> str:
        """Return the end of what it printed."""
        self._listen()
        lines = self._printed.decode(errors="replace").splitlines()[-SHOWN_LINES:]
        return "\n".join("".join(one if one.isprintable() else "?" for one in line) for line in lines)

    def kill(self) -> None:
        """End it and all that it started, and wait until it is gone."""
        self._signal_all()
        self._process.wait()
        self._listen()
        self._close_pipes()

    def close(self) -> None:
        """Let it leave by itself, or end it."""
        self.release()
        self._bury()

    def release(self) -> None:
        """Tell it that nobody will ask any more, and do not wait."""
        self._request = _close(self._request)

    def abandon(self) -> None:
        """Forget it in a copy of this process, whose original goes on asking it."""
        self._close_pipes()
        self._process.returncode = 0  # so that nobody waits for a process that is not this one's

    def how_it_ended(self) -> str:
        """Say what became of it."""
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"

    def _failed(self, failure: Failure) -> BacktesterModelError:
        """Return the error that the adapter raised, where it is one of the project's; else what is known of it."""
        error = ERRORS.get(failure.error)
        if error is not None and issubclass(error, PluginError):  # what is installed there, and not here
            return error(f"In the environment of {self.place.python}: {failure.message}")
        if error is not None:
            return error(failure.message)
        return self.error(f"raised {failure.error}: {failure.message}")

    # -- inside -----------------------------------------------------------------------------------------------------

    def _greet(self, seconds: float) -> None:
        """Wait for its first words, and see whether the two can talk."""
        try:
            greeting = parse_answer(
                Greeting, self._exchange([], max_bytes=MAX_GREETING_BYTES, seconds=seconds)
            )
        except (ProcessDied, ProtocolError, TimeoutError) as error:
            if isinstance(error, ProcessDied):
                self._bury()
                ended = f"it {self.how_it_ended()}"
            else:
                self.kill()
                ended = str(error) or f"it says nothing for {seconds:g} s"
            raise self.error(
                f"does not start ({ended}). It needs the packages backtester-model-isolated and the adapter's"
            ) from error
        except BaseException:
            self.kill()
            raise
        if greeting.api != API_LEVEL or _series(greeting.core) != _series(_core_version()):
            self.kill()
            raise self.error(
                f"has backtester-model-core {greeting.core} of interface level {greeting.api}, and this one "
                f"{_core_version()} of {API_LEVEL}: install the same series in both environments"
            )

    def _exchange(self, parts: list[memoryview], *, max_bytes: int, seconds: float) -> Message:
        """Write parts and read one message, whichever the process is ready for, and listen to what it prints."""
        arrival, due = Arrival(max_bytes=max_bytes), time.monotonic() + seconds
        with selectors.DefaultSelector() as ready:
            ready.register(self._answer, selectors.EVENT_READ)
            ready.register(self._stderr, selectors.EVENT_READ)
            if parts:
                ready.register(self._request, selectors.EVENT_WRITE)
            while True:
                left = due - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                ended = self._has_ended()
                events = ready.select(0 if ended else min(left, LOOK_SECONDS))
                if ended and self._answer not in {key.fd for key, _ in events}:
                    raise ProcessDied
                for key, _ in events:
                    if key.fd == self._stderr:
                        if self._listen():
                            ready.unregister(self._stderr)
                    elif key.fd == self._request:
                        parts = _write_some(self._request, parts)
                        if not parts:
                            ready.unregister(self._request)
                    elif _read_some(self._answer, arrival):
                        return arrival.message()

    def _listen(self) -> bool:
        """Keep the end of what it has printed, a MiB at a time; say whether nothing more can come."""
        for _ in range(16 if self._stderr >= 0 else 0):
            try:
                printed = os.read(self._stderr, 65_536)
            except BlockingIOError:
                return False
            if not printed:
                return True
            self._printed += printed
            del self._printed[:-KEPT_BYTES]
        return self._stderr < 0

    def _bury(self) -> None:
        """Wait a little until it has ended by itself, and end it otherwise."""
        due = time.monotonic() + LEAVE_SECONDS
        while self.is_alive and time.monotonic() < due:
            self._listen()
            time.sleep(0.005)
        self.kill()

    def _has_ended(self) -> bool:
        """Say whether it has ended, and leave its number taken: until it is waited for, nobody else can have it."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal_all(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):  # it is about to end, and is waited for next
                os.killpg(self._process.pid, signal.SIGKILL)  # its session's group bears its number

    def _close_pipes(self) -> None:
        self._request, self._answer, self._stderr = map(_close, (self._request, self._answer, self._stderr))


def _write_some(end: int, parts: list[memoryview]) -> list[memoryview]:
    """Write as much as the pipe takes, in one go so that the reader is woken once; return what is left."""
    try:
        while parts:
            parts = rest_of(parts, os.writev(end, parts))
    except BlockingIOError:
        return parts
    except BrokenPipeError:  # what it sent before it ended is still to be read
        return []
    return parts


def _read_some(end: int, arrival: Arrival) -> bool:
    """Read as much as there is; say whether the message is whole."""
    while True:
        try:
            n_bytes = os.readv(end, [arrival.wanted])
        except BlockingIOError:
            return False
        if n_bytes == 0:
            raise ProcessDied
        if arrival.received(n_bytes):
            return True


def _close(end: int) -> int:
    if end >= 0:
        os.close(end)
    return -1


def _environment(environ: Mapping[str, str], threads: int | None) -> dict[str, str]:
    """Return the environment without what steers this process's own interpreter."""
    kept = {name: value for name, value in environ.items() if not name.startswith("PYTHON")}
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else kept


def _core_version() -> str:
    from importlib.metadata import version

    return version("backtester-model-core")


def _series(version: str) -> list[str]:
    return version.split(".")[:2]
