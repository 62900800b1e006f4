"""The contract of extensions: hooks that exist, answers that are passed through, results that stay what they were."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from backtester_model_core.calibration import CALIBRATORS
from backtester_model_core.catalog import Catalog
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset, Prediction, TrainReport
from backtester_model_core.exceptions import OneClassError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.features import FEATURE_SETS, OPERATORS
from backtester_model_core.labels import LABELS
from backtester_model_core.model import BaseModel
from backtester_model_core.monitoring import DETECTORS, MEASURES
from backtester_model_core.plugins import EXTENSIONS_GROUP, MODELS, Plugins, use_plugins
from backtester_model_core.sources import DATA_SOURCES
from backtester_model_core.testing.contract.case import error_of
from backtester_model_core.testing.contract.contract import (
    Contract,
    check,
    check_contract,
    declared,
    not_applicable,
)
from backtester_model_core.testing.contract.outcomes import ContractReport
from backtester_model_core.testing.contract.side_effects import Changes, noting_changes
from backtester_model_core.testing.echo import EchoAdapter
from backtester_model_core.testing.samples import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward

BARS = random_bars(160, seed=8)
STEPS = ("backtester_prepare", "backtester_train", "backtester_predict", "backtester_signal")


@dataclass(frozen=True)
class Lived:
    """What a model's four steps gave."""

    dataset: Dataset
    report: TrainReport
    prediction: Prediction
    signals: pd.DataFrame


class ExtensionContract(Contract):
    """Checks that something around the steps may be installed; each docstring says what to look at when it fails.

    Attributes:
        extension: The object, class or module with the hooks.
        entry_point: Instead, the name under which an installed distribution brings it.
        changes_results: Whether it is meant to change what the steps give, and not only to watch.
    """

    extension: ClassVar[Any] = None
    entry_point: ClassVar[str] = ""
    changes_results: ClassVar[bool] = False
    n_checks: ClassVar[int] = 17

    @classmethod
    def subject(cls) -> str:
        """Name the extension."""
        return cls.entry_point or getattr(cls.extension, "__name__", type(cls.extension).__name__)

    @check
    def test_extension_registers(self) -> None:
        """Look at names and arguments of its hooks: each is one of ``ModelHooks``, and marked with ``@hookimpl``."""
        with self.in_force() as own:
            assert [info.state for info in own.listing() if info.kind == "extension"] == ["loaded"]

    @check
    def test_entry_point_leads_to_the_extension(self) -> None:
        """Look at the group ``backtester_model.extensions`` in pyproject.toml."""
        if not self.entry_point:
            not_applicable("no entry point is named")
        found = list(entry_points(group=EXTENSIONS_GROUP, name=self.entry_point))

        assert len(found) == 1

    @check
    def test_hooks_wrap_and_do_not_answer(self) -> None:
        """Look at ``@hookimpl(wrapper=True)``: without it a step is answered in place of every adapter and the core."""
        if self.changes_results:
            not_applicable("changes_results = True: it may answer for others")
        with self.in_force() as own:
            for step in STEPS:
                for each in own.call("echo", step).get_hookimpls():
                    is_own = not type(each.plugin).__module__.startswith("backtester_model_core.")

                    assert each.wrapper or each.hookwrapper or not is_own, step

    @check
    def test_it_may_be_taken_back(self) -> None:
        """Look at what registering changes for good: another run must be free of the extension."""
        before = set(_catalogued())
        with self.in_force() as own:
            own.repeat([("adapter", "echo", EchoAdapter)])

            assert [info.name for info in own.listing() if info.kind == "extension"] == []
        assert set(_catalogued()) == before

    @check
    def test_it_travels_to_a_worker(self) -> None:
        """Look at what cannot be pickled: open files and connections belong to what is made when first needed."""
        from joblib.externals.loky.backend.reduction import dumps

        assert pickle.loads(dumps(self.found())) is not None  # noqa: S301 - our own bytes

    @check
    def test_prepare_passes_the_answer_through(self) -> None:
        """Look at ``backtester_prepare``: a wrapper ends in ``return (yield)``, or in what it was given."""
        plain, wrapped = self.lived()

        assert isinstance(wrapped.dataset, Dataset)
        self._same(plain.dataset.values, wrapped.dataset.values)
        self._same(plain.dataset.target, wrapped.dataset.target)

    @check
    def test_train_passes_the_answer_through(self) -> None:
        """Look at ``backtester_train``: a wrapper that returns nothing leaves a model without its report."""
        plain, wrapped = self.lived()

        assert isinstance(wrapped.report, TrainReport)
        assert self.changes_results or plain.report == wrapped.report

    @check
    def test_predict_passes_the_answer_through(self) -> None:
        """Look at ``backtester_predict``: one forecast for each row, as the model gave it."""
        plain, wrapped = self.lived()

        assert isinstance(wrapped.prediction, Prediction)
        assert len(wrapped.prediction) == len(plain.prediction)
        self._same(plain.prediction.expected, wrapped.prediction.expected)

    @check
    def test_signal_passes_the_answer_through(self) -> None:
        """Look at ``backtester_signal``: one signal for each bar, as the policy gave it."""
        plain, wrapped = self.lived()

        assert wrapped.signals.index.equals(plain.signals.index)
        assert self.changes_results or wrapped.signals.equals(plain.signals)

    @check
    def test_walk_forward_gives_what_it_gives_without(self) -> None:
        """Look at anything that the extension changes of models, datasets or settings while it watches."""
        if self.changes_results:
            not_applicable("changes_results = True: it is meant to change results")
        plain, wrapped = self.walked()

        pd.testing.assert_frame_equal(plain.signals, wrapped.signals, check_exact=True)
        pd.testing.assert_frame_equal(plain.predictions, wrapped.predictions, check_exact=True)

    @check
    def test_two_runs_are_the_same(self) -> None:
        """Look at what the extension keeps of one run and lets into the next."""
        with self.in_force():
            first, second = (walk_forward(_config(), BARS) for _ in range(2))

        pd.testing.assert_frame_equal(first.signals, second.signals, check_exact=True)

    @check
    def test_a_panel_is_survived(self) -> None:
        """Look at code that takes the index for timestamps: of a panel it is (timestamp, symbol)."""
        with self.in_force():
            signals = _live(create_model(_config()), random_panel(2, 120, seed=9)).signals

        assert len(signals) == 240

    @check
    def test_errors_are_passed_through(self) -> None:
        """Look at ``try`` around a ``yield``: what a step raises reaches the caller as it was."""
        with self.in_force():
            model = create_model(_config())
            dataset = model.prepare(BARS)
            known = dataset.take(dataset.is_complete & dataset.is_labelled & (dataset.target == 1))
            error = error_of(lambda: model.train_dataset(known))

        assert isinstance(error, OneClassError)

    @check
    def test_a_failed_step_leaves_it_usable(self) -> None:
        """Look at what is opened before a ``yield`` and closed after it: a step may raise in between."""
        with self.in_force():
            model = create_model(_config())
            dataset = model.prepare(BARS)
            known = dataset.take(dataset.is_complete & dataset.is_labelled & (dataset.target == 1))
            error_of(lambda: model.train_dataset(known))
            signals = _live(create_model(_config()), BARS).signals

        assert len(signals) == len(BARS)

    @check
    def test_bars_are_not_changed(self) -> None:
        """Look at columns that are added to the bars, or written into, in ``backtester_prepare``."""
        bars = BARS.copy()
        with self.in_force():
            _live(create_model(_config()), bars)

        pd.testing.assert_frame_equal(bars, BARS, check_exact=True)

    @check
    def test_registering_and_running_leave_the_process_alone(self) -> None:
        """Look at code that seeds global generators, changes warnings, root logging or the environment, or prints."""
        changes = Changes()
        with noting_changes(changes), self.in_force():
            _live(create_model(_config()), BARS)
        changes.pop("threads", None)  # a tracker may keep its own

        assert not changes, str(changes)

    # -- what the checks share --------------------------------------------------------------------------------------

    def found(self) -> Any:
        """Return the extension, as the entry point or the class names it."""
        if not self.entry_point:
            return self.extension
        return next(iter(entry_points(group=EXTENSIONS_GROUP, name=self.entry_point))).load()

    @contextmanager
    def in_force(self) -> Iterator[Plugins]:
        """Put plugins in force that know the echo adapter and the extension, and take both back."""
        with _only_echo() as own:
            own.register_extension("under-check", self.found())
            try:
                yield own
            finally:
                own.repeat([("adapter", "echo", EchoAdapter)])

    def lived(self) -> tuple[Lived, Lived]:
        """Return what the four steps give without the extension, and with it."""
        return self.once("the four steps", lambda: self._both(lambda: _live(create_model(_config()), BARS)))

    def walked(self) -> tuple[Any, Any]:
        """Return a walk-forward without the extension, and with it."""
        return self.once("a walk-forward", lambda: self._both(lambda: walk_forward(_config(), BARS)))

    def _both(self, work: Callable[[], Any]) -> tuple[Any, Any]:
        with _only_echo():
            plain = work()
        with self.in_force():
            return plain, work()

    def _same(self, plain: Any, wrapped: Any) -> None:
        assert plain.shape == wrapped.shape
        assert self.changes_results or np.array_equal(plain, wrapped, equal_nan=True)


