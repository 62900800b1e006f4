"""What the checks of an adapter need a fresh process for, done in one: imports, loading, repeating, interrupting."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd

from backtester_model_core.exceptions import ModelError
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.testing.contract.case import N_SERVED, Case, frame, series
from backtester_model_core.testing.contract.contract import not_applicable
from backtester_model_core.testing.contract.side_effects import AT_FIRST, Changes, noting_changes

if TYPE_CHECKING:
    from backtester_model_core.testing.contract.adapter_checks import AdapterChecks

N_PREDICTS = 1000
N_ROWS_ASKED = 200
N_THREADS = 4
N_INTERRUPTS = 3
"""How often a training is interrupted before it is said to go on: one may ring where Python lets no error out."""


@dataclass(frozen=True)
class Answer:
    """What one job in the other process gave, or how it failed."""

    value: Any = None
    error: str = ""


@dataclass(frozen=True)
class Elsewhere:
    """What a fresh process found.

    Attributes:
        listed: Modules of the adapter that were imported by listing the plugins.
        imported: What importing the adapter changed of the process; ``None`` for one registered in code.
        worked: What the first training and forecast changed of it.
        answers: By job, one answer for each configuration.
    """

    listed: list[str]
    imported: Changes | None
    worked: Changes
    answers: Mapping[str, list[Answer]] = field(default_factory=dict)

    def of(self, job: str) -> list[Any]:
        """Return what a job gave for each configuration.

        Raises:
            AssertionError: When it failed there.
        """
        errors = [answer.error for answer in self.answers[job] if answer.error]
        assert not errors, f"in another process: {errors[0]}"
        return [answer.value for answer in self.answers[job]]


def work_elsewhere(contract: AdapterChecks) -> Elsewhere:
    """Let one fresh process do all that the checks need one for.

    Raises:
        AssertionError: When that process died, or did not end in time.
    """
    from joblib.externals.loky import ProcessPoolExecutor, process_executor
    from joblib.externals.loky.backend.reduction import dumps

    models = [(trained.case.config, trained.model, trained.served) for trained in contract.trained()]
    executor = ProcessPoolExecutor(max_workers=1)
    is_late = False
    try:
        with tempfile.TemporaryDirectory() as root:
            folders = [Path(root, str(number)) for number in range(len(models))]
            if contract.adapter.can("save_model"):
                for folder, (_, model, _) in zip(folders, models, strict=True):
                    model.save(folder)
            listed, imported = executor.submit(_probe, contract.framework, AT_FIRST).result(
                contract.time_limit_seconds
            )
            jobs = [
                (config, bytes(dumps(model)), folder, served)
                for (config, model, served), folder in zip(models, folders, strict=True)
            ]
            done = executor.submit(_work, plugins().registered_in_code(), jobs)
            worked, answers = done.result(contract.time_limit_seconds)
        return Elsewhere(listed, imported, worked, answers)
    except (TooLateError, TimeoutError) as error:
        is_late = True
        raise AssertionError(f"it did not end within {contract.time_limit_seconds:g} seconds") from error
    except process_executor.TerminatedWorkerError as error:
        raise AssertionError(f"the process ended before its work was done: {error}") from error
    finally:
        executor.shutdown(wait=True, kill_workers=is_late)


# -- in the other process -----------------------------------------------------------------------------------------


def _probe(framework: str, environ: dict[str, str]) -> tuple[list[str], Changes | None]:
    """List the plugins, then import the adapter, and say what either did to the process."""
    os.environ.clear()
    os.environ.update(environ)  # the adapter may have changed the parent's already
    listing = [info for info in plugins().listing() if info.kind == "adapter" and info.name == framework]
    values = [info.value.partition(":")[0] for info in listing if info.is_usable]
    listed = [module for module in values if module in sys.modules]
    if not values:
        return listed, None
    changes: Changes = {}
    with noting_changes(changes):
        with suppress(Exception, SystemExit):  # of which the adapter's own import tells
            import_module(
                values[0]
            )  # by itself, as the guard of an adapter's import puts back what it changes
        plugins().adapter(framework)
    return listed, changes


def _work(
    in_code: list[tuple[str, str, Any]], jobs: list[tuple[Any, bytes, Path, pd.DataFrame]]
) -> tuple[Changes, dict[str, list[Answer]]]:
    plugins().repeat(in_code)
    changes: Changes = {}
    answers: dict[str, list[Answer]] = {}
    answers["load"] = [_answer(partial(_load, folder, served)) for _, _, folder, served in jobs]
    answers["unpickle"] = [_answer(partial(_unpickle, pickled, served)) for _, pickled, _, served in jobs]
    with noting_changes(changes):
        answers["train"] = [_answer(partial(_train, config, served)) for config, _, _, served in jobs]
    changes.pop("threads", None)  # a framework may keep its own
    changes.pop("output", None)
    for name, work in (("memory", _grow), ("threads", _ask_in_threads), ("interrupt", _interrupt)):
        answers[name] = [_answer(partial(work, config)) for config, *_ in jobs]
    return changes, answers


def _answer(work: Callable[[], Any]) -> Answer:
    try:
        return Answer(value=work())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is told to the check that asks
        return Answer(error=f"{type(error).__name__}: {error}")


def _load(folder: Path, served: pd.DataFrame) -> pd.DataFrame | None:
    return BaseModel.load(folder).predict_distribution(served).frame if folder.exists() else None


def _unpickle(pickled: bytes, served: pd.DataFrame) -> pd.DataFrame:
    model: BaseModel = pickle.loads(pickled)  # noqa: S301 - our own bytes, as joblib sends them
    return model.predict_distribution(served).frame


def _case(config: Any) -> Case:
    return Case(plugins().adapter(config.framework), config)


def _train(config: Any, served: pd.DataFrame) -> pd.DataFrame:
    case = _case(config)
    return case.model(*case.rows()).predict_distribution(served).frame


def _grow(config: Any) -> int | None:
    """Return by how many bytes the process grew over a thousand forecasts; ``None`` where nobody can say."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    case = _case(config)
    native = case.native(*case.rows())
    values = case.rows(N_ROWS_ASKED)[0]

    def ask(n_times: int) -> int:
        for _ in range(n_times):
            case.ask(native, values.copy())
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = ask(N_PREDICTS // 5)
    return ask(N_PREDICTS) - before


def _ask_in_threads(config: Any) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Return what one model answers to several callers one after the other, and at the same time."""
    case = _case(config)
    model = case.model(*case.rows())
    served = [frame(case.rows(4 * N_SERVED, seed=number)[0]) for number in range(N_THREADS)]
    alone = [model.predict_distribution(features).frame for features in served]
    start = threading.Barrier(N_THREADS)

    def ask(features: pd.DataFrame) -> pd.DataFrame:
        start.wait()
        return [model.predict_distribution(features).frame for _ in range(5)][-1]

    with ThreadPoolExecutor(N_THREADS) as executor:
        return alone, list(executor.map(ask, served))


def _interrupt(config: Any) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame] | None:
    """Interrupt trainings, and return what the model answered before and after, and one that is trained anew."""
    if not hasattr(signal, "setitimer"):
        return None
    case = _case(config)
    rows, served = case.rows(), case.served()
    began = perf_counter()
    model = case.model(*rows)
    one_training = perf_counter() - began
    before = model.predict_distribution(served).frame
    for share in (0.2, 0.5, 0.8):
        ended = (_is_interrupted(model, rows, seconds=share * one_training) for _ in range(N_INTERRUPTS))
        if not any(ended):
            raise ModelError("the training went on as if nobody had pressed Ctrl-C")
    return (
        before,
        model.predict_distribution(served).frame,
        case.model(*rows).predict_distribution(served).frame,
    )


def _is_interrupted(model: BaseModel, rows: Any, *, seconds: float) -> bool:
    """Train again and again until interrupted, and say whether that ended the training."""
    has_rung: list[int] = []

    def ring(number: int, where: Any) -> NoReturn:  # noqa: ARG001 - the signature is signal's
        has_rung.append(number)
        raise KeyboardInterrupt

    features, target = frame(rows[0]), series(rows[1])
    handler = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
        while not has_rung:
            model.train(features, target)
    except BaseException:
        if not has_rung:
            raise
        return True  # whatever came out: what compiled code calls back may turn it into another error
    else:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def require_platform(answers: list[Any], what: str) -> None:
    """Leave a check that this platform cannot make."""
    if any(answer is None for answer in answers):
        not_applicable(f"this platform has no {what}")
