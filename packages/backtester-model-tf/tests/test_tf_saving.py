"""Saved networks: bit-equal in a fresh process, and every damaged, foreign or hostile file refused."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from backtester_model_core.artifacts import pack_arrays, pack_json, unpack_arrays
from backtester_model_core.exceptions import ArtifactError, ConfigError, ModelError
from backtester_model_core.testing import synthetic_rows
from backtester_model_tf import TensorFlowModelConfig
from backtester_model_tf.adapter import TensorFlowAdapter
from backtester_model_tf.model import TensorFlowModel
from backtester_model_tf.saving import NETWORK, WEIGHTS

ADAPTER = TensorFlowAdapter()
CLASSES = (0.0, 1.0)
LAYERS = [
    {"type": "lstm", "units": 4, "dropout": 0.1},
    {"type": "batch_norm"},
    {"type": "framework", "name": "PReLU"},
]
ENDS = np.arange(4, 120)


def settings(layers: Any = LAYERS, model_type: Any = "classification") -> TensorFlowModelConfig:
    training = {"epochs": 1, "batch_size": 60}
    return TensorFlowModelConfig(
        lookback_period=5,
        model_type=model_type,
        model_architecture={"layers": layers},
        training_config=training,
    )


@pytest.fixture(scope="module")
def model() -> TensorFlowModel:
    features, target = synthetic_rows(120)
    return ADAPTER.train_model(
        ADAPTER.initialize_model(settings()), features, target[4:], classes=CLASSES, seed=0, ends=ENDS
    )


def load(files: Any, config: TensorFlowModelConfig | None = None, **given: Any) -> TensorFlowModel:
    return ADAPTER.load_model(files, config or settings(), **{"n_features": 4, "classes": CLASSES, **given})


def arrays_of(model: TensorFlowModel) -> dict[str, Any]:
    return unpack_arrays(ADAPTER.save_model(model)[WEIGHTS], name=WEIGHTS)


LOADING = """
import json, sys
from pathlib import Path
import numpy as np
from backtester_model_core.testing import synthetic_rows
from backtester_model_tf import TensorFlowModelConfig
from backtester_model_tf.adapter import TensorFlowAdapter
folder = Path(sys.argv[1])
config = TensorFlowModelConfig(**json.loads((folder / "config.json").read_text()))
files = {name: (folder / name).read_bytes() for name in ("network.json", "weights.npz")}
adapter = TensorFlowAdapter()
model = adapter.load_model(files, config, n_features=4, classes=(0.0, 1.0))
np.save(folder / "answer.npy", adapter.predict(model, synthetic_rows(120)[0], ends=np.arange(4, 120)))
"""


def test_a_fresh_process_answers_bit_for_bit_the_same(model: TensorFlowModel, tmp_path: Path) -> None:
    for name, content in ADAPTER.save_model(model).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "config.json").write_text(json.dumps(settings().model_dump(mode="json")))

    subprocess.run([sys.executable, "-c", LOADING, str(tmp_path)], check=True, capture_output=True)

    here = ADAPTER.predict(model, synthetic_rows(120)[0], ends=ENDS)
    assert np.load(tmp_path / "answer.npy").tobytes() == here.tobytes()


def test_a_regression_comes_back_with_its_unit() -> None:
    features, target = synthetic_rows(120, model_type="regression")
    config = settings([], "regression")
    model = ADAPTER.train_model(ADAPTER.initialize_model(config), features, target * 3 + 7, seed=0)

    loaded = load(ADAPTER.save_model(model), config, classes=None)

    assert np.array_equal(ADAPTER.predict(loaded, features), ADAPTER.predict(model, features))


def test_a_class_that_was_never_seen_stays_impossible() -> None:
    features, target = synthetic_rows(120)
    classes = (0.0, 1.0, 2.0)
    model = ADAPTER.train_model(
        ADAPTER.initialize_model(settings([])), features, target, classes=classes, seed=0
    )

    loaded = load(ADAPTER.save_model(model), settings([]), classes=classes)

    assert (ADAPTER.predict(loaded, features)[:, 2] == 0).all()


def test_an_untrained_model_has_nothing_to_save() -> None:
    with pytest.raises(ModelError, match="Train it first"):
        ADAPTER.save_model(ADAPTER.initialize_model(settings()))


# -- refusals ------------------------------------------------------------------------------------------------------


def keras_archive(tmp_path: Path) -> bytes:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    return (tmp_path / "model.keras").read_bytes()


def hdf5_weights(tmp_path: Path) -> bytes:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(tmp_path / "model.weights.h5")
    return (tmp_path / "model.weights.h5").read_bytes()


def pickled_array(tmp_path: Path) -> bytes:
    content = io.BytesIO()
    np.savez(content, **{"weight.00000": np.array([print], dtype=object)})
    return content.getvalue()


@pytest.mark.parametrize(
    "hostile",
    [keras_archive, hdf5_weights, pickled_array, lambda _: pickle.dumps({"weights": [1.0]})],
    ids=["keras", "hdf5", "object array", "pickle"],
)
@pytest.mark.parametrize("slot", [NETWORK, WEIGHTS])
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras, when it writes its own formats
def test_a_file_of_a_format_that_can_hold_code_is_refused(
    model: TensorFlowModel, tmp_path: Path, hostile: Any, slot: str
) -> None:
    files = {**ADAPTER.save_model(model), slot: hostile(tmp_path)}

    with pytest.raises(ArtifactError, match=f"The file '{slot}' of the saved model is refused"):
        load(files)


def change(array: Any) -> dict[str, Any]:
    """Return ways in which an array can be wrong, by name."""
    return {
        "transposed": array.T.copy(),
        "longer": np.concatenate([array, array]),
        "double": array.astype(np.float64),
        "infinite": np.full_like(array, np.inf),
    }


@pytest.mark.parametrize("fault", ["transposed", "longer", "double", "infinite"])
def test_a_weight_that_is_not_the_networks_is_refused(model: TensorFlowModel, fault: str) -> None:
    arrays = arrays_of(model)
    wrong = {**arrays, "weight.00001": change(arrays["weight.00001"])[fault]}

    with pytest.raises(ArtifactError, match=r"weight\.00001"):
        load({**ADAPTER.save_model(model), WEIGHTS: pack_arrays(wrong)})


@pytest.mark.parametrize("fault", ["missing", "extra", "reordered"])
def test_other_arrays_are_refused(model: TensorFlowModel, fault: str) -> None:
    arrays = arrays_of(model)
    names = list(arrays)
    kept = {"missing": names[:-1], "extra": names, "reordered": names[::-1]}[fault]
    wrong = {name: arrays[name] for name in kept} | ({"more": np.zeros(1)} if fault == "extra" else {})

    with pytest.raises(ArtifactError, match="its arrays are not those"):
        load({**ADAPTER.save_model(model), WEIGHTS: pack_arrays(wrong)})


def test_a_deviation_of_zero_is_refused(model: TensorFlowModel) -> None:
    wrong = {**arrays_of(model), "features.width": np.zeros(4)}

    with pytest.raises(ArtifactError, match=r"features\.width holds a deviation that is not above zero"):
        load({**ADAPTER.save_model(model), WEIGHTS: pack_arrays(wrong)})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("outputs", 3),
        ("weights", []),
        ("layers", []),
        ("seen", [True]),
        ("seen", ["yes", "no"]),
    ],
)
def test_a_description_of_another_network_is_refused(model: TensorFlowModel, key: str, value: Any) -> None:
    files = ADAPTER.save_model(model)
    described = {**json.loads(files[NETWORK]), key: value}

    with pytest.raises(ArtifactError, match=r"network\.json"):
        load({**files, NETWORK: pack_json(described)})


def test_another_configuration_task_or_feature_count_is_refused(model: TensorFlowModel) -> None:
    files = ADAPTER.save_model(model)

    for other in (
        {"config": settings([{"type": "gru", "units": 4}])},
        {"classes": (0.0, 1.0, 2.0)},
        {"n_features": 5},
    ):
        with pytest.raises(ArtifactError):
            load(files, **other)


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer"])
def test_a_layer_that_runs_code_is_refused_before_a_file_is_read(name: str) -> None:
    layer = {"type": "framework", "name": name, "arguments": {"function": "print"}}

    with pytest.raises(ConfigError, match="it runs code from outside the configuration"):
        load({}, settings([layer]))
