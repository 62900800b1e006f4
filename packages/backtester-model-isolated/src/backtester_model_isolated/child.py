"""The process in the other environment: ``python -I -m backtester_model_isolated.child REQUESTS ANSWERS``.

It reads questions from one file descriptor and writes answers to the other, asks the one adapter that they name, and
leaves when nobody can ask any more. What the adapter prints goes wherever the process prints.
"""

from __future__ import annotations

import json
import os
import platform
import select
import signal
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from backtester_model_core.adapter import API_LEVEL, HeldBack, ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import BacktesterModelError
from backtester_model_core.factory import load_config
from backtester_model_core.plugins import plugins
from backtester_model_core.runs import digest_of_code, logging_into
from backtester_model_core.typing import IntArray, ModelFiles
from backtester_model_isolated.answers import Description, Greeting, Known, Trained, failure_of
from backtester_model_isolated.protocol import MAX_REQUEST_BYTES, Arrival, Message, encode, key_of, rest_of

LEAVE_SECONDS = 3.0
MAX_MODELS = 256
MAX_MODEL_BYTES = 2**30
"""What the files of the models that are kept may have together; those asked for longest ago make room."""

OPTIONAL = ("feature_importance", "load_model", "save_model", "update_model")
"""Methods that an adapter may leave out, as far as another process can ask for them."""


class Desk:
    """Where questions are answered: the adapter that they name, and the models that were asked about last."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def answer(self, question: Message) -> Message:
        """Answer a question, or say which error came instead; one that is not the project's own is printed whole."""
        answers = {
            "describe": self.describe,
            "train": self.train,
            "load": self.load,
            "predict": self.predict,
            "importance": self.importance,
            "update": self.update,
        }
        try:
            config = read_config(question.facts["config"])
            return answers[question.facts["ask"]](question, plugins().adapter(config.framework), config)
        except Exception as error:  # noqa: BLE001 - whatever a framework raises goes to the other process
            if not isinstance(error, BacktesterModelError):
                traceback.print_exc()
            return Message(failure_of(error))

    def describe(self, _: Message, adapter: ModelFrameworkAdapter[Any], config: ModelConfig) -> Message:
        """Say what the adapter needs and can do for a configuration, once it has accepted it."""
        adapter.initialize_model(config)
        installed = plugins().versions(config.framework)
        python = ".".join(platform.python_version_tuple()[:2])
        description = Description(
            context_rows=adapter.context_rows(config) if isinstance(adapter, SequenceAdapter) else 0,
            uses_validation=adapter.uses_validation(config),
            can=[name for name in OPTIONAL if adapter.can(name)],
            versions=[*installed, f"python {python}", f"code {digest_of_code([type(adapter)])}"],
        )
        return Message(description.model_dump())

    def train(self, question: Message, adapter: ModelFrameworkAdapter[Any], config: ModelConfig) -> Message:
        """Build a model and train it."""
        rows, facts = question.arrays, question.facts
        held_back = None
        if "later_features" in rows:
            held_back = HeldBack(rows["later_features"], rows["later_target"], rows.get("later_ends"))
        with _logs(facts["logs"]):
            native = adapter.train_model(
                adapter.initialize_model(config),
                rows["features"],
                rows["target"],
                classes=_classes(facts),
                weight=rows.get("weight"),
                validation=held_back,
                seed=facts["seed"],
                **_ends(rows),
            )
        return self._trained(question, adapter, native, n_features=rows["features"].shape[1])

    def update(self, question: Message, adapter: ModelFrameworkAdapter[Any], config: ModelConfig) -> Message:
        """Go on with the training of a model as it was saved, whatever this process remembers of it."""
        rows, facts = question.arrays, question.facts
        with _logs(facts["logs"]):
            native = adapter.update_model(
                _loaded(question, adapter, config),
                rows["features"],
                rows["target"],
                weight=rows.get("weight"),
                seed=facts["seed"],
                **_ends(rows),
            )
        return self._trained(question, adapter, native, n_features=facts["n_features"])

    def load(self, question: Message, adapter: ModelFrameworkAdapter[Any], config: ModelConfig) -> Message:
        """Rebuild a model from its files."""
        native = _loaded(question, adapter, config)
        self._keep(question.facts["key"], native, question.files)
        return Message(Trained(notes=list(adapter.training_notes(native))).model_dump())

    def predict(self, question: Message, adapter: ModelFrameworkAdapter[Any], config: ModelConfig) -> Message:
        """Ask a model about rows."""
        native = self._model(question, adapter, config)
        if native is None:
            return Message(Known(known=False).model_dump())
        rows = question.arrays
        forecast = adapter.predict(native, rows["features"], **_ends(rows))
        return Message(Known(known=True).model_dump(), {"forecast": np.asarray(forecast, dtype=np.float64)})

    def importance(
        self, question: Message, adapter: ModelFrameworkAdapter[Any], config: ModelConfig
    ) -> Message:
        """Weigh a model's features."""
        native = self._model(question, adapter, config)
        if native is None:
            return Message(Known(known=False).model_dump())
        rows = question.arrays
        weights = adapter.feature_importance(
            native, rows["features"], rows["target"], seed=question.facts["seed"], **_ends(rows)
        )
        return Message(Known(known=True).model_dump(), {"importance": np.asarray(weights, dtype=np.float64)})

    # -- models -----------------------------------------------------------------------------------------------------

    def _trained(
        self, question: Message, adapter: ModelFrameworkAdapter[Any], native: Any, *, n_features: int
    ) -> Message:
        """Return a model as its files, and remember it."""
        files = dict(adapter.save_model(native))
        facts = question.facts
        key = key_of(facts["config"], files, n_features=n_features, classes=_classes(facts))
        self._keep(key, native, files)
        return Message(Trained(notes=list(adapter.training_notes(native))).model_dump(), files=files)

    def _model(
        self, question: Message, adapter: ModelFrameworkAdapter[Any], config: ModelConfig
    ) -> Any | None:
        """Return the model that a question names; ``None`` where neither this process nor the question has it."""
        key = question.facts["key"]
        if key in self._models:
            self._models.move_to_end(key)
            return self._models[key][0]
        if not question.files:
            return None
        native = _loaded(question, adapter, config)
        self._keep(key, native, question.files)
        return native

    def _keep(self, key: str, native: Any, files: ModelFiles) -> None:
        self._models[key] = native, sum(map(len, files.values()))
        self._models.move_to_end(key)
        while len(self._models) > 1 and (
            len(self._models) > MAX_MODELS or sum(size for _, size in self._models.values()) > MAX_MODEL_BYTES
        ):
            self._models.popitem(last=False)


