"""Any adapter, asked in a process of another environment: this one holds its models as the files that it saves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backtester_model_core.adapter import HeldBack, SequenceAdapter, expect_config
from backtester_model_core.artifacts import MAX_BYTES
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError, IsolationError, ModelError, NotTrainedError
from backtester_model_core.runs import log_folder
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles
from backtester_model_isolated.answers import AnswerT, Description, Failure, Known, Trained, parse_answer
from backtester_model_isolated.children import CHILDREN
from backtester_model_isolated.config import IsolatedModelConfig
from backtester_model_isolated.process import Place
from backtester_model_isolated.protocol import Message, ProtocolError, key_of

OVERHEAD_BYTES = 2**20
"""What an answer may have beside its numbers and files."""

MAX_DESCRIPTIONS = 256

_DESCRIBED: dict[tuple[str, str, int | None, str], Description] = {}
"""What adapters have said of configurations: it is asked before every forecast, and does not change."""


@dataclass(frozen=True)
class IsolatedModel:
    """A model of another environment, as plain data.

    Attributes:
        config: What it is.
        files: What its adapter saves; ``None`` before training.
        n_features: Number of columns that it was trained on.
        classes: The classes' values in their fixed order; ``None`` for regression.
        notes: What is worth knowing about the training.
        key: By which the other process knows it.
    """

    config: IsolatedModelConfig
    files: ModelFiles | None = field(default=None, repr=False)
    n_features: int = 0
    classes: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
    key: str = ""

    def trained(
        self,
        files: ModelFiles,
        *,
        n_features: int,
        classes: tuple[float, ...] | None,
        notes: tuple[str, ...] = (),
    ) -> IsolatedModel:
        """Return it as it is known by some files."""
        key = key_of(self.config.inner, files, n_features=n_features, classes=classes)
        return replace(self, files=files, n_features=n_features, classes=classes, notes=notes, key=key)

    @property
    def facts(self) -> dict[str, Any]:
        """What the other process needs to know it by, beside its files."""
        return {"key": self.key, "n_features": self.n_features, "classes": self.classes}


class IsolatedAdapter(SequenceAdapter[IsolatedModel]):
    """Hands rows to an adapter of another environment, and its answers back."""

    config_class: ClassVar[type[ModelConfig]] = IsolatedModelConfig

    def initialize_model(self, config: ModelConfig) -> IsolatedModel:
        """Let the adapter check its part of the configuration, and refuse one that cannot save its models."""
        config = expect_config(config, IsolatedModelConfig)
        if not {"save_model", "load_model"} <= set(_describe(config).can):
            raise ConfigError(
                f"The adapter {config.adapter!r} of {config.python} does not save its models, and an isolated model "
                f"lives as the files that are saved of it. Use it in this process: framework = {config.adapter!r}."
            )
        return IsolatedModel(config)

    def context_rows(self, config: ModelConfig) -> int:
        """Return how many rows of its symbol before a row the adapter's forecast needs."""
        return _describe(expect_config(config, IsolatedModelConfig)).context_rows

    def uses_validation(self, config: ModelConfig) -> bool:
        """Say whether the adapter wants later rows to stop early by."""
        return _describe(expect_config(config, IsolatedModelConfig)).uses_validation

    def versions(self, config: ModelConfig) -> tuple[str, ...]:
        """Name what the adapter's forecasts depend on, as it is installed there, each as ``adapter@name``."""
        config = expect_config(config, IsolatedModelConfig)
        return tuple(f"{config.adapter}@{text}" for text in _describe(config).versions)

    def train_model(
        self,
        model: IsolatedModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        classes: tuple[float, ...] | None = None,
        weight: FloatArray | None = None,
        validation: HeldBack | None = None,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> IsolatedModel:
        """Let the adapter train a model, and keep its files.

        Raises:
            IsolationError: When the other process gives no answer.
            BacktesterModelError: What the adapter raises, as in this process.
        """
        rows = _given(features=features, target=target, weight=weight, ends=ends)
        if validation is not None:
            rows |= _given(
                later_features=validation.features,
                later_target=validation.target,
                later_ends=validation.ends,
            )
        facts = {"classes": classes, "seed": seed, "logs": _logs()}
        answer, files = _ask_for_files(model.config, "train", Message(facts, rows))
        return model.trained(files, n_features=features.shape[1], classes=classes, notes=tuple(answer.notes))

    def predict(
        self, model: IsolatedModel, features: FloatArray, *, ends: IntArray | None = None
    ) -> FloatArray:
        """Let the adapter answer.

        Raises:
            IsolationError: When the other process gives no answer.
            BacktesterModelError: What the adapter raises, as in this process.
        """
        n_rows = len(features) if ends is None else len(ends)
        shape = (n_rows,) if model.classes is None else (n_rows, len(model.classes))
        return _ask_model(model, "predict", "forecast", shape, _given(features=features, ends=ends))

    def training_notes(self, model: IsolatedModel) -> tuple[str, ...]:
        """Return what the adapter noted."""
        return model.notes

    def feature_importance(
        self,
        model: IsolatedModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> FloatArray:
        """Let the adapter weigh features.

        Raises:
            ModelError: When it does not.
        """
        _require(model.config, "feature_importance", "does not weigh features")
        rows = _given(features=features, target=target, ends=ends)
        return _ask_model(model, "importance", "importance", (features.shape[1],), rows, seed=seed)

    def update_model(
        self,
        model: IsolatedModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        weight: FloatArray | None = None,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> IsolatedModel:
        """Let the adapter go on with a training, from the model's files.

        Raises:
            ModelError: When it does not.
        """
        _require(
            model.config, "update_model", "cannot continue a training. Set retraining.warm_start = false"
        )
        rows = _given(features=features, target=target, weight=weight, ends=ends)
        question = Message({**model.facts, "seed": seed, "logs": _logs()}, rows, _files_of(model))
        answer, files = _ask_for_files(model.config, "update", question)
        return model.trained(
            files, n_features=model.n_features, classes=model.classes, notes=tuple(answer.notes)
        )

    def save_model(self, model: IsolatedModel) -> ModelFiles:
        """Return the adapter's own files."""
        return _files_of(model)

    def load_model(
        self,
        files: ModelFiles,
        config: ModelConfig,
        *,
        n_features: int,
        classes: tuple[float, ...] | None,
    ) -> IsolatedModel:
        """Let the adapter verify and rebuild the model, and hold its files."""
        model = self.initialize_model(config).trained(files, n_features=n_features, classes=classes)
        answer = _ask(model.config, "load", Message(model.facts, files=files), _read_notes)
        return replace(model, notes=tuple(answer.notes))


# -- questions ---------------------------------------------------------------------------------------------------


def _ask(
    config: IsolatedModelConfig,
    what: str,
    question: Message,
    read: Callable[[Message], AnswerT],
    *,
    max_bytes: int = 0,
) -> AnswerT:
    """Ask the process of a configuration."""

    def answer(message: Message) -> AnswerT | Failure:
        return parse_answer(Failure, message) if "error" in message.facts else read(message)

    return CHILDREN.ask(
        Place(config.python, config.adapter, config.threads),
        replace(question, facts={"ask": what, "config": config.inner, **question.facts}),
        answer,
        max_bytes=max_bytes + OVERHEAD_BYTES,
        seconds=config.time_limit_seconds,
        restarts=config.restarts,
    )


def _ask_for_files(config: IsolatedModelConfig, what: str, question: Message) -> tuple[Trained, ModelFiles]:
    """Ask for a trained model."""

    def read(message: Message) -> tuple[Trained, ModelFiles]:
        if message.arrays or not message.files:
            raise ProtocolError("a trained model is at least one file, and no array")
        return parse_answer(Trained, message), message.files

    return _ask(config, what, question, read, max_bytes=MAX_BYTES)


def _ask_model(
    model: IsolatedModel,
    what: str,
    wanted: str,
    shape: tuple[int, ...],
    rows: dict[str, NDArray[Any]],
    **facts: Any,
) -> FloatArray:
    """Ask a trained model for numbers of a known shape; its files go along only where they are not known."""

    def read(message: Message) -> FloatArray | None:
        if not parse_answer(Known, message).known:
            return None
        found = {name: (array.shape, array.dtype.name) for name, array in message.arrays.items()}
        if found != {wanted: (shape, "float64")} or message.files:
            raise ProtocolError(f"of the shape {shape} are wanted, and not {found}")
        return message.arrays[wanted].copy()

    n_bytes = 8 * int(np.prod(shape))
    files, question = _files_of(model), Message({**model.facts, **facts}, rows)
    answer = _ask(model.config, what, question, read, max_bytes=n_bytes)
    if answer is None:
        answer = _ask(model.config, what, replace(question, files=files), read, max_bytes=n_bytes)
    if answer is None:
        config = model.config
        raise IsolationError.of(config.adapter, config.python, "does not take the model that it gave")
    return answer


def _describe(config: IsolatedModelConfig) -> Description:
    """Return what the adapter says of a configuration; it is asked once."""
    asked = (config.python, config.adapter, config.threads, config.inner)
    description = _DESCRIBED.get(asked)
    if description is None:
        description = _ask(config, "describe", Message({}), _read_description)
        _DESCRIBED[asked] = description
        for oldest in list(_DESCRIBED)[:-MAX_DESCRIPTIONS]:
            _DESCRIBED.pop(oldest, None)
    return description


def _read_description(message: Message) -> Description:
    return parse_answer(Description, message)


def _read_notes(message: Message) -> Trained:
    return parse_answer(Trained, message)


def _require(config: IsolatedModelConfig, capability: str, otherwise: str) -> None:
    if capability not in _describe(config).can:
        raise ModelError(f"The adapter {config.adapter!r} of {config.python} {otherwise}.")


def _files_of(model: IsolatedModel) -> ModelFiles:
    if model.files is None:
        raise NotTrainedError.before(model.config.model_name, "be asked")
    return model.files


def _logs() -> str | None:
    """Return where a training writes its logs, as another process finds it."""
    folder = log_folder()
    return None if folder is None else str(folder.absolute())


def _given(**rows: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
    """Return the arrays that there are, each as whole numbers or in double precision."""
    return {
        name: array.astype(np.int64 if array.dtype.kind in "biu" else np.float64, copy=False)
        for name, array in rows.items()
        if array is not None
    }
