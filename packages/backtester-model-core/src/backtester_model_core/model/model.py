"""A model is four steps: prepare, train, predict, signal."""

from __future__ import annotations

import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from backtester_model_core.artifacts import VersionFolder, read_saved
from backtester_model_core.bars import check_bars
from backtester_model_core.calibration import calibrator_kind
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset, Prediction, TrainReport
from backtester_model_core.evaluation import classification_metrics, regression_metrics
from backtester_model_core.exceptions import ArtifactError, ModelError, NotTrainedError, TrainingError
from backtester_model_core.hookspecs import ModelHooks
from backtester_model_core.labels import label_kind
from backtester_model_core.monitoring import Latency, Reference, TrainingRows
from backtester_model_core.plugins import plugins
from backtester_model_core.saving import OtherVersions, TrainingRecord, rebuild, to_artifact
from backtester_model_core.signals import ScoredRows, SignalFrame, SignalPolicy, fit_policy
from backtester_model_core.splits import PurgedKFold, purged_tail
from backtester_model_core.steps import learnable_rows
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles, NativeModel, RowStep


class BaseModel(ABC):
    """Four steps over bars, each through its hook, so that any plugin may answer or wrap it.

    Subclass it for a whole model of your own: fill in :meth:`fit` and :meth:`forecast`.

    Attributes:
        config: What the model is.
        native: What training made; ``None`` before.
        columns: Features in the order the model was trained on; empty before.
        classes: Classes in their fixed order; ``None`` for regression.
        policy: How predictions become signals.
        report: What the last training used; ``None`` before.
        trained_on: Range, fingerprint and last rows of what the last training was given; ``None`` before.
        inner: The latest training rows as a model of the earlier ones foresaw them, where the last training held
            some back: what the policy was fitted to.
        watched_rows: Rows of the last training, or already what they looked like, for :attr:`reference`.
        latency: How long the latest predictions took; ``None`` before, and where monitoring is off.
        seed: The configuration's ``random_state``, or one drawn when that is ``None``.
    """

    def __init__(self, config: ModelConfig, *, logger: logging.Logger | None = None) -> None:
        self.config = config
        self.logger = logger or logging.getLogger(__name__)
        self.native: NativeModel | None = None
        self.columns: tuple[str, ...] = ()
        self.classes = label_kind(config).classes
        calibrator_kind(config.calibration.method)  # an unknown name is refused before anything is trained
        self.policy = SignalPolicy.of(config)
        self.report: TrainReport | None = None
        self.trained_on: TrainingRecord | None = None
        self.inner: ScoredRows | None = None
        self.watched_rows: TrainingRows | Reference | None = None
        self.latency: Latency | None = None
        self.seed = config.random_state if config.random_state is not None else secrets.randbelow(2**32)

    # -- the two steps a model answers --------------------------------------------------------------------------

    @abstractmethod
    def fit(self, rows: Dataset, validation: Dataset | None) -> Sequence[str]:
        """Learn from complete, labelled rows: set ``native`` and return notes for the report."""

    @abstractmethod
    def forecast(self, values: FloatArray) -> FloatArray:
        """Answer (n,) values, or (n, n_classes) probabilities, for complete rows in the trained column order."""

    @property
    def context_rows(self) -> int:
        """How many rows of its symbol before a row a forecast needs; 0 for models that look at one row alone."""
        return 0

    def forecast_sequences(self, values: FloatArray, ends: IntArray) -> FloatArray:  # noqa: ARG002
        """Answer as :meth:`forecast` does, one for each of ``ends``; for models with ``context_rows``.

        Args:
            values: (N, p) complete rows, symbol by symbol, in order of time.
            ends: (n,) positions of the rows to answer; the ``context_rows`` rows before each belong to it.
        """
        raise ModelError(
            f"{type(self).__name__} looks back {self.context_rows} rows; fill in forecast_sequences."
        )

    def row_step(self) -> RowStep | None:
        """Return what answers one row fast, as ``ModelFrameworkAdapter.compile_step`` does; ``None`` without one."""
        return None

    def to_files(self) -> ModelFiles:
        """Return what was fitted as named files of plain data, to be saved; optional, with :meth:`from_files`."""
        raise self._cannot_be_saved()

    def from_files(self, files: ModelFiles) -> None:  # noqa: ARG002 - a default, to be replaced
        """Set ``native`` from what :meth:`to_files` returned; ``columns`` and ``classes`` are set already.

        Raises:
            ArtifactError: When a file is missing, foreign or inconsistent.
        """
        raise self._cannot_be_saved()

    # -- the four steps -----------------------------------------------------------------------------------------

    @property
    def hooks(self) -> ModelHooks:
        """The hooks as this model calls them."""
        return plugins().hooks(self.config.framework)

    @property
    def is_trained(self) -> bool:
        """Whether the model may predict."""
        return bool(self.columns)

    @property
    def reference(self) -> Reference | None:
        """What the training rows looked like, for a monitor; ``None`` before training, and where monitoring is off.

        It is computed when first asked for.
        """
        if isinstance(self.watched_rows, TrainingRows):
            self.watched_rows = Reference.of(self.watched_rows, self.config.monitoring)
        return self.watched_rows

    def prepare(self, data: pd.DataFrame) -> Dataset:
        """Turn bars into features and labels, one row for each bar.

        Raises:
            BarsError: When the bars must be refused.
        """
        dataset = self.hooks.backtester_prepare(model=self, data=check_bars(data))
        return dataset.with_history(self.context_rows)

    def prepare_data(self, data: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series[float]]:
        """Turn bars into (features, target), only the rows that may be trained on.

        The label ends that :meth:`train` wants for its inner split are ``prepare(data).label_end_series``.
        """
        dataset = self.prepare(data)
        rows = dataset.take(dataset.is_complete & dataset.is_labelled)
        return rows.features, rows.target_series

    def train(
        self,
        features: pd.DataFrame,
        target: pd.Series[float],
        label_end: pd.Series[pd.Timestamp] | None = None,
        *,
        weight: pd.Series[float] | None = None,
    ) -> TrainReport:
        """Train on rows in order of time.

        With ``label_end`` the latest ``validation_split`` of the rows, purged, serves to stop early where the
        adapter does, and else to fit the policy before the model is refitted to all rows: a classifier's
        calibration, a regression's residuals. Without it there is no inner split, since nobody could say
        whether labels overlap.

        Args:
            features: (n, p) features; rows with NaN are left out and counted.
            target: (n,) labels on the same index; NaN where unknown.
            label_end: (n,) instants at which the labels are known.
            weight: (n,) sample weights.

        Raises:
            TrainingError: When the rows do not belong together, or nothing can be learned from them.
        """
        dataset = Dataset.of_frames(
            features, target, label_end=label_end, weight=weight, classes=self.classes
        )
        return self.train_dataset(dataset)

    def train_dataset(self, dataset: Dataset, *, measure_residuals: bool = True) -> TrainReport:
        """Train on a dataset's complete, labelled rows, and set the policy.

        Where the adapter stops early, the latest ``validation_split`` of the rows, purged, is held back for it:
        rows that stopped a training may not also calibrate what it made. Else a model fitted to the head forecasts
        that tail, so that the policy (a classifier's calibration, a regression's residuals, thresholds) is fitted
        to rows the model was not, before the model is fitted to all rows.

        Args:
            dataset: Rows in order of time.
            measure_residuals: Whether to forecast the tail at all; without, the policy is the configured one.
        """
        self.inner = None
        dataset = dataset.with_history(self.context_rows)
        splits = self.config.validation_split > 0 and not np.isnat(dataset.label_end).all()
        if splits and self._uses_validation():
            self._train(*self._inner_split(dataset))
        else:
            if splits and measure_residuals:
                self.inner = self._measured(dataset)
            self._train(dataset, None)
        fitted = fit_policy(self.config, self.inner, baseline=self.baseline)
        self.policy = fitted.policy
        if self.inner is not None and fitted.message:
            self.logger.info("%s: %s", self.config.model_name, fitted.message)
        return self._trained_report("report")

    def predict(self, features: pd.DataFrame) -> FloatArray:
        """Return (n,) the expected value of each row: the regression value, or the sum of class times probability."""
        return self.predict_distribution(features).expected

    def predict_distribution(self, features: pd.DataFrame) -> Prediction:
        """Return the whole prediction, one row for each feature row; NaN where features are incomplete.

        Raises:
            NotTrainedError: Before training.
            FeatureMismatchError: When columns are missing or extra; their order does not matter.
        """
        return self.hooks.backtester_predict(model=self, features=features)

    def predict_dataset(self, dataset: Dataset) -> Prediction:
        """Return the prediction of a dataset's rows, each with the history that the dataset remembers for it."""
        if dataset.history is None:
            return self.predict_distribution(dataset.features)
        history = dataset.history.needed()
        frame = pd.DataFrame(history.values, index=history.index, columns=list(dataset.columns), copy=False)
        found, known = self.predict_distribution(frame), history.is_known
        prediction = Prediction.blank(dataset.index, self.classes)
        prediction.expected[known] = found.expected[history.ends[known]]
        if prediction.probability is not None and found.probability is not None:
            prediction.probability[known] = found.probability[history.ends[known]]
        return prediction

    def generate_signals(self, data: pd.DataFrame) -> SignalFrame:
        """Give one signal for every bar, NEUTRAL with a reason where the model says nothing."""
        if not self.is_trained:
            raise NotTrainedError.before(self.config.model_name, "give signals")
        bars = check_bars(data)
        dataset = self.prepare(bars)
        prediction = replace(self.predict_distribution(dataset.features), scale=dataset.scale)
        return self.signal(bars, prediction)

    def signal(self, data: pd.DataFrame, prediction: Prediction) -> SignalFrame:
        """Turn predictions into signals by the model's policy."""
        return self.hooks.backtester_signal(model=self, data=data, prediction=prediction)

    def cross_validate(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return the usual metrics of each fold of a purged k-fold cross-validation over bars.

        Folds train on both sides of their test rows, without the rows that overlap them or their embargo
        (``cv_folds``, ``validation.embargo``). This says how stable a model is, not how it would have traded:
        that is what a walk-forward is for.
        """
        dataset = self.prepare(data)
        dataset = dataset.take(dataset.is_complete & dataset.is_labelled)
        folds = PurgedKFold(self.config.cv_folds, self.config.validation.embargo)
        rows = []
        for number, (train, test) in enumerate(folds.split(dataset.known_at, dataset.label_end)):
            model = self.untrained()
            model.train_dataset(dataset.take(train), measure_residuals=False)
            served = dataset.take(test)
            metrics = prediction_metrics(model.predict_dataset(served), served.target, model.baseline)
            rows.append({"fold": number, "n_train": len(train), "n_test": len(test), **metrics})
        return pd.DataFrame(rows).set_index("fold")

    # -- on disk ------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Save the trained model as a new version in a folder, put it in force, and return the version's folder.

        The version is there whole or not at all; those that were there stay.

        Raises:
            NotTrainedError: Before training.
            ModelError: When the model cannot be written as data.
            ArtifactError: When the folder cannot be written.
        """
        versions = VersionFolder(folder)
        number = versions.publish(to_artifact(self))
        versions.promote(number)
        return versions.folder_of(number)

    @classmethod
    def load(
        cls, folder: str | Path, *, version: int | None = None, on_other_versions: OtherVersions = "error"
    ) -> Self:
        """Load a model that :meth:`save` wrote, from its folder or from the folder of one version.

        Nothing in the folder is run. Every byte is verified before it is interpreted, and the model must repeat
        the forecasts that were stored with it.

        Args:
            folder: Where the model was saved.
            version: Number of the version; by default the one in force.
            on_other_versions: ``warn`` to load a model that other library versions saved.

        Raises:
            ArtifactError: When the folder must be refused; the message says why and what to do.
        """
        from backtester_model_core.model.adapted import AdapterModel  # itself a BaseModel

        saved = read_saved(Path(folder), version)
        model = rebuild(saved, adapter_model=AdapterModel, on_other_versions=on_other_versions)
        if not isinstance(model, cls):
            raise ArtifactError.refused(
                folder, f"it holds a {type(model).__name__}, not a {cls.__name__}", "Use BaseModel.load."
            )
        return model

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def baseline(self) -> float:
        """Mean of the training target: what a model without skill would say."""
        return self._trained_report("compare with its baseline").baseline

    def untrained(self) -> Self:
        """Return a new model of the same configuration and seed that has learned nothing."""
        twin = type(self)(self.config, logger=self.logger)
        twin.seed = self.seed
        return twin

    @property
    def latest_report(self) -> TrainReport:
        """What the last training used; a model that is not trained refuses to say."""
        return self._trained_report("report")

    def continued(self, dataset: Dataset) -> Self:  # noqa: ARG002 - a default, to be replaced
        """Return a model whose training goes on from this one's, on new rows; optional, this model stays."""
        raise ModelError(
            f"{type(self).__name__} cannot continue a training. Set retraining.warm_start = false."
        )

    def _train(self, dataset: Dataset, validation: Dataset | None) -> None:
        """Call the train hook; a training that fails leaves the model as it was."""
        before = (self.native, self.columns, self.report, self.trained_on)
        try:
            self.report = self.hooks.backtester_train(model=self, dataset=dataset, validation=validation)
            self.columns = self.report.columns
            self.trained_on = TrainingRecord.of(dataset, validation, n_context=self.context_rows)
        except BaseException:
            self.native, self.columns, self.report, self.trained_on = before
            raise
        self.logger.debug("%s: trained on %d rows", self.config.model_name, self.report.n_rows)

    def _uses_validation(self) -> bool:
        """Say whether training wants later rows to stop early by."""
        return False

    def _measured(self, dataset: Dataset) -> ScoredRows | None:
        """Forecast the tail by a model of the head; ``None``, logged, where that cannot be trained."""
        try:
            return self._inner_forecasts(*self._inner_split(dataset))
        except TrainingError as error:
            self.logger.warning("%s: the policy was fitted to no rows: %s", self.config.model_name, error)
            return None

    def _inner_split(self, dataset: Dataset) -> tuple[Dataset, Dataset]:
        known = learnable_rows(dataset)
        head, tail = purged_tail(known.known_at, known.usable_from, share=self.config.validation_split)
        if len(head) == 0:
            raise TrainingError(
                f"validation_split {self.config.validation_split:g} leaves no training rows of {len(known)}. Lower it."
            )
        return known.take(head), known.take(tail)

    def _inner_forecasts(self, head: Dataset, tail: Dataset) -> ScoredRows | None:
        """Forecast the tail by a model fitted to the head; nothing where no residual could be measured."""
        if len(tail) == 0 or (self.classes is None and tail.scale is None):
            return None
        probe = self.untrained()
        probe.train_dataset(head, measure_residuals=False)
        foreseen = probe.predict_dataset(tail)
        rows = ScoredRows.of(
            tail,
            forecast=foreseen.expected,
            baseline=np.full(len(tail), probe.baseline),
            probability=foreseen.probability,
        )
        return rows.known_by(tail.usable_from.max()).latest_last()

    def _cannot_be_saved(self) -> ModelError:
        return ModelError(f"{type(self).__name__} cannot be saved: fill in its to_files and from_files.")

    def _trained_report(self, step: str) -> TrainReport:
        if self.report is None:
            raise NotTrainedError.before(self.config.model_name, step)
        return self.report


def prediction_metrics(
    prediction: Prediction, outcome: FloatArray, baseline: float | FloatArray
) -> dict[str, float]:
    """Return the usual metrics of predictions against known outcomes."""
    if prediction.probability is not None and prediction.classes is not None:
        return classification_metrics(outcome, probability=prediction.probability, classes=prediction.classes)
    return regression_metrics(
        outcome, forecast=prediction.expected, baseline=np.broadcast_to(baseline, outcome.shape)
    )