def check_extension_contract(extension: Any = None, **attributes: Any) -> ContractReport:
    """Run the extension contract without pytest.

    Args:
        extension: The object, class or module with the hooks.
        attributes: Of :class:`ExtensionContract`, such as ``entry_point`` or ``expected_failures``.

    Raises:
        ConfigError: When the contract has no attribute of a name, or no check that is expected to fail.
    """
    return check_contract(declared(ExtensionContract, {"extension": extension, **attributes}))


@contextmanager
def _only_echo() -> Iterator[Plugins]:
    with use_plugins(Plugins(discover=False, environ={})) as own:
        own.register_adapter("echo", EchoAdapter)
        yield own


def _config() -> ModelConfig:
    return load_config(
        {
            "framework": "echo",
            "lookback_period": 5,
            "confidence_threshold": 0.5,
            "features": {"sets": [], "expressions": {"r1": "close / ref(close, 1) - 1"}},
            "validation": {"train_size": 80, "test_size": 40},
            "gate": {"mode": "off"},
        }
    )


def _live(model: BaseModel, bars: pd.DataFrame) -> Lived:
    """Take a model through its four steps."""
    dataset = model.prepare(bars)
    report = model.train_dataset(dataset.take(dataset.is_complete & dataset.is_labelled))
    prediction = model.predict_distribution(dataset.features)
    return Lived(dataset, report, prediction, model.signal(bars, prediction))


def _catalogued() -> Iterator[tuple[str, str]]:
    """Give every name that an extension may have added to one of the catalogs."""
    catalogs: tuple[Catalog[Any], ...] = (
        *(CALIBRATORS, FEATURE_SETS, OPERATORS, LABELS),
        *(DETECTORS, MEASURES, MODELS, DATA_SOURCES),
    )
    return ((catalog.kind, name) for catalog in catalogs for name in catalog)
