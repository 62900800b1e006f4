"""What every contract is: small named checks that nobody can leave out unnoticed."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from time import perf_counter
from typing import Any, ClassVar, NoReturn, TypeVar
from unittest import SkipTest

from backtester_model_core.exceptions import ConfigError
from backtester_model_core.testing.contract.outcomes import CheckResult, ContractReport, Outcome, explained

Body = TypeVar("Body", bound=Callable[[Any], None])
Kept = TypeVar("Kept")

_BODIES: dict[Any, Callable[[Any], None]] = {}
"""What each check does, by the method that runs it."""

LAST = "test_the_whole_contract_ran"


def check(body: Body) -> Body:
    """Make a method a check of its contract: counted, limited in time, excused only by ``expected_failures``."""

    @wraps(body)
    def method(contract: Contract) -> None:
        __tracebackhide__ = True
        outcome, error = _attempt(contract, body.__name__, body)
        if outcome == "not applicable":
            _tell_pytest("skip", str(error))
        elif outcome == "expected":
            _tell_pytest("xfail", contract.expected_failures[body.__name__])
        elif error is not None:
            raise error

    _BODIES[method] = body
    return method  # type: ignore[return-value]


class Contract:
    """Named checks of one kind of thing that somebody may publish: inherit one, name the thing, run pytest.

    A check that says nothing of this thing is skipped with its reason. The only other excuse is a line in
    ``expected_failures``; it is strict, so that a check which passes after all is a failure until the line is gone.

    Attributes:
        expected_failures: For each check that is known to fail, why.
        time_limit_seconds: After this a check is stopped and has failed; generous, as it is there for what hangs.
        n_checks: How many checks the contract has.

    Raises:
        ConfigError: When a class expects a check to fail that there is not, or gives no reason.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}
    time_limit_seconds: ClassVar[float] = 300.0
    n_checks: ClassVar[int] = 0
    _ran: ClassVar[set[str]]
    _kept: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._ran, cls._kept = set(), {}
        setattr(cls, LAST, Contract.__dict__[LAST])  # pytest runs a class's methods in order of definition
        for name, reason in cls.expected_failures.items():
            if name not in cls.checks():
                raise ConfigError.unknown("check in expected_failures", name, cls.checks())
            if not reason.strip():
                raise ConfigError(
                    f"expected_failures gives no reason for {name!r}. Say why it is known to fail."
                )

    @classmethod
    def described(cls) -> dict[str, str]:
        """Return what to look at when a check fails, by its name."""
        return {name: look_at(method) for name, method in cls.checks().items()}

    @classmethod
    def checks(cls) -> dict[str, Callable[[Any], None]]:
        """Return the contract's own checks by name, in the order in which they run."""
        found: dict[str, Callable[[Any], None]] = {}
        for owner in reversed(cls.__mro__):
            for name, thing in vars(owner).items():
                if inspect.isfunction(thing) and thing in _BODIES:
                    found.setdefault(name, thing)
        return {name: thing for name, thing in found.items() if name != LAST} | {LAST: found[LAST]}

    @classmethod
    def subject(cls) -> str:
        """Name what is checked."""
        return cls.__name__

    @classmethod
    def capabilities(cls) -> tuple[str, ...]:
        """Name what the subject declares that it can do."""
        return ()

    @check
    def test_the_whole_contract_ran(self) -> None:
        """Look at checks that the class replaces or deselects: a known failure is a line in ``expected_failures``."""
        own = self.checks()
        replaced = [name for name, body in own.items() if getattr(type(self), name, None) is not body]
        marked = [name for name, body in own.items() if hasattr(body, "pytestmark")]
        missing = [name for name in own if name not in self._ran]
        if missing and "PYTEST_XDIST_WORKER" in os.environ:
            raise SkipTest("pytest-xdist spreads the checks over processes that cannot count each other's")

        assert not replaced, f"replaced by the class: {', '.join(replaced)}"
        assert not marked, f"carry a mark of pytest's: {', '.join(marked)}"
        assert not missing, f"{len(missing)} of {len(own)} checks did not run: {', '.join(missing)}"
        assert len(own) == self.n_checks, f"there are {len(own)} checks, of {self.n_checks}"

    # -- what checks share ------------------------------------------------------------------------------------------

    def once(self, name: str, make: Callable[[], Kept]) -> Kept:
        """Return what was made for the first check that asked; where making it failed, every check fails so."""
        if name not in self._kept:
            try:
                self._kept[name] = (make(), None)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it is raised for each who asks
                self._kept[name] = (None, error)
        made, failure = self._kept[name]
        if isinstance(failure, (AssertionError, SkipTest)):
            raise type(failure)(*failure.args) from failure
        if failure is not None:
            raise AssertionError(f"{name} failed with {type(failure).__name__}: {failure}") from failure
        return made  # type: ignore[no-any-return]

    def looking_at(self, what: str) -> None:
        """Note what the next assertions are about, for the message of one that fails."""
        self._kept["looking at"] = what


