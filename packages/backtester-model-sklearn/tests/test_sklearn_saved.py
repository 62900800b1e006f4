"""Saved scikit-learn models: what is not trusted, not sound or not the configuration's is refused, by name."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io

from backtester_model_core.artifacts import Artifact, VersionFolder, describe
from backtester_model_core.exceptions import ArtifactError, ModelError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.streaming import SignalStream
from backtester_model_core.testing import random_bars, synthetic_rows
from backtester_model_core.testing.watch import watch_loading
from backtester_model_sklearn.adapter import FACTS, PIPELINE, SklearnAdapter
from backtester_model_sklearn.config import SklearnModelConfig
from backtester_model_sklearn.model import SklearnModel

ADAPTER = SklearnAdapter()
CLASSES = (0.0, 1.0, 2.0)
FEATURES, SCORE = synthetic_rows(200, model_type="regression")
TARGET = np.digitize(SCORE, [-1.0, 1.0])
MEMORY = 512 * 2**20


def config_of(model_class: str, **hyperparameters: Any) -> SklearnModelConfig:
    kind = "regression" if model_class.endswith(("Regressor", "SVR", "Ridge")) else "classification"
    return SklearnModelConfig(model_class=model_class, model_type=kind, hyperparameters=hyperparameters)


def trained(config: SklearnModelConfig) -> SklearnModel:
    is_regression = config.model_type == "regression"
    return ADAPTER.train_model(
        ADAPTER.initialize_model(config),
        FEATURES,
        SCORE if is_regression else TARGET,
        classes=None if is_regression else CLASSES,
        seed=0,
    )


def load(files: dict[str, bytes], config: SklearnModelConfig, n_features: int = 4) -> SklearnModel:
    classes = None if config.model_type == "regression" else CLASSES
    return ADAPTER.load_model(files, config, n_features=n_features, classes=classes)


def crafted(config: SklearnModelConfig, change: Callable[[Any], None]) -> dict[str, bytes]:
    """Write a model down after something inside its estimator was changed, as somebody could who knows the format."""
    model = trained(config)
    files = dict(ADAPTER.save_model(model))
    change(model.estimator)
    return {**files, PIPELINE: skops.io.dumps(model.pipeline)}


def with_schema(content: bytes, change: Callable[[Any], None]) -> bytes:
    """Change the schema of a skops file and leave its arrays."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name == "schema.json":
                schema = json.loads(member)
                change(schema)
                member = json.dumps(schema).encode()
            new.writestr(name, member)
    return made.getvalue()


def nodes_of(part: Any, loader: str) -> list[dict[str, Any]]:
    found = [part] if isinstance(part, dict) and part.get("__loader__") == loader else []
    inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
    return found + [node for one in inside for node in nodes_of(one, loader)]


# -- honest models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_class", "hyperparameters"),
    [
        ("KNeighborsClassifier", {"metric": "manhattan"}),
        ("KNeighborsClassifier", {"algorithm": "ball_tree", "metric": "minkowski", "p": 3}),
        ("KNeighborsRegressor", {"algorithm": "brute"}),
        ("LabelPropagation", {"kernel": "knn"}),
        ("BaggingClassifier", {"estimator": {"model_class": "KNeighborsClassifier"}, "n_estimators": 3}),
        ("BaggingClassifier", {"max_features": 2, "n_estimators": 3}),
        ("AdaBoostRegressor", {"n_estimators": 3}),
        ("RandomForestClassifier", {"n_estimators": 3, "n_jobs": 1}),
        ("GradientBoostingRegressor", {"loss": "huber", "n_estimators": 3}),
        ("HistGradientBoostingRegressor", {"loss": "absolute_error", "max_iter": 3}),
        ("SVC", {"kernel": "poly"}),
        ("NuSVR", {}),
        ("MLPClassifier", {"solver": "sgd", "max_iter": 5}),
    ],
    ids=str,
)
def test_a_model_answers_after_loading_as_it_did(model_class: str, hyperparameters: dict[str, Any]) -> None:
    config = config_of(model_class, **hyperparameters)
    model = trained(config)

    loaded = load(dict(ADAPTER.save_model(model)), config)

    assert np.array_equal(ADAPTER.predict(loaded, FEATURES), ADAPTER.predict(model, FEATURES))
    assert (loaded.n_classes, loaded.notes) == (model.n_classes, model.notes)


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize(
    "step",
    [
        "simple_imputer",
        "minmax_scaler",
        "robust_scaler",
        "quantile_transformer",
        "variance_threshold",
        {"name": "select_k_best", "k": 2},
        {"name": "select_k_best", "k": 2, "score_func": "mutual_info"},
        "pca",
    ],
    ids=str,
)
def test_preprocessing_comes_back(kind: Any, step: Any) -> None:
    if isinstance(step, dict) and "score_func" in step:
        step = {
            **step,
            "score_func": "mutual_info_classif" if kind == "classification" else "mutual_info_regression",
        }
    config = SklearnModelConfig(model_type=kind, preprocessing=(step,))
    model = trained(config)

    loaded = load(dict(ADAPTER.save_model(model)), config)

    assert np.array_equal(ADAPTER.predict(loaded, FEATURES), ADAPTER.predict(model, FEATURES))


