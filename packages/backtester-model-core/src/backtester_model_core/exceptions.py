"""Every error that the project raises on purpose, in one tree.

::

    BacktesterModelError
    ├── BarsError                  ValueError    bars that must be refused, with every fault
    ├── ConfigError                ValueError    a configuration that does not validate
    ├── ExpressionError            ValueError    a feature expression that cannot be read or built
    ├── LabelError                 ValueError    a label that cannot be computed
    ├── SplitError                 ValueError    windows or folds that do not fit the data
    ├── EvaluationError            ValueError    rows, prices or weights that cannot be judged
    ├── EngineError                ValueError    signals that a backtesting engine cannot carry out
    ├── DataSourceError            OSError       a file or source that cannot be read
    ├── MissingExtraError          ImportError   an optional dependency that is not installed
    ├── PluginError                RuntimeError  a plugin that cannot be used
    │   ├── AdapterNotFoundError   LookupError   nobody installed answers for a framework
    │   ├── BrokenPluginError      ImportError   a plugin that is installed but does not load
    │   ├── DuplicatePluginError   ValueError    two distributions claim one name
    │   └── IsolationError  ChildProcessError    an adapter's own process that does not start, dies, hangs or errs
    ├── ModelError                 RuntimeError  a model that cannot do what was asked
    │   ├── NotTrainedError        RuntimeError  predict or save before train
    │   ├── FeatureMismatchError   ValueError    features other than those the model was trained on
    │   ├── TrainingError          RuntimeError  training rows or hyper-parameters a model cannot learn from
    │   │   └── OneClassError      ValueError    a training window that holds a single class
    │   └── PredictionError        RuntimeError  forecasts of a wrong shape, or not finite
    ├── RunError                   OSError       a run folder that cannot be read or written
    └── ArtifactError              OSError       a saved model that cannot be written, trusted or rebuilt

Each class has a second, builtin parent: the one a caller would catch who had never heard of this project.
Messages are written by classmethods, so that an error pickles into and out of a worker process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

MAX_FAULTS_SHOWN = 20


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint such as ``Did you mean 'close'?``, or the valid names when none is near."""
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Valid: {', '.join(names)}." if names else "There is none."


class BacktesterModelError(Exception):
    """Any error that the project raises on purpose."""


@dataclass(frozen=True)
class BarsFault:
    """One thing about bars that must be refused: where it first occurs, how often, and what to do.

    Attributes:
        code: A stable name of the kind of fault, such as ``high_below_low``.
        column: The column at fault, or ``None`` when the whole frame or its index is.
        symbol: The symbol at fault, or ``None`` for one symbol's plain frame.
        count: The number of rows (or columns) at fault.
        first: The first offending timestamp, as text; ``None`` where there is none.
        value: The first offending value, as text; ``None`` where there is none.
        hint: What to do about it.
    """

    code: str
    column: str | None
    symbol: str | None
    count: int
    first: str | None
    value: str | None
    hint: str

    def __str__(self) -> str:
        where = " ".join(part for part in (self.symbol, self.column) if part)
        at = f" first at {self.first}" if self.first else ""
        value = f" (value {self.value})" if self.value is not None else ""
        return f"{self.code}: {where + ': ' if where else ''}{self.count} x{at}{value}. {self.hint}"


class BarsError(BacktesterModelError, ValueError):
    """Bars that must be refused; ``faults`` holds every fault found, not only the first."""

    faults: tuple[BarsFault, ...] = ()

    @classmethod
    def of(cls, faults: Iterable[BarsFault]) -> Self:
        """Report all faults in one error; the message counts all and shows at most twenty."""
        found = tuple(faults)
        codes = sorted({fault.code for fault in found})
        summary = f"{len(found)} fault{'s' if len(found) != 1 else ''} in bars: {', '.join(codes)}"
        lines = [summary if len(summary) <= 120 else summary[:117] + "..."]
        lines += [f"  - {fault}" for fault in found[:MAX_FAULTS_SHOWN]]
        if len(found) > MAX_FAULTS_SHOWN:
            lines.append(f"  (and {len(found) - MAX_FAULTS_SHOWN} more)")
        error = cls("\n".join(lines))
        error.faults = found
        return error


