"""A trained model as an artefact, and an artefact as a trained model again."""

from __future__ import annotations

import hashlib
import os
import platform
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import pandas as pd

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.artifacts import (
    Artifact,
    DataRecord,
    Manifest,
    PolicyRecord,
    describe,
    pack_arrays,
    unpack_arrays,
)
from backtester_model_core.calibration import calibrator_kind
from backtester_model_core.config import ModelConfig, parse_config
from backtester_model_core.dataset import OPTIONAL_COLUMNS, Dataset, Prediction
from backtester_model_core.exceptions import ArtifactError, ModelError, NotTrainedError
from backtester_model_core.monitoring import Reference
from backtester_model_core.plugins import MODELS, config_class, plugins, registered_model, versions_of
from backtester_model_core.runs import digest_of, digest_of_code
from backtester_model_core.signals import Residuals, SignalPolicy
from backtester_model_core.typing import FloatArray, ModelFiles, TimeArray

if TYPE_CHECKING:
    from backtester_model_core.model import BaseModel

OtherVersions: TypeAlias = Literal["error", "warn"]
"""What to do when a model was saved with other library versions than are installed."""

CORE_ARRAYS = "core.npz"
CALIBRATOR = "calibrator_"
"""What the names of a calibrator's arrays begin with."""

REFERENCE = "reference_"
"""What the arrays of a model's reference are called by, in the core's own file."""
N_CHECKED = 8
MAX_CONTEXT = 1_000
TOLERANCE = 1e-5
"""How far replayed forecasts may be off, as a share of the largest stored one."""

NO_NUMBERS = {"code", "hypothesis", "joblib", "numba", "pluggy", "pyarrow", "pydantic", "pytest", "pyyaml"}
"""What no forecast depends on: in another version of these a model is the same. ``code`` is a digest of sources."""


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """What a model remembers of the rows it was trained on; made at every training, so of arrays alone.

    Attributes:
        first: Instant at which the first row was known.
        last: Instant at which the last row was known.
        fingerprint: Digest of features, labels, weights and instants.
        sample: (m, p) the latest complete rows of the last row's symbol, so many that a model which looks back
            can foresee eight of them.
        known_at: (m,) their instants.
    """

    first: str
    last: str
    fingerprint: str
    sample: FloatArray
    known_at: TimeArray

    @classmethod
    def of(cls, dataset: Dataset, held_back: Dataset | None = None, *, n_context: int) -> Self:
        """Look at the rows of a training, and at those that were held back to stop it early."""
        own = np.flatnonzero(dataset.symbol_codes == dataset.symbol_codes[-1])
        complete = own[np.isfinite(dataset.values[own]).all(axis=1)]
        rows = complete[-(N_CHECKED + min(n_context, MAX_CONTEXT)) :]
        given = [dataset] if held_back is None else [dataset, held_back]
        first, last = f"{dataset.known_at[0]}Z", f"{given[-1].known_at[-1]}Z"
        return cls(first, last, _fingerprint(*given), dataset.values[rows], dataset.known_at[rows])

    def extended(self, dataset: Dataset) -> Self:
        """Return the record of a training that went on with further rows; the sample stays."""
        first, last = f"{dataset.known_at[0]}Z", f"{dataset.known_at[-1]}Z"
        fingerprint = _fingerprint(dataset, after=self.fingerprint)
        return replace(self, first=min(self.first, first), last=max(self.last, last), fingerprint=fingerprint)

    @property
    def data(self) -> DataRecord:
        """Range and fingerprint, as the manifest has them."""
        return DataRecord(first=self.first, last=self.last, fingerprint=self.fingerprint)