def test_training_continues_where_it_was_saved() -> None:
    config = config_of("SGDClassifier", loss="log_loss")
    model = trained(config)
    loaded = load(dict(ADAPTER.save_model(model)), config)

    models = [ADAPTER.update_model(one, FEATURES, TARGET, seed=1) for one in (model, loaded)]

    assert np.array_equal(*(ADAPTER.predict(one, FEATURES) for one in models))


def test_saving_changes_nothing_of_the_model() -> None:
    model = trained(config_of("KNeighborsClassifier"))
    before = ADAPTER.predict(model, FEATURES)
    ADAPTER.save_model(model)

    assert np.array_equal(ADAPTER.predict(model, FEATURES), before)


def test_an_estimator_that_splits_by_category_says_that_it_cannot_be_saved() -> None:
    config = config_of("HistGradientBoostingRegressor", categorical_features=[0], max_iter=2)
    model = ADAPTER.initialize_model(config)
    rows = np.column_stack([TARGET, FEATURES[:, 1:]]).astype(float)
    model = ADAPTER.train_model(model, rows, SCORE, seed=0)

    with pytest.raises(ModelError, match=r"cannot be saved as data: .* not trusted"):
        ADAPTER.save_model(model)


# -- crafted content --------------------------------------------------------------------------------------------------


def tree_with(**changes: Any) -> Callable[[Any], None]:
    """Write values into the first node of every tree of an estimator."""

    def change(estimator: Any) -> None:
        inner = getattr(estimator, "estimators_", [estimator])
        for one in np.ravel(np.asarray(inner, dtype=object)):
            state = one.tree_.__getstate__()
            for name, value in changes.items():
                state["nodes"][name][0] = value
            one.tree_.__setstate__(state)

    return change


def boosted_with(**changes: Any) -> Callable[[Any], None]:
    def change(estimator: Any) -> None:
        for name, value in changes.items():
            estimator._predictors[0][0].nodes[name][0] = value

    return change


def setting(**attributes: Any) -> Callable[[Any], None]:
    def change(estimator: Any) -> None:
        for name, value in attributes.items():
            setattr(estimator, name, value(getattr(estimator, name)) if callable(value) else value)

    return change


def without_a_stage(estimator: Any) -> None:
    estimator.estimators_ = estimator.estimators_[:, :2]


def with_more_classes_at_first(estimator: Any) -> None:
    estimator.init_.class_prior_ = np.full(2, 0.5)
    estimator.init_.classes_ = np.arange(2)


def out_of_bounds(estimator: Any) -> None:
    name, words, *rest = estimator._random_state.get_state()
    estimator._random_state.set_state((name, words, 624, *rest[1:]))
    state = estimator._random_state.get_state(legacy=False)
    state["state"]["pos"] = 100_000
    estimator._random_state.set_state(state)