class ConfigError(BacktesterModelError, ValueError):
    """A configuration that does not validate."""

    @classmethod
    def unknown(cls, kind: str, name: str, valid: Iterable[str]) -> Self:
        """Name the unknown key or value and the nearest valid one."""
        return cls(f"Unknown {kind} {name!r}. {nearest(name, valid)}")


class ExpressionError(BacktesterModelError, ValueError):
    """A feature expression that cannot be read or built."""

    @classmethod
    def unknown(cls, kind: str, name: str, valid: Iterable[str]) -> Self:
        """Name the unknown operator, column or set and the nearest valid one."""
        return cls(f"Unknown {kind} {name!r}. {nearest(name, valid)}")

    @classmethod
    def at(cls, text: str, line: int, column: int, problem: str) -> Self:
        """Name the place in the expression's text and what is wrong there."""
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        end = "" if problem.endswith((".", "?")) else "."
        return cls(f"{problem}{end} At line {line}, column {column} of {shown!r}.")


class LabelError(BacktesterModelError, ValueError):
    """A label that cannot be computed from these bars."""


class SplitError(BacktesterModelError, ValueError):
    """Windows or folds that do not fit the data."""


class EvaluationError(BacktesterModelError, ValueError):
    """Rows, prices or weights that cannot be judged."""

    @classmethod
    def lengths(cls, lengths: Mapping[str, object]) -> Self:
        """Name each argument with its length or shape."""
        given = ", ".join(f"{name} {length}" for name, length in lengths.items())
        return cls(f"The arguments do not belong to the same rows: {given}. Pass one entry for each row.")

    @classmethod
    def not_yet_known(cls, latest: object, now: object) -> Self:
        """Name the instant at which something became known, and the earlier one at which it was used."""
        return cls(
            f"Something known only from {latest} on was used at {now}. Leave out what is not known by then."
        )


class EngineError(BacktesterModelError, ValueError):
    """Signals that a backtesting engine cannot carry out, or that are not for the bars they came with."""

    @classmethod
    def cannot(cls, engine: str, what: str, remedy: str) -> Self:
        """Name the engine, what it cannot do, and what to do instead."""
        return cls(f"{engine} cannot {what}. {remedy}")


class DataSourceError(BacktesterModelError, OSError):
    """A file or data source that cannot be read."""


class MissingExtraError(BacktesterModelError, ImportError):
    """An optional dependency that is not installed."""

    @classmethod
    def needs(cls, what: str, extra: str) -> Self:
        """Say what needs the extra and how to install it."""
        return cls(f"{what} needs an optional dependency. Try: pip install 'backtester-model-core[{extra}]'")


class PluginError(BacktesterModelError, RuntimeError):
    """A plugin that cannot be used."""


class AdapterNotFoundError(PluginError, LookupError):
    """No installed, allowed distribution answers for a framework."""

    @classmethod
    def for_framework(
        cls, framework: str, installed: Iterable[str], packages: Mapping[str, str] | None = None
    ) -> Self:
        """Name the framework, what is installed, and the package to install, where one is known.

        A package name is never made up from what was asked for: somebody else may own it.
        """
        there, known = sorted(installed), packages or {}
        near = nearest(framework, {*there, *known})
        hint = f"Try: pip install {known[framework]}" if framework in known else near
        return cls(f"No adapter for framework {framework!r}; installed: {', '.join(there) or 'none'}. {hint}")

    @classmethod
    def for_model(cls, name: str, known: Iterable[str]) -> Self:
        """Name the model asked for and what there is."""
        return cls(
            f"No model named {name!r}: it is neither a registered model nor a framework. "
            f"{nearest(name, known)}"
        )

    @classmethod
    def blocked(cls, framework: str, reason: str) -> Self:
        """Say that the adapter is installed but blocked, and by what."""
        return cls(f"The adapter for framework {framework!r} is installed but blocked: {reason}.")