def to_artifact(model: BaseModel, policy: SignalPolicy | None = None) -> Artifact:
    """Turn a trained model into what is saved.

    Args:
        model: The model.
        policy: How its forecasts become signals; its own when not given.

    Raises:
        NotTrainedError: Before training.
        ModelError: When the model has no name to be loaded by, or cannot be written as data.
    """
    if model.report is None or model.trained_on is None:
        raise NotTrainedError.before(model.config.model_name, "be saved")
    policy = model.policy if policy is None else policy
    if np.ndim(policy.baseline):
        raise ModelError(
            "The signal policy belongs to single rows, not to a model. Save a model that was trained."
        )
    files = {**model.to_files(), CORE_ARRAYS: _pack_state(model, model.trained_on, policy)}
    config = model.config.model_dump(mode="json")
    manifest = describe(
        files,
        content_key=digest_of(config, model.seed, model.trained_on.data.fingerprint, code_facts(model)),
        model=_registered_name(model),
        config=config,
        features=model.columns,
        classes=model.classes,
        data=model.trained_on.data,
        seed=model.seed,
        threads=os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count()),
        versions=_versions(config),
        policy=PolicyRecord(
            signal_threshold=policy.signal_threshold,
            confidence_threshold=policy.confidence_threshold,
            strong_confidence=policy.strong_confidence,
            baseline=float(policy.baseline),
            may_trade=policy.may_trade,
            shrinkage=None if policy.residuals is None else policy.residuals.shrinkage,
            exit_confidence=policy.exit_confidence,
            pays=policy.pays,
            calibrator=None if policy.calibrator is None else model.config.calibration.method,
            win=policy.sizing.win,
            loss=policy.sizing.loss,
        ),
        report=model.report,
    )
    return Artifact(manifest, files)


def rebuild(
    artifact: Artifact, *, adapter_model: Callable[[ModelConfig], BaseModel], on_other_versions: OtherVersions
) -> BaseModel:
    """Make the model of an artefact, and refuse it when it does not forecast as it did when it was saved.

    Args:
        artifact: What was saved, verified.
        adapter_model: What makes a model whose framework has an adapter.
        on_other_versions: What to do when other library versions saved it.

    Raises:
        ArtifactError: When nobody here knows the model, its files are refused, or its forecasts differ.
    """
    manifest = artifact.manifest
    make = adapter_model if manifest.model is None else registered_model(manifest.model)
    if make is None:
        raise ArtifactError.refused(
            "The saved model",
            f"no model is registered as {manifest.model!r} here",
            "Import the module that registers it.",
        )
    chosen = config_class(str(manifest.config.get("framework")))
    _check_versions(manifest, on_other_versions)
    model = make(parse_config(chosen, manifest.config))
    _restore(model, artifact)
    return model


def code_facts(model: BaseModel) -> dict[str, Any]:
    """Say which code makes a model: a digest of sources, and the extensions in force."""
    owners = [type(model), *(type(part) for part in [getattr(model, "adapter", None)] if part is not None)]
    return {
        "sources": digest_of_code([ModelFrameworkAdapter, *owners]),
        "versions": versions_of(model.config),
        "extensions": plugins().sources(),
    }


# -- inside -------------------------------------------------------------------------------------------------------


def _restore(model: BaseModel, artifact: Artifact) -> None:
    """Fill an untrained model with what was saved, and let it forecast the stored rows again."""
    manifest = artifact.manifest
    if manifest.classes != model.classes:
        raise ArtifactError.refused(
            "The saved model", f"its classes are {manifest.classes}, its configuration's {model.classes}"
        )
    state = _unpack_state(artifact.files, columns=manifest.features)
    model.seed, model.columns, model.report = manifest.seed, manifest.features, manifest.report
    model.trained_on = TrainingRecord(
        manifest.data.first, manifest.data.last, manifest.data.fingerprint, state.sample, state.known_at
    )
    model.policy = _restored_policy(model.config, manifest.policy, state)
    model.watched_rows = state.reference
    model.from_files({name: content for name, content in artifact.files.items() if name != CORE_ARRAYS})
    _replay(model, state)


