"""What a plugin may bring beside steps, by name: operators, feature sets, labels, calibrators, drift measures, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from backtester_model_core.calibration import CALIBRATORS, CalibratorKind
from backtester_model_core.catalog import CORE, Catalog
from backtester_model_core.features import FEATURE_SETS, OPERATORS
from backtester_model_core.labels import LABELS, LabelKind
from backtester_model_core.monitoring import DETECTORS, MEASURES, Detector, DriftMeasure
from backtester_model_core.sources import DATA_SOURCES

MODELS: Catalog[Callable[[Any], Any]] = Catalog("model")
"""Whole model classes registered by name; the factory creates them."""

Additions: TypeAlias = list[tuple[Catalog[Any], str]]
"""What one plugin has brought: names, each with the catalog it is in."""


class Registry:
    """What ``backtester_register`` hands to a plugin: one method for each kind of thing it may bring."""

    def __init__(self) -> None:
        self._source = CORE
        self._added: Additions = []

    def add_operator(self, name: str, operator: Any) -> None:
        """Add a feature operator: a step function with its state and warm-up."""
        self._add(OPERATORS, name, operator)

    def add_feature_set(self, name: str, feature_set: Any) -> None:
        """Add a named set of feature expressions."""
        self._add(FEATURE_SETS, name, feature_set)

    def add_label(self, name: str, label: LabelKind) -> None:
        """Add a kind of label."""
        self._add(LABELS, name, label)

    def add_calibrator(self, name: str, calibrator: CalibratorKind) -> None:
        """Add a way to calibrate probabilities."""
        self._add(CALIBRATORS, name, calibrator)

    def add_data_source(self, name: str, source: Any) -> None:
        """Add a place where bars come from."""
        self._add(DATA_SOURCES, name, source)

    def add_drift_measure(self, name: str, measure: DriftMeasure) -> None:
        """Add a distance between live rows and training rows."""
        self._add(MEASURES, name, measure)

    def add_detector(self, name: str, detector: Callable[[], Detector]) -> None:
        """Add a detector of rising errors, as what makes one."""
        self._add(DETECTORS, name, detector)

    def add_model(self, name: str, model_class: Callable[[Any], Any]) -> None:
        """Add a whole model class."""
        self._add(MODELS, name, model_class)

    @contextmanager
    def adding_for(self, source: str) -> Iterator[Additions]:
        """Record what a distribution adds, and take all of it back when its registration fails."""
        self._source, self._added = source, []
        try:
            yield self._added
        except BaseException:
            self.take_back(self._added)
            raise

    def take_back(self, additions: Additions) -> None:
        """Remove what was added."""
        for catalog, name in additions:
            catalog.discard(name)

    def _add(self, catalog: Catalog[Any], name: str, thing: Any) -> None:
        if catalog.add(name, thing, source=self._source):
            self._added.append((catalog, name))
