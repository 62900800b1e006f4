"""A saved model is its arrays: it answers to the last bit as before, and refuses arrays of another."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from backtester_model_core.artifacts import pack_arrays, pack_json, unpack_arrays, unpack_json
from backtester_model_core.exceptions import ArtifactError, NotTrainedError, PredictionError
from backtester_model_core.testing import synthetic_rows
from backtester_model_core.typing import FloatArray
from backtester_model_scipy.adapter import SciPyAdapter
from backtester_model_scipy.catalogs import MODELS
from backtester_model_scipy.config import SciPyModelConfig
from backtester_model_scipy.native import ARRAYS, FACTS, SciPyModel

ADAPTER = SciPyAdapter()
NAMES = ("a", "b", "c", "d")


def config_of(name: str, **fields: Any) -> SciPyModelConfig:
    """Return a configuration of a model for the first task that it answers."""
    model = MODELS[name]
    parameters = {"memory": 10} if "memory" in model.model_fields else {}
    if name == "objective":
        parameters = {"objective": "brier"}
    task = "classification" if "classification" in model.tasks else "regression"
    return SciPyModelConfig(
        **{"model": name, "model_type": task, "parameters": parameters, "feature_columns": NAMES} | fields
    )


def trained(config: SciPyModelConfig, n_classes: int = 2) -> tuple[SciPyModel, FloatArray, Any]:
    """Return a trained model with its rows, and the ends that it is asked by."""
    features, target = synthetic_rows(200, model_type=config.model_type, signal=1.0)
    features[:, 0] = 0.5 * features[:, 0] + 0.5 * np.roll(features[:, 0], 1)
    model = ADAPTER.initialize_model(config)
    context = ADAPTER.context_rows(config)
    ends = np.arange(context, 200) if context else None
    if ends is not None:
        target = target[ends]
    classes = tuple(map(float, range(n_classes))) if config.model_type == "classification" else None
    return ADAPTER.train_model(model, features, target, classes=classes, ends=ends, seed=0), features, ends


def loaded(config: SciPyModelConfig, files: Any, n_features: int = 4, n_classes: int = 2) -> SciPyModel:
    classes = tuple(map(float, range(n_classes))) if config.model_type == "classification" else None
    return ADAPTER.load_model(files, config, n_features=n_features, classes=classes)


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_answers_to_the_last_bit_as_before(name: str) -> None:
    config = config_of(name)
    model, features, ends = trained(config)

    twin = loaded(config, ADAPTER.save_model(model))

    before, after = (ADAPTER.predict(one, features, ends=ends) for one in (model, twin))
    assert before.tobytes() == after.tobytes()
    assert ADAPTER.training_notes(twin) == ADAPTER.training_notes(model)


def test_a_class_that_training_never_saw_is_remembered() -> None:
    config = config_of("logistic")
    model, features, _ = trained(config, n_classes=3)

    twin = loaded(config, ADAPTER.save_model(model), n_classes=3)

    assert (ADAPTER.predict(twin, features)[:, 2] == 0).all()


def test_the_same_model_gives_the_same_bytes() -> None:
    files = [ADAPTER.save_model(trained(config_of("garch"))[0]) for _ in range(2)]

    assert files[0] == files[1]


def test_a_model_that_is_not_trained_is_neither_saved_nor_asked() -> None:
    model = ADAPTER.initialize_model(config_of("logistic"))

    with pytest.raises(NotTrainedError, match="cannot be saved"):
        ADAPTER.save_model(model)
    with pytest.raises(PredictionError, match="'logistic' is not trained"):
        ADAPTER.predict(model, np.zeros((1, 4)))


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [ARRAYS, FACTS])
@pytest.mark.parametrize(
    "content", [b"", pickle.dumps({"weights": 1}), b"{}\n"], ids=["empty", "pickle", "other"]
)
def test_a_foreign_file_is_refused(name: str, content: bytes) -> None:
    config = config_of("garch")
    files = {**ADAPTER.save_model(trained(config)[0]), name: content}

    with pytest.raises(ArtifactError, match=name):
        loaded(config, files)


def test_another_set_of_files_is_refused() -> None:
    config = config_of("garch")
    files = ADAPTER.save_model(trained(config)[0])

    with pytest.raises(ArtifactError):
        loaded(config, {**files, "weights.pkl": b""})


def test_another_model_is_refused() -> None:
    files = ADAPTER.save_model(trained(config_of("garch"))[0])

    with pytest.raises(ArtifactError, match="its model is 'garch', not 'gjr_garch'"):
        loaded(config_of("gjr_garch"), files)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_features": 3}, "does not standardise 3 features"),
        ({"n_classes": 3}, "its n_classes is 2, not 3"),
    ],
)
def test_another_task_or_number_of_features_is_refused(sizes: dict[str, int], message: str) -> None:
    config = config_of("logistic")

    with pytest.raises(ArtifactError, match=message):
        loaded(config, ADAPTER.save_model(trained(config)[0]), **sizes)


@pytest.mark.parametrize("seen", [[0], [1, 0], [0, 0], [0, 2], "01", None])
def test_classes_that_make_no_sense_are_refused(seen: Any) -> None:
    config = config_of("logistic")
    files = ADAPTER.save_model(trained(config)[0])
    facts = {**unpack_json(files[FACTS], name=FACTS), "seen": seen}

    with pytest.raises(ArtifactError, match="are not positions among 2"):
        loaded(config, {**files, FACTS: pack_json(facts)})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("logistic", {"coefficients": np.zeros((1, 4))}),
        ("logistic", {"coefficients": np.full((1, 5), np.nan)}),
        ("logistic", {"coefficients": np.full((1, 5), np.inf)}),
        ("logistic", {"coefficients": np.zeros((1, 5), dtype=np.float32)}),
        ("logistic", {"feature_scale": np.zeros(4)}),
        ("logistic", {"coefficients": None}),
        ("arma", {"weights": np.zeros(99)}),
        ("arma", {"columns": np.array([-1.0])}),
        ("arma", {"columns": np.array([4.0])}),
        ("arma", {"columns": np.empty(0)}),
        ("garch", {"parameters": np.array([0.0, -1.0, 0.1, 0.8])}),
        ("garch", {"parameters": np.empty(0)}),
        ("kernel_density", {"tables": np.zeros((3, 4, 257))}),
    ],
)
def test_arrays_that_are_not_of_such_a_model_are_refused(name: str, changes: dict[str, Any]) -> None:
    config = config_of(name)
    files = ADAPTER.save_model(trained(config)[0])
    arrays = {**unpack_arrays(files[ARRAYS], name=ARRAYS), **changes}
    packed = pack_arrays({key: array for key, array in arrays.items() if array is not None})

    with pytest.raises(ArtifactError, match=ARRAYS):
        loaded(config, {**files, ARRAYS: packed})