def _restored_policy(config: ModelConfig, record: PolicyRecord, state: _State) -> SignalPolicy:
    """Put the policy together again, and refuse arrays that the manifest does not say it has."""
    kind = None if record.calibrator is None else calibrator_kind(config.calibration.method)
    if (
        (record.shrinkage is None) != (state.residual_sizes is None)
        or (record.calibrator is None) != (not state.calibrator)
        or record.calibrator not in {None, config.calibration.method}
        or (record.calibrator is not None and kind is None)
    ):
        raise ArtifactError.in_file(
            CORE_ARRAYS, "it has residuals or a calibrator, or none, where the manifest says otherwise"
        )
    residuals = None
    if record.shrinkage is not None and state.residual_sizes is not None:
        residuals = Residuals(record.shrinkage, state.residual_sizes)
    configured = SignalPolicy.of(config, baseline=record.baseline, may_trade=record.may_trade)
    sizing = replace(configured.sizing, whole_at=record.strong_confidence, win=record.win, loss=record.loss)
    return replace(
        configured,
        signal_threshold=record.signal_threshold,
        confidence_threshold=record.confidence_threshold,
        strong_confidence=record.strong_confidence,
        exit_confidence=record.exit_confidence,
        residuals=residuals,
        calibrator=None if kind is None else kind.restore(state.calibrator),
        pays=record.pays,
        sizing=sizing,
    )


def _check_versions(manifest: Manifest, on_other_versions: OtherVersions) -> None:
    """Refuse a model of other library versions, or warn of all of them once."""
    here = _versions(manifest.config)
    names = sorted((here.keys() | manifest.versions.keys()) - NO_NUMBERS)
    differing = [
        f"{name} {manifest.versions.get(name, 'absent')} (here {here.get(name, 'absent')})"
        for name in names
        if manifest.versions.get(name) != here.get(name)
    ]
    if not differing:
        return
    message = f"The model was saved with {', '.join(differing)}; its forecasts may differ."
    if on_other_versions == "error":
        raise ArtifactError(
            f"{message} Install those versions, or load it with on_other_versions='warn', which checks eight forecasts."
        )
    warnings.warn(message, RuntimeWarning, stacklevel=4)


@dataclass(frozen=True, eq=False)
class _State:
    """The arrays of the core's own file.

    Attributes:
        sample: (m, p) features to forecast again.
        known_at: (m,) their instants.
        expected: (8,) or fewer, what was foreseen for the last of them.
        probability: (8, k) or fewer, for a classifier.
        residual_sizes: Ascending sizes of the standardised residuals, if the policy has any.
        calibrator: The calibrator's arrays by name, if the policy has one.
        reference: What the training rows looked like, if the model is monitored.
    """

    sample: FloatArray
    known_at: TimeArray
    expected: FloatArray
    probability: FloatArray | None
    residual_sizes: FloatArray | None
    calibrator: Mapping[str, FloatArray]
    reference: Reference | None


def _pack_state(model: BaseModel, record: TrainingRecord, policy: SignalPolicy) -> bytes:
    sample = _frame(record.sample, record.known_at, model.columns)
    checked = _checked_rows(model.predict_distribution(sample))
    arrays = {
        "sample": record.sample,
        "known_at": record.known_at.astype("datetime64[ns]").view(np.int64),
        "expected": checked.expected,
    }
    if checked.probability is not None:
        arrays["probability"] = checked.probability
    if policy.residuals is not None:
        arrays["residual_sizes"] = policy.residuals.sorted_sizes
    if policy.calibrator is not None:
        parts = policy.calibrator.to_arrays()
        arrays |= {f"{CALIBRATOR}{name}": array for name, array in parts.items()}
    if model.reference is not None:
        arrays |= {f"{REFERENCE}{name}": array for name, array in model.reference.to_arrays().items()}
    return pack_arrays(arrays)