def check_contract(contract: type[Contract], *, only: Iterable[str] | None = None) -> ContractReport:
    """Run every check of a contract without pytest, each whatever came of the others.

    Args:
        contract: A class that inherits a contract, and names what is checked.
        only: Names of checks to run; all by default.

    Raises:
        ConfigError: When there is no check of a name.
    """
    one, own = contract(), contract.checks()
    results = []
    for name in own if only is None else only:
        if name not in own:
            raise ConfigError.unknown("check", name, own)
        method = own[name]
        began = perf_counter()
        outcome, error = _attempt(one, name, _BODIES[method])
        message = "" if error is None else explained(error)
        if outcome == "expected":
            message = contract.expected_failures[name]
        if outcome == "not applicable":
            message = str(error)
        results.append(CheckResult(name, outcome, perf_counter() - began, message, look_at(method)))
    return ContractReport(_name_of(contract), contract.subject(), contract.capabilities(), tuple(results))


def declared(contract: type[Contract], attributes: Mapping[str, Any]) -> type[Contract]:
    """Return a contract with some of its attributes set, as a class that inherits it would.

    Raises:
        ConfigError: When it has no attribute of a name.
    """
    known = {name for name in dir(contract) if not name.startswith(("_", "test_"))}
    known |= {name for owner in contract.__mro__ for name in vars(owner).get("__annotations__", {})}
    for name in attributes:
        if name not in known:
            raise ConfigError.unknown(f"attribute of {contract.__name__}", name, known)
    return type(contract.__name__, (contract,), dict(attributes))


def look_at(method: Callable[[Any], None]) -> str:
    """Return what a check's docstring says to look at, on one line."""
    return " ".join(inspect.cleandoc(method.__doc__ or "").split())


def not_applicable(reason: str) -> NoReturn:
    """Say that a check says nothing of its subject, and why."""
    raise SkipTest(reason)


# -- inside -----------------------------------------------------------------------------------------------------------


def _attempt(
    contract: Contract, name: str, body: Callable[[Any], None]
) -> tuple[Outcome, BaseException | None]:
    """Run one check and say what came of it."""
    contract._ran.add(name)  # noqa: SLF001 - of this module's own class
    contract._kept.pop("looking at", None)  # noqa: SLF001
    reason = contract.expected_failures.get(name)
    try:
        with _time_limit(contract.time_limit_seconds):
            body(contract)
    except SkipTest as skipped:
        if reason is None:
            return "not applicable", skipped
        return "failed", AssertionError(f"it does not apply ({skipped}): take it out of expected_failures")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a subject raises is a finding
        at = contract._kept.get("looking at")  # noqa: SLF001
        if at is not None:
            error.add_note(f"looking at {at}")
        return ("failed", error) if reason is None else ("expected", error)
    if reason is not None:
        return "failed", AssertionError(f"it passed, and was expected to fail ({reason}): take it out")
    return "passed", None


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, where the platform and the thread allow it."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> NoReturn:  # noqa: ARG001 - the signature is signal's
        raise TimeoutError(f"it took longer than {seconds:g} seconds")

    handler = signal.signal(signal.SIGALRM, stop)
    before = signal.setitimer(signal.ITIMER_REAL, seconds)
    began = perf_counter()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if before[0]:  # somebody else's limit goes on
            signal.setitimer(signal.ITIMER_REAL, max(before[0] - (perf_counter() - began), 1e-3), before[1])


def _tell_pytest(how: str, reason: str) -> None:
    """Skip the test that is running, or let it fail as expected, where pytest runs it."""
    pytest = sys.modules.get("pytest")
    if pytest is not None:
        getattr(pytest, how)(reason)


def _name_of(contract: type[Contract]) -> str:
    """Return the name of the contract that a class inherits: the nearest that pins its number of checks."""
    return next(owner.__name__ for owner in contract.__mro__ if "n_checks" in vars(owner))