def _loaded(question: Message, adapter: ModelFrameworkAdapter[Any], config: ModelConfig) -> Any:
    facts = question.facts
    return adapter.load_model(question.files, config, n_features=facts["n_features"], classes=_classes(facts))


@lru_cache(maxsize=MAX_MODELS)
def read_config(text: str) -> ModelConfig:
    """Check a configuration by the class of the adapter that it names."""
    return load_config(json.loads(text))


def _classes(facts: Mapping[str, Any]) -> tuple[float, ...] | None:
    return None if facts["classes"] is None else tuple(facts["classes"])


def _ends(rows: Mapping[str, Any]) -> dict[str, IntArray]:
    return {"ends": rows["ends"]} if "ends" in rows else {}


@contextmanager
def _logs(folder: str | None) -> Iterator[None]:
    """Let a training write its logs where the other process would have it write them."""
    if folder is None:
        yield
    else:
        with logging_into(Path(folder)):
            yield


# -- the two ends ------------------------------------------------------------------------------------------------


def read_message(end: int) -> Message | None:
    """Wait for a message; ``None`` when nobody will send one any more."""
    arrival = Arrival(max_bytes=MAX_REQUEST_BYTES)
    while True:
        n_bytes = os.readv(end, [arrival.wanted])
        if n_bytes == 0:
            return None
        if arrival.received(n_bytes):
            return arrival.message()


def write_message(end: int, message: Message) -> None:
    """Write a message whole."""
    parts = encode(message)
    while parts:
        parts = rest_of(parts, os.writev(end, parts))


def leave_when_alone(requests: int) -> None:
    """Wait until nobody can ask any more, and end what is still under way then, and all that was started for it."""
    ended = select.poll()
    ended.register(requests, 0)  # no data is waited for, only the closing of the other end
    ended.poll()
    time.sleep(LEAVE_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main(requests: int, answers: int) -> None:
    """Answer questions until there are no more."""
    from importlib.metadata import version

    for end in (requests, answers):
        os.set_inheritable(end, False)
    threading.Thread(target=leave_when_alone, args=(requests,), daemon=True).start()
    greeting = Greeting(core=version("backtester-model-core"), api=API_LEVEL)
    desk = Desk()
    try:
        write_message(answers, Message(greeting.model_dump()))
        while (question := read_message(requests)) is not None:
            write_message(answers, desk.answer(question))
    except BrokenPipeError:  # nobody waits for the answer any more
        return


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