TREES = (
    "DecisionTreeClassifier",
    "RandomForestRegressor",
    "GradientBoostingClassifier",
    "ExtraTreesClassifier",
)
CRAFTED = [
    *[
        (name, tree_with(**change), problem)
        for name in TREES
        for change, problem in [
            ({"left_child": 0}, "child outside"),
            ({"right_child": 10**6}, "child outside"),
            ({"left_child": -7}, "child outside"),
            ({"left_child": -1}, "child outside"),
            ({"feature": 4}, "feature that is not there"),
            ({"feature": -2}, "feature that is not there"),
            ({"feature": 10**9}, "feature that is not there"),
            ({"threshold": np.nan}, "threshold that is not finite"),
        ]
    ],
    ("HistGradientBoostingRegressor", boosted_with(left=0), "child outside"),
    ("HistGradientBoostingRegressor", boosted_with(right=10**6), "child outside"),
    ("HistGradientBoostingRegressor", boosted_with(feature_idx=77), "feature that is not there"),
    ("HistGradientBoostingRegressor", boosted_with(is_categorical=1), "category"),
    ("HistGradientBoostingRegressor", boosted_with(is_leaf=7), "category"),
    ("HistGradientBoostingRegressor", boosted_with(num_threshold=np.nan), "threshold"),
    ("HistGradientBoostingRegressor", boosted_with(value=np.inf, is_leaf=1), "not finite"),
    ("GradientBoostingClassifier", without_a_stage, "number of trees"),
    ("GradientBoostingClassifier", with_more_classes_at_first, "number of trees|shape"),
    ("SVC", setting(_n_support=np.array([1, 1, 10**6], dtype=np.int32)), "support vectors"),
    ("SVC", setting(support_vectors_=lambda rows: rows[:2]), "support vectors"),
    ("SVC", setting(_dual_coef_=lambda rows: rows[:, :1]), "support vectors"),
    ("SVC", setting(_sparse=True), "support vectors"),
    ("SVR", setting(_n_support=np.array([10**6, 0], dtype=np.int32)), "support vectors"),
    ("KNeighborsClassifier", setting(_y=lambda classes: classes + 1_000), "classes that are not there"),
    ("KNeighborsClassifier", setting(_fit_X=lambda rows: rows[:, :2]), "not rows of the features"),
    ("MLPClassifier", out_of_bounds, "random state"),
    ("RandomForestRegressor", setting(n_jobs=1_000), "n_jobs"),
    ("RandomForestRegressor", setting(max_depth=7), "max_depth"),
]


@pytest.mark.parametrize(("model_class", "change", "problem"), CRAFTED, ids=range(len(CRAFTED)))
def test_a_crafted_model_is_refused(model_class: str, change: Callable[[Any], None], problem: str) -> None:
    small = {"n_estimators": 3} if model_class.startswith(("Random", "Gradient", "Extra")) else {}
    config = config_of(model_class, **small)
    if "KNeighbors" in model_class:
        config = config_of(model_class, algorithm="brute")

    with pytest.raises(ArtifactError, match=problem):
        load(crafted(config, change), config)


def test_a_nested_estimator_that_would_start_processes_is_refused() -> None:
    config = config_of("BaggingClassifier", n_estimators=2)

    def change(estimator: Any) -> None:
        estimator.estimators_[0].n_jobs = 64

    with pytest.raises(ArtifactError, match="64 jobs"):
        load(crafted(config, change), config)


def test_a_pipeline_of_another_estimator_is_refused() -> None:
    files = dict(ADAPTER.save_model(trained(config_of("DecisionTreeClassifier"))))

    with pytest.raises(ArtifactError, match="not the pipeline"):
        load(files, config_of("LogisticRegression"))


def test_a_pipeline_of_another_width_is_refused() -> None:
    config = config_of("LogisticRegression")

    with pytest.raises(ArtifactError, match="not fitted to 5 features"):
        load(dict(ADAPTER.save_model(trained(config))), config, n_features=5)


@pytest.mark.parametrize(
    "facts",
    [[], {}, {"n_classes": 2, "notes": [], "trusted": 1}, {"n_classes": 3, "notes": [], "trusted": 2}],
)
def test_facts_that_do_not_fit_are_refused(facts: Any) -> None:
    config = config_of("LogisticRegression")
    files = {**ADAPTER.save_model(trained(config)), FACTS: (json.dumps(facts, indent=1) + "\n").encode()}

    with pytest.raises(ArtifactError, match=FACTS):
        load(files, config)


# -- crafted skops files ----------------------------------------------------------------------------------------------


