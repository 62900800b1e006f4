"""What the checks of an adapter share: the adapter as a user gets it, its configurations, and models of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import PluginInfo, plugins
from backtester_model_core.plugins.manager import IN_CODE
from backtester_model_core.testing.contract.case import N_TRAIN, Case
from backtester_model_core.testing.contract.contract import Contract, not_applicable
from backtester_model_core.testing.contract.elsewhere import Elsewhere, work_elsewhere
from backtester_model_core.testing.samples import random_bars

BARS = random_bars(160, seed=1)
N_BARS_TRAINED = 90


@dataclass(frozen=True, eq=False)
class Trained:
    """A model that was trained once, for all checks that only ask it.

    Attributes:
        case: Its configuration.
        model: The model.
        served: Features that it has not seen.
    """

    case: Case
    model: BaseModel
    served: pd.DataFrame


@dataclass(frozen=True, eq=False)
class TrainedOnBars:
    """A model that was trained on the first part of :data:`BARS`.

    Attributes:
        case: Its configuration.
        model: The model.
        dataset: What was prepared of all bars.
    """

    case: Case
    model: BaseModel
    dataset: Dataset


class AdapterChecks(Contract):
    """What the checks of an adapter share; :class:`AdapterContract` says what the attributes mean."""

    framework: ClassVar[str]
    classification: ClassVar[Mapping[str, Any] | None] = {}
    regression: ClassVar[Mapping[str, Any] | None] = {}
    learns: ClassVar[bool] = True
    random: ClassVar[bool] = False

    @classmethod
    def subject(cls) -> str:
        """Name the framework."""
        return cls.framework

    @classmethod
    def capabilities(cls) -> tuple[str, ...]:
        """Name what the adapter fills in and the class declares."""
        one = cls()
        try:
            adapter, cases = one.adapter, one.configured()
        except Exception:  # noqa: BLE001 - its own check says what is wrong
            return ()
        optional = {
            "saves": adapter.can("save_model"),
            "updates": adapter.can("update_model"),
            "steps": adapter.can("compile_step"),
            "importance": adapter.can("feature_importance"),
            "looks back": any(case.n_context for case in cases),
            "stops early": any(adapter.uses_validation(case.config) for case in cases),
            "classification": cls.classification is not None,
            "regression": cls.regression is not None,
            "learns": cls.learns,
            "random": cls.random,
        }
        return tuple(name for name, has in optional.items() if has)

    # -- the adapter ------------------------------------------------------------------------------------------------

    @property
    def adapter(self) -> ModelFrameworkAdapter[Any]:
        """The adapter as a user gets it."""
        return plugins().adapter(self.framework)

    @property
    def info(self) -> PluginInfo:
        """What the plugins list of the framework."""
        listed = [info for info in plugins().listing() if info.kind == "adapter"]
        found = [info for info in listed if info.name == self.framework]
        assert found, f"{self.framework!r} is not among {sorted(info.name for info in listed)}"
        return found[0]

    def installed(self) -> Distribution:
        """Return the distribution that the adapter came with; a check does not apply to one registered in code."""
        info = self.info
        if info.distribution == IN_CODE:
            not_applicable("it was registered in code, so no distribution brought it")
        try:
            return distribution(info.distribution)
        except PackageNotFoundError as error:
            raise AssertionError(f"the distribution {info.distribution!r} has no metadata") from error

    def require(self, capability: str) -> None:
        """Leave a check of something that the adapter does not fill in."""
        if not self.adapter.can(capability):
            not_applicable(f"{type(self.adapter).__name__} has no {capability}")

    def require_learning(self) -> None:
        """Leave a check of models that learn from features."""
        if not self.learns:
            not_applicable("learns = False: the configured models do not learn what these rows can teach")

    # -- configurations ---------------------------------------------------------------------------------------------

    def fields(self) -> list[dict[str, Any]]:
        """Return the fields of each configuration that the framework offers."""
        offered = {"classification": self.classification, "regression": self.regression}
        return [
            {"framework": self.framework, "model_type": model_type, **fields}
            for model_type, fields in offered.items()
            if fields is not None
        ]

    def configs(self) -> list[ModelConfig]:
        """Return each configuration that the framework offers."""
        return [load_config(fields) for fields in self.fields()]

    def configured(self) -> list[Case]:
        """Return each configuration with the adapter, whether or not it can be trained."""
        return [Case(self.adapter, config) for config in self.configs()]

    def cases(self) -> Iterator[Case]:
        """Give each configuration, once all could be trained on ordinary rows."""
        for trained in self.trained():
            yield trained.case

    def classifiers(self) -> Iterator[Case]:
        """Give each classifier."""
        if self.classification is None:
            not_applicable("classification = None: the framework has no classifier")
        return (case for case in self.cases() if case.classes is not None)

    def regressions(self) -> Iterator[Case]:
        """Give each regression."""
        if self.regression is None:
            not_applicable("regression = None: the framework has no regression")
        return (case for case in self.cases() if case.classes is None)

    # -- models -----------------------------------------------------------------------------------------------------

    def trained(self) -> Iterator[Trained]:
        """Give each configuration's model, trained on ordinary rows; checks may ask it and may not change it."""

        def train() -> list[Trained]:
            models = []
            for case in self.configured():
                self.looking_at(str(case))
                values, target = case.rows()
                models.append(Trained(case, case.model(values, target), case.served()))
            return models

        for trained in self.once("training on 400 ordinary rows", train):
            self.looking_at(str(trained.case))
            yield trained

    def trained_on_bars(self) -> Iterator[TrainedOnBars]:
        """Give each configuration's model, trained on the first of :data:`BARS`."""

        def train() -> list[TrainedOnBars]:
            models = []
            for fields in self.fields():
                config = load_config({**fields, "confidence_threshold": 0.5})
                model = create_model(config)
                dataset = model.prepare(BARS)
                known = dataset.is_complete & dataset.is_labelled & (np.arange(len(BARS)) < N_BARS_TRAINED)
                model.train_dataset(dataset.take(known))
                models.append(TrainedOnBars(Case(self.adapter, config), model, dataset))
            return models

        for trained in self.once("training on bars", train):
            self.looking_at(str(trained.case))
            yield trained

    def savable(self) -> Iterator[Trained]:
        """Give each trained model, where the adapter can save them."""
        self.require("save_model")
        return self.trained()

    @contextmanager
    def saved(self) -> Iterator[list[tuple[Trained, Path]]]:
        """Give each trained model and a folder that it is saved in, which a check may spoil."""
        with tempfile.TemporaryDirectory() as root:
            saved = []
            for number, trained in enumerate(self.savable()):
                trained.model.save(Path(root, str(number)))
                saved.append((trained, Path(root, str(number))))
            yield saved

    def elsewhere(self) -> Elsewhere:
        """Return what a fresh process found, which every check that needs one shares."""
        return self.once("work in another process", lambda: work_elsewhere(self))


def learned_rows(case: Case) -> tuple[Any, Any, Any, Any]:
    """Return training rows and later ones of a rule that can be learned: (values, target, values, target)."""
    values, target = case.rows(2 * N_TRAIN)
    return values[:N_TRAIN], target[:N_TRAIN], values[N_TRAIN:], target[N_TRAIN:]