def _unpack_state(files: ModelFiles, *, columns: tuple[str, ...]) -> _State:
    """Read the core's own file, and refuse arrays that do not belong together."""
    if CORE_ARRAYS not in files:
        raise ArtifactError.refused("The saved model", f"it has no file {CORE_ARRAYS}")
    arrays = unpack_arrays(files[CORE_ARRAYS], name=CORE_ARRAYS)
    watched = {name: arrays.pop(name) for name in list(arrays) if name.startswith(REFERENCE)}
    shapes = {name: array.shape for name, array in arrays.items()}
    n_rows = len(arrays["sample"]) if shapes.get("sample", ())[1:] == (len(columns),) else 0
    n_checked = min(n_rows, N_CHECKED)
    calibrator = {name for name in shapes if name.startswith(CALIBRATOR)}
    optional = ({"probability", "residual_sizes"} | calibrator) & shapes.keys()
    if (
        n_rows == 0
        or shapes.keys() - optional != {"sample", "known_at", "expected"}
        or (shapes["known_at"], shapes["expected"]) != ((n_rows,), (n_checked,))
        or any(
            array.dtype != (np.int64 if name == "known_at" else np.float64) for name, array in arrays.items()
        )
        or any(not np.isfinite(arrays[name]).all() for name in ("sample", *optional - {"probability"}))
    ):
        raise ArtifactError.in_file(CORE_ARRAYS, f"its arrays do not belong together: {shapes}")
    if "residual_sizes" in arrays and not (np.diff(arrays["residual_sizes"], prepend=0.0) >= 0).all():
        raise ArtifactError.in_file(CORE_ARRAYS, "its residuals are not ascending sizes")
    return _State(
        arrays["sample"],
        arrays["known_at"].view("datetime64[ns]"),
        arrays["expected"],
        arrays.get("probability"),
        arrays.get("residual_sizes"),
        {name.removeprefix(CALIBRATOR): arrays[name] for name in calibrator},
        _unpack_reference(watched, columns=columns),
    )


def _unpack_reference(
    watched: Mapping[str, np.ndarray[Any, Any]], *, columns: tuple[str, ...]
) -> Reference | None:
    """Read what the training rows looked like, and refuse arrays that do not belong together."""
    if not watched:
        return None
    arrays = {name.removeprefix(REFERENCE): array for name, array in watched.items()}
    return Reference.from_arrays(arrays, columns=columns)


def _replay(model: BaseModel, state: _State) -> None:
    """Forecast the stored rows again and compare."""
    try:
        prediction = model.predict_distribution(_frame(state.sample, state.known_at, model.columns))
    except Exception as error:  # whatever a framework raises on weights that passed its checks
        raise ArtifactError.refused("The saved model", f"it cannot repeat its forecasts: {error}") from error
    again = _checked_rows(prediction)
    stored = state.expected if state.probability is None else state.probability
    found = again.expected if again.probability is None else again.probability
    if stored.shape != found.shape or not _agree(stored, found):
        raise ArtifactError.refused(
            "The saved model",
            f"on {len(stored)} stored rows it does not forecast what it did when it was saved",
            "Load it with the versions that it was saved with, or train it again.",
        )


def _agree(stored: FloatArray, found: FloatArray) -> bool:
    largest = float(np.nanmax(np.abs(stored), initial=0.0)) if np.isfinite(stored).any() else 0.0
    return bool(np.allclose(found, stored, rtol=0, atol=TOLERANCE * largest, equal_nan=True))


def _checked_rows(prediction: Prediction) -> Prediction:
    return prediction.take(np.arange(len(prediction))[-N_CHECKED:])


def _registered_name(model: BaseModel) -> str | None:
    """Return the name by which a whole model class is registered; ``None`` for an adapter's model."""
    names = [name for name in MODELS if MODELS[name] is type(model)]
    if names:
        return names[0]
    if getattr(model, "adapter", None) is not None:
        return None
    raise ModelError(
        f"{type(model).__name__} has no name to be loaded by. Register it with ModelFactory.register_model."
    )


def _versions(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that forecasts depend on, by distribution; one of elsewhere is named ``adapter@name``."""
    named = (text.split(" ", 1) for text in versions_of(config))
    found = {name: one for name, one in named if name.rpartition("@")[2].lower() not in NO_NUMBERS}
    return {"python": ".".join(platform.python_version_tuple()[:2]), **found}


def _fingerprint(*datasets: Dataset, after: str = "") -> str:
    digest = hashlib.sha256(after.encode())
    names = ("values", "known_at", "symbol_codes", "target", "label_end", *OPTIONAL_COLUMNS)
    for dataset in datasets:
        digest.update(repr((dataset.columns, dataset.symbols, dataset.classes)).encode())
        for column in (getattr(dataset, name) for name in names):
            if column is not None:
                digest.update(np.ascontiguousarray(column).view(np.uint8).data)
    return digest.hexdigest()


def _frame(values: FloatArray, known_at: TimeArray, columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(values, index=pd.DatetimeIndex(known_at, name="timestamp"), columns=list(columns))
