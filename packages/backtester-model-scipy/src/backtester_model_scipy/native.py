"""A model with what training made of it, and both as files of plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backtester_model_core.artifacts import expect_files, pack_arrays, pack_json, unpack_arrays, unpack_json
from backtester_model_core.exceptions import ArtifactError, ModelError, NotTrainedError, PredictionError
from backtester_model_core.probabilities import among_all_classes
from backtester_model_core.row_steps import among_all_classes_step, linear_step
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles, RowStep
from backtester_model_scipy.models import Fitted, Model

ARRAYS = "learned.npz"
FACTS = "learned.json"


@dataclass(frozen=True, eq=False)
class SciPyModel:
    """A model with what training made of it.

    Attributes:
        model: The model with its parameters.
        columns: Names of the features, as far as the configuration says them.
        fitted: What it learned; ``None`` before training.
        center: (p,) what is subtracted from the features.
        scale: (p,) what they are divided by.
        seen: Positions of the classes that training rows had; ``None`` for regression.
        n_classes: Number of classes there are; ``None`` for regression.
        notes: What is worth knowing about the training.
        normalize: Whether features are standardised, for a model that wants it.
    """

    model: Model
    columns: tuple[str, ...]
    fitted: Fitted | None = None
    center: FloatArray | None = None
    scale: FloatArray | None = None
    seen: IntArray | None = None
    n_classes: int | None = None
    notes: tuple[str, ...] = ()
    normalize: bool = True

    def standardised(self, features: FloatArray) -> FloatArray:
        """Return features as the model sees them."""
        if self.center is None or self.scale is None:
            return features
        return (features - self.center) / self.scale

    def forecast(self, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return values, or probabilities with 0 for a class that no training row had."""
        if self.fitted is None:
            raise PredictionError(f"The model {self.model.name!r} is not trained.")
        answer = self.model.forecast(self.fitted, self.standardised(features), ends)
        if self.n_classes is None or self.seen is None:
            return answer
        return among_all_classes(answer, seen=self.seen, n_classes=self.n_classes)

    def row_step(self) -> RowStep:
        """Return what answers one row as :meth:`forecast` does, where that is a function of weighted sums.

        Raises:
            ModelError: When it is not.
        """
        if self.fitted is None or self.center is None or self.scale is None:
            raise NotTrainedError.before(self.model.name, "answer")
        scores = self.model.scores(self.fitted)
        if scores is None:
            raise ModelError(
                f"No fast answer to one row: {self.model.name} is no function of weighted sums. It is asked through "
                "predict."
            )
        step = linear_step(scores.weights / self.scale, scores.intercepts, scores.link, centre=self.center)
        if self.n_classes is None or self.seen is None:
            return step
        return among_all_classes_step(step, seen=self.seen, n_classes=self.n_classes)


def pack_model(model: SciPyModel) -> ModelFiles:
    """Return a trained model's arrays, and its name, classes and notes."""
    if model.fitted is None or model.center is None or model.scale is None:
        raise NotTrainedError.before(model.model.name, "be saved")
    arrays = {"feature_center": model.center, "feature_scale": model.scale, **model.fitted.state()}
    facts = {
        "model": model.model.name,
        "n_classes": model.n_classes,
        "seen": None if model.seen is None else model.seen.tolist(),
        "notes": list(model.notes),
    }
    return {ARRAYS: pack_arrays(arrays), FACTS: pack_json(facts)}


def unpack_model(
    untrained: SciPyModel, files: ModelFiles, *, n_features: int, classes: tuple[float, ...] | None
) -> SciPyModel:
    """Rebuild a trained model, and check it by an answer for a row of zeros.

    Raises:
        ArtifactError: When a file is foreign or damaged, or the arrays are not those of such a model.
    """
    expect_files(files, [ARRAYS, FACTS])
    facts = unpack_json(files[FACTS], name=FACTS)
    n_classes = None if classes is None else len(classes)
    if not isinstance(facts, dict) or facts.keys() != {"model", "n_classes", "seen", "notes"}:
        raise ArtifactError.in_file(FACTS, "it does not say what a SciPy model needs")
    for name, wanted in (("model", untrained.model.name), ("n_classes", n_classes)):
        if facts[name] != wanted:
            raise ArtifactError.in_file(FACTS, f"its {name} is {facts[name]!r}, not {wanted!r}")
    arrays = {
        name: _numbers(array, name) for name, array in unpack_arrays(files[ARRAYS], name=ARRAYS).items()
    }
    center, scale = (arrays.pop(f"feature_{name}", np.empty(0)) for name in ("center", "scale"))
    if not (center.shape == scale.shape == (n_features,)) or not (np.isfinite(center) & (scale > 0)).all():
        raise ArtifactError.in_file(ARRAYS, f"it does not standardise {n_features} features")
    model = replace(
        untrained,
        fitted=Fitted.from_state(arrays, [str(note) for note in facts["notes"]]),
        center=center,
        scale=scale,
        seen=_seen(facts["seen"], n_classes),
        n_classes=n_classes,
        notes=tuple(str(note) for note in facts["notes"]),
    )
    _check_answer(model)
    return model


def _numbers(array: FloatArray, name: str) -> FloatArray:
    """Return an array of double precision, and refuse another, or one with NaN."""
    if array.dtype != np.float64 or np.isnan(array).any():
        raise ArtifactError.in_file(ARRAYS, f"its array {name!r} is not of numbers in double precision")
    return array


def _seen(positions: object, n_classes: int | None) -> IntArray | None:
    """Return the classes that training rows had, each once and in order."""
    if n_classes is None and positions is None:
        return None
    able = range(n_classes or 0)
    if (
        not isinstance(positions, list)
        or len(positions) < 2
        or positions != [at for at in able if at in positions]
    ):
        raise ArtifactError.in_file(FACTS, f"its classes {positions!r} are not positions among {n_classes}")
    return np.array(positions, dtype=np.int64)


def _check_answer(model: SciPyModel) -> None:
    """Ask about a row in the middle of the training rows: what is not a finite answer shows a foreign array."""
    context = model.model.context_rows
    rows = np.tile(model.center if model.center is not None else np.empty(0), (context + 1, 1))
    wanted = (1,) if model.n_classes is None else (1, model.n_classes)
    try:
        with np.errstate(all="ignore"):
            answer = model.forecast(rows, np.array([context]) if context else None)
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise ArtifactError.in_file(ARRAYS, f"{model.model.name} cannot answer from it ({error})") from error
    if answer.shape != wanted or not np.isfinite(answer).all():
        raise ArtifactError.in_file(ARRAYS, f"{model.model.name} answers from it with {answer.tolist()}")