class BrokenPluginError(PluginError, ImportError):
    """A plugin that is installed but does not load."""

    @classmethod
    def because(cls, name: str, distribution: str, reason: str) -> Self:
        """Name the plugin, the distribution it came from, and why it cannot be used."""
        return cls(
            f"The plugin {name!r} of {distribution} does not load: {reason}. "
            f"Repair or uninstall {distribution}, or set BACKTESTER_MODEL_DISABLE={name}."
        )


class DuplicatePluginError(PluginError, ValueError):
    """Two distributions claim one name."""

    @classmethod
    def between(cls, name: str, claims: Iterable[str]) -> Self:
        """Name every distribution that claims the name."""
        return cls(f"The name {name!r} is claimed by {' and '.join(claims)}. Uninstall all but one.")


class IsolationError(PluginError, ChildProcessError):
    """An adapter in a process of its own that does not start, dies, hangs or speaks out of turn."""

    @classmethod
    def of(cls, adapter: str, python: str, problem: str, *, last_words: str = "") -> Self:
        """Name the adapter, its interpreter, what became of the process, and the end of what it printed."""
        printed = f" Its last words:\n{last_words}" if last_words else " It printed nothing."
        return cls(f"The adapter {adapter!r} in a process of {python} {problem}.{printed}")


class ModelError(BacktesterModelError, RuntimeError):
    """A model that cannot do what was asked of it."""


class NotTrainedError(ModelError):
    """A model asked to predict, signal or save before it was trained."""

    @classmethod
    def before(cls, model_name: str, step: str) -> Self:
        """Name the model and the step that needs a trained one."""
        return cls(f"The model {model_name!r} is not trained, so it cannot {step}. Call train first.")


class FeatureMismatchError(ModelError, ValueError):
    """Features other than those the model was trained on."""

    @classmethod
    def between(cls, trained: Iterable[str], given: Iterable[str]) -> Self:
        """List the missing and the extra columns."""
        want, have = list(trained), list(given)
        missing = [name for name in want if name not in have]
        extra = [name for name in have if name not in want]
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"extra: {', '.join(extra)}"] if extra else []
        if len(set(have)) < len(have):
            parts.append(f"given twice: {', '.join(sorted({name for name in have if have.count(name) > 1}))}")
        return cls(
            f"The features are not the {len(want)} that the model was trained on; {'; '.join(parts)}. "
            "Pass the columns that prepare gives; their order does not matter."
        )


class TrainingError(ModelError):
    """Training rows or hyper-parameters that a model cannot learn from."""


class OneClassError(TrainingError, ValueError):
    """A training window that holds a single class."""

    @classmethod
    def only(cls, value: float, n_rows: int) -> Self:
        """Say which class fills the window and what to change."""
        return cls(
            f"All {n_rows} training rows have the class {value:g}, so there is nothing to tell apart. "
            "Use a longer training window or another label."
        )


class PredictionError(ModelError):
    """Forecasts of a wrong shape, or that are not finite."""


class RunError(BacktesterModelError, OSError):
    """A run folder that cannot be read or written."""


class ArtifactError(BacktesterModelError, OSError):
    """A saved model that cannot be written, trusted or rebuilt."""

    @classmethod
    def refused(
        cls, what: object, problem: str, remedy: str = "Save the model again, or restore a copy."
    ) -> Self:
        """Say what is refused, what is wrong with it, and what to do."""
        return cls(f"{what} is refused: {problem}. {remedy}")

    @classmethod
    def in_file(cls, name: str, problem: str) -> Self:
        """Name the file of a saved model that is refused, and what is wrong with it."""
        return cls.refused(f"The file {name!r} of the saved model", problem)

    @classmethod
    def unwritable(cls, where: object, reason: str) -> Self:
        """Name the place that cannot be written; what was there stays as it was."""
        return cls(f"{where} cannot be written: {reason}. Free the disk or name another folder.")