def of_another_type(schema: Any) -> None:
    node = nodes_of(schema, "ObjectNode")[-1]
    node["__module__"], node["__class__"] = "os", "system"


def of_an_estimator_nobody_looked_at(schema: Any) -> None:
    node = nodes_of(schema, "ObjectNode")[-1]
    node["__module__"], node["__class__"] = "sklearn.calibration", "CalibratedClassifierCV"


def by_another_loader(schema: Any) -> None:
    nodes_of(schema, "ListNode")[0]["__loader__"] = "SetNode"


def of_a_trusted_type_by_another_loader(schema: Any) -> None:
    node = nodes_of(schema, "ListNode")[0]
    node["__module__"], node["__class__"] = "sklearn.pipeline", "Pipeline"


def of_another_protocol(schema: Any) -> None:
    schema["protocol"] = 0


def of_one_array_in_many_places(schema: Any) -> None:
    first, second = nodes_of(schema, "NdArrayNode")[:2]
    second["file"] = first["file"]


def of_a_function(schema: Any) -> None:
    nodes_of(schema, "JsonNode")[0].update(
        {"__loader__": "FunctionNode", "__module__": "os", "__class__": "abort"}
    )


def of_a_method(schema: Any) -> None:
    nodes_of(schema, "JsonNode")[0].update({"__loader__": "MethodNode"})


def of_trees_with_many_targets(schema: Any) -> None:
    nodes_of(schema, "TreeNode")[0]["__reduce__"]["args"]["content"][2]["content"] = "1000000000"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (of_another_type, r"os\.system, which is not trusted"),
        (of_an_estimator_nobody_looked_at, "CalibratedClassifierCV, which is not trusted"),
        (by_another_loader, "not trusted"),
        (of_a_trusted_type_by_another_loader, "not trusted"),
        (of_another_protocol, "protocol"),
        (of_one_array_in_many_places, "several places"),
        (of_a_function, r"os\.abort, which is not trusted"),
        (of_a_method, "not trusted"),
        (of_trees_with_many_targets, "several targets"),
    ],
)
def test_a_crafted_schema_is_refused(change: Callable[[Any], None], problem: str) -> None:
    config = config_of("DecisionTreeClassifier")
    files = dict(ADAPTER.save_model(trained(config)))

    with pytest.raises(ArtifactError, match=problem):
        load({**files, PIPELINE: with_schema(files[PIPELINE], change)}, config)


def npy(shape: str, descr: str = "'<f8'", data: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "member",
    [
        npy("(10000000000,)"),
        npy("(2,)", data=bytes(15)),
        npy("(1,)", "'|O'", b"pickle"),
        npy("(" * 3_000 + ")" * 3_000),
        npy("(-1,)"),
        npy("(2,)", "[('a', 'O')]", bytes(32)),
        b"",
        b"\x93NUMPY\x03\x00",
    ],
    ids=range(8),
)
def test_a_crafted_array_is_refused_before_it_is_allocated(member: bytes) -> None:
    config = config_of("LogisticRegression")
    files = dict(ADAPTER.save_model(trained(config)))
    content = io.BytesIO(files[PIPELINE])
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("1.npy", member)

    with pytest.raises(ArtifactError, match=PIPELINE):
        load({**files, PIPELINE: content.getvalue()}, config)


def test_a_member_that_is_no_array_is_refused() -> None:
    config = config_of("LogisticRegression")
    files = dict(ADAPTER.save_model(trained(config)))
    content = io.BytesIO(files[PIPELINE])
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("code.bin", b"")

    with pytest.raises(ArtifactError, match=r"code\.bin"):
        load({**files, PIPELINE: content.getvalue()}, config)


# -- beside a stream --------------------------------------------------------------------------------------------------


def test_a_stream_saves_a_model_once_and_again_when_its_training_went_on(tmp_path: Path) -> None:
    bars = random_bars(400, momentum=0.3)
    fields = {"framework": "sklearn", "model_class": "SGDClassifier", "lookback_period": 25}
    model = create_model(load_config({**fields, "hyperparameters": {"loss": "log_loss"}}))
    model.train_dataset(model.prepare(bars.iloc[:200]))
    stream = SignalStream(model, gate="policy")
    stream.warm_up(bars.iloc[:390])
    stream.save(tmp_path)
    SignalStream.load(tmp_path, gate="policy").save(tmp_path)
    assert VersionFolder(tmp_path / "model").versions() == (1,)

    stream.replace_model(model.continued(model.prepare(bars.iloc[200:390])))
    stream.save(tmp_path)

    again = SignalStream.load(tmp_path, gate="policy")
    rows = [{"timestamp": stamp, **bar} for stamp, bar in bars.iloc[390:].iterrows()]
    assert [again.update(row) for row in rows] == [stream.update(row) for row in rows]
    assert VersionFolder(tmp_path / "model").versions() == (1, 2)


# -- in a process of its own ------------------------------------------------------------------------------------------


def saved_tree(folder: Path) -> Path:
    bars = random_bars(300)
    fields = {
        "framework": "sklearn",
        "model_class": "DecisionTreeClassifier",
        "hyperparameters": {"max_depth": 3},
    }
    model = create_model(load_config({**fields, "lookback_period": 25}))
    model.train_dataset(model.prepare(bars))
    model.save(folder)
    return folder


def rewritten(honest: Path, folder: Path, pipeline: bytes) -> Path:
    """Save the same model with another pipeline file; all digests agree."""
    artifact = VersionFolder(honest).read()
    files = {**artifact.files, PIPELINE: pipeline}
    facts = {name: getattr(artifact.manifest, name) for name in type(artifact.manifest).model_fields}
    facts.pop("files")
    versions = VersionFolder(folder)
    versions.promote(versions.publish(Artifact(describe(files, **facts), files)))
    return folder


def bomb() -> bytes:
    content, chunk = io.BytesIO(), bytes(2**20)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("1.npy", "w") as member:
        member.write(npy(f"({100 * 2**20},)"))
        for _ in range(800):
            member.write(chunk)
    assert len(content.getvalue()) < 2**20
    return content.getvalue()


def test_no_crafted_skops_file_runs_code_or_takes_much_memory(tmp_path: Path) -> None:
    honest = saved_tree(tmp_path / "honest")
    whole = VersionFolder(honest).read().files[PIPELINE]
    changes = [
        of_another_type,
        of_a_function,
        of_a_method,
        of_trees_with_many_targets,
        of_one_array_in_many_places,
    ]
    contents = [bomb(), *(with_schema(whole, change) for change in changes)]
    folders = [rewritten(honest, tmp_path / str(number), content) for number, content in enumerate(contents)]

    told = watch_loading(honest, folders)

    assert "is compressed" in told.answers[0]
    assert all(told.answers)
    assert [events for events in told.events if events] == []
    assert told.peak_bytes < MEMORY


FLIPS = """
    import random, sys
    import numpy as np
    from backtester_model_core.artifacts import VersionFolder
    from backtester_model_core.exceptions import ArtifactError
    from backtester_model_core.factory import load_config
    from backtester_model_core.plugins import plugins

    artifact = VersionFolder(sys.argv[1]).read()
    config, n_features = load_config(artifact.manifest.config), len(artifact.manifest.features)
    adapter, rng, counts = plugins().adapter("sklearn"), random.Random(0), {"refused": 0, "answered": 0}
    rows = np.random.default_rng(0).normal(size=(500, n_features))
    for _ in range(int(sys.argv[2])):
        content = bytearray(artifact.files["pipeline.skops"])
        for _ in range(rng.choice((1, 2, 8))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        files = {name: each for name, each in artifact.files.items() if name != "core.npz"}
        files["pipeline.skops"] = bytes(content)
        try:
            model = adapter.load_model(files, config, n_features=n_features, classes=(0.0, 1.0))
        except ArtifactError:
            counts["refused"] += 1
            continue
        try:
            adapter.predict(model, rows)
        except Exception:
            pass
        counts["answered"] += 1
    print(counts["refused"], counts["answered"])
"""


def test_flipped_bits_behind_the_digests_crash_nothing(tmp_path: Path) -> None:
    """Without the digests, as somebody might who can write them: refused, or an answer, and never the end of Python."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FLIPS), str(saved_tree(tmp_path)), "300"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2_000:]
    refused, answered = map(int, done.stdout.split())
    assert refused > 200
    assert refused + answered == 300
