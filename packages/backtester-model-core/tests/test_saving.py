"""Saving and loading: the model comes back whole, and every damaged, hostile or foreign folder is refused."""

import hashlib
import json
import os
import pickle
import shutil
import warnings

import numpy as np
import pytest

from backtester_model_core import saving
from backtester_model_core.artifacts import MANIFEST, VersionFolder, pack_arrays, unpack_arrays
from backtester_model_core.artifacts.folder import read_artifact
from backtester_model_core.artifacts.formats import MAX_JSON_BYTES
from backtester_model_core.artifacts.manifest import read_manifest, seal
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import (
    AdapterNotFoundError,
    ArtifactError,
    FeatureMismatchError,
    ModelError,
    NotTrainedError,
)
from backtester_model_core.factory import ModelFactory, create_model, load_config
from backtester_model_core.model import AdapterModel, BaseModel
from backtester_model_core.plugins import MODELS
from backtester_model_core.testing import EchoAdapter, random_bars

BARS = random_bars(700, momentum=0.3)
FEATURES = {"sets": [], "expressions": {"r1": "close / ref(close, 1) - 1", "r5": "close / ref(close, 5) - 1"}}


@pytest.fixture(autouse=True)
def _own_plugins(own_plugins):
    """Run every test with the adapters of these tests."""


def trained(framework="least_squares", bars=BARS, **fields):
    config = load_config(
        {
            "framework": framework,
            "features": FEATURES,
            "lookback_period": 6,
            "confidence_threshold": 0.5,
            **fields,
        }
    )
    model = create_model(config)
    dataset = model.prepare(bars)
    model.train_dataset(dataset.take(dataset.is_complete & dataset.is_labelled))
    return model


@pytest.fixture
def saved(tmp_path):
    """A folder with one saved model, small enough to damage every byte of it."""
    trained("echo", lookback_period=1, enable_monitoring=False).save(tmp_path / "model")
    return tmp_path / "model"


def version_of(folder):
    return VersionFolder(folder).folder_of(VersionFolder(folder).current())


def facts_of(folder):
    facts = json.loads((version_of(folder) / MANIFEST).read_bytes())
    facts.pop("sha256")
    return facts


def rewrite(folder, *, files=None, **changes):
    """Change a saved model as somebody could who knows the format: all sizes and digests agree again."""
    version, facts = version_of(folder), facts_of(folder)
    for name, content in (files or {}).items():
        (version / name).write_bytes(content)
    facts["files"] = {
        path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in version.iterdir()
        if path.name != MANIFEST
    }
    (version / MANIFEST).write_bytes(seal({**facts, **changes}))


# -- what comes back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", ["classification", "regression"])
def test_a_loaded_model_is_the_one_that_was_saved(tmp_path, model_type):
    model = trained(model_type=model_type)
    model.save(tmp_path)

    loaded = BaseModel.load(tmp_path)

    assert type(loaded) is AdapterModel
    assert loaded.config == model.config
    assert (loaded.columns, loaded.classes, loaded.seed) == (model.columns, model.classes, model.seed)
    assert loaded.report == model.report
    assert loaded.trained_on.data == model.trained_on.data
    assert loaded.generate_signals(BARS).equals(model.generate_signals(BARS))


def test_residuals_and_their_confidence_come_back(tmp_path):
    model = trained(model_type="regression", bars=random_bars(1500, momentum=0.4))
    model.save(tmp_path)

    loaded = BaseModel.load(tmp_path)

    assert model.policy.residuals is not None
    assert loaded.policy.residuals.shrinkage == model.policy.residuals.shrinkage
    assert np.array_equal(loaded.policy.residuals.sorted_sizes, model.policy.residuals.sorted_sizes)
    assert loaded.generate_signals(BARS).equals(model.generate_signals(BARS))


def test_a_loaded_model_can_be_saved_again_with_the_same_bytes(tmp_path):
    first = trained().save(tmp_path / "one")
    second = BaseModel.load(tmp_path / "one").save(tmp_path / "two")

    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }


def test_one_version_can_be_loaded_from_its_own_folder_wherever_it_is(tmp_path):
    model = trained()
    moved = shutil.move(model.save(tmp_path / "here"), tmp_path / "there")

    assert BaseModel.load(moved).report == model.report


def test_saving_again_makes_a_version_and_keeps_the_old_one(tmp_path):
    trained("echo").save(tmp_path)
    trained("echo", loudness=0.5).save(tmp_path)

    assert BaseModel.load(tmp_path).config.loudness == 0.5
    assert BaseModel.load(tmp_path, version=1).config.loudness == 1.0


def test_a_panels_model_checks_rows_of_one_symbol(tmp_path):
    from backtester_model_core.testing import random_panel

    model = trained(bars=random_panel(3, 200))
    model.save(tmp_path)

    assert len(model.trained_on.sample) == 8
    assert BaseModel.load(tmp_path).report == model.report


def test_the_manifest_says_what_the_model_was_made_of(saved):
    facts = facts_of(saved)

    assert facts["features"] == ["r1", "r5"]
    assert facts["classes"] == [0.0, 1.0]
    assert facts["config"]["framework"] == "echo"
    assert facts["data"]["first"] < facts["data"]["last"] < facts["report"]["trained_to"]
    assert facts["versions"].keys() >= {"python", "numpy", "pandas", "backtester-model-core"}
    assert not facts["versions"].keys() & saving.NO_NUMBERS
    assert facts["files"].keys() == {"core.npz", "heard.json"}
    assert (facts["seed"], facts["format"]) == (0, 1)


def test_the_content_key_follows_configuration_data_and_code(tmp_path):
    def key(folder, model):
        model.save(tmp_path / folder)
        return facts_of(tmp_path / folder)["content_key"]

    class OtherEcho(EchoAdapter):
        pass

    same = {key("a", trained("echo")), key("b", trained("echo"))}
    other_config = key("c", trained("echo", loudness=0.9))
    other_data = key("d", trained("echo", bars=BARS.iloc[:-1]))
    other_seed = key("e", trained("echo", random_state=1))

    assert len(same) == 1
    assert len({*same, other_config, other_data, other_seed}) == 4


def test_a_failed_training_keeps_what_the_model_remembers(own_plugins):
    model = trained("echo")
    before = model.trained_on
    rows = model.prepare(BARS)

    with pytest.raises(ModelError):
        model.train(rows.features, rows.target_series * 0)

    assert model.trained_on is before


# -- what cannot be saved -------------------------------------------------------------------------------------------


def test_an_untrained_model_is_not_saved(tmp_path):
    with pytest.raises(NotTrainedError, match="be saved"):
        create_model(load_config({"framework": "echo"})).save(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_an_adapter_that_cannot_save_says_so(tmp_path, own_plugins):
    class Fleeting(EchoAdapter):
        config_class = ModelConfig

        def can(self, capability):
            return False

    own_plugins.register_adapter("fleeting", Fleeting)

    with pytest.raises(ModelError, match="does not save its models"):
        trained("fleeting").save(tmp_path)


def test_a_policy_of_single_rows_is_not_saved(tmp_path):
    model = trained("echo")
    model.policy = saving.SignalPolicy.of(model.config, baseline=np.zeros(3))

    with pytest.raises(ModelError, match="single rows"):
        model.save(tmp_path)


def test_a_file_name_that_could_leave_the_folder_is_not_saved(tmp_path, own_plugins):
    class Escaping(EchoAdapter):
        config_class = ModelConfig

        def save_model(self, model):
            return {"../../weights": b""}

    own_plugins.register_adapter("escaping", Escaping)

    with pytest.raises(ModelError, match=r"weights.*pattern"):
        trained("escaping").save(tmp_path / "model")

    assert list(tmp_path.iterdir()) == []


# -- models of one's own --------------------------------------------------------------------------------------------


class Mean(BaseModel):
    """Says the mean of its target."""

    def fit(self, rows, validation):
        self.native = rows.target.mean()
        return []

    def forecast(self, values):
        return np.full(len(values), self.native)

    def to_files(self):
        return {"mean.npz": pack_arrays({"mean": np.asarray(self.native)})}

    def from_files(self, files):
        self.native = float(unpack_arrays(files["mean.npz"], name="mean.npz")["mean"])


@pytest.fixture
def mean():
    ModelFactory.register_model("mean")(Mean)
    yield
    MODELS.discard("mean")


def of_mean():
    model = ModelFactory.create(
        "mean", {"model_type": "regression", "features": FEATURES, "lookback_period": 6}
    )
    dataset = model.prepare(BARS)
    model.train_dataset(dataset)
    return model


def test_a_registered_model_comes_back_by_its_name(tmp_path, mean):
    model = of_mean()
    model.save(tmp_path)

    loaded = Mean.load(tmp_path)

    assert type(loaded) is Mean
    assert loaded.native == model.native


def test_a_model_nobody_registers_here_is_refused(tmp_path, mean):
    of_mean().save(tmp_path)
    MODELS.discard("mean")

    with pytest.raises(ArtifactError, match=r"'mean'.*Import the module"):
        BaseModel.load(tmp_path)


def test_a_model_without_a_name_is_not_saved(tmp_path, mean):
    class Nameless(Mean):
        pass

    model = of_mean()
    model.__class__ = Nameless

    with pytest.raises(ModelError, match="register_model"):
        model.save(tmp_path)


def test_a_model_that_fills_in_neither_method_says_so(tmp_path):
    class Plain(Mean):
        to_files = BaseModel.to_files
        from_files = BaseModel.from_files

    model = Plain(load_config({"framework": "echo", "features": FEATURES, "validation_split": 0}))
    model.train_dataset(model.prepare(BARS))

    with pytest.raises(ModelError, match="to_files and from_files"):
        model.save(tmp_path)
    with pytest.raises(ModelError, match="to_files and from_files"):
        model.from_files({})


def test_another_class_is_refused(saved):
    with pytest.raises(ArtifactError, match="AdapterModel, not a Mean"):
        Mean.load(saved)


# -- accidents ------------------------------------------------------------------------------------------------------


def refused_when_changed(saved, changes):
    """Change each file of a saved model in every way, and say in how many it was refused."""
    count = 0
    for path in [path for path in saved.rglob("*") if path.is_file() and path.name != MANIFEST]:
        whole = path.read_bytes()
        for damaged in changes(whole):
            path.write_bytes(damaged)
            with pytest.raises(ArtifactError):
                VersionFolder(saved).read()
            count += 1
        path.write_bytes(whole)
    manifest = (version_of(saved) / MANIFEST).read_bytes()
    for damaged in changes(manifest):
        with pytest.raises(ArtifactError):
            read_manifest(damaged)
        count += 1
    return count


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_flipped_bit_in_every_byte_is_refused(saved):
    def flipped(whole):
        for position in range(len(whole)):
            yield whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :]

    assert refused_when_changed(saved, flipped) == size_of(saved)
    assert BaseModel.load(saved).is_trained


def test_a_truncation_at_every_length_is_refused(saved):
    def truncated(whole):
        return (whole[:length] for length in range(len(whole)))

    assert refused_when_changed(saved, truncated) == size_of(saved)


def missing(version):
    (version / "core.npz").unlink()


def extra(version):
    (version / "notes.txt").write_bytes(b"")


def hidden(version):
    (version / ".hidden").write_bytes(b"")


def duplicated(version):
    shutil.copy(version / "core.npz", version / "core (copy).npz")


def linked(version):
    shutil.move(version / "core.npz", version.parent / "elsewhere.npz")
    (version / "core.npz").symlink_to(version.parent / "elsewhere.npz")


def hard_linked(version):
    os.link(version / "core.npz", version.parent / "elsewhere.npz")


def a_folder(version):
    (version / "core.npz").unlink()
    (version / "core.npz").mkdir()


def a_pipe(version):
    (version / "core.npz").unlink()
    os.mkfifo(version / "core.npz")


def linked_version(version):
    shutil.move(version, version.parent.parent / "elsewhere")
    version.symlink_to(version.parent.parent / "elsewhere")


def longer(version):
    with (version / "core.npz").open("ab") as file:
        file.write(b"\0")


def without_manifest(version):
    (version / MANIFEST).unlink()


def with_a_huge_manifest(version):
    (version / MANIFEST).write_bytes(b" " * (MAX_JSON_BYTES + 1))


def linked_manifest(version):
    shutil.move(version / MANIFEST, version.parent / MANIFEST)
    (version / MANIFEST).symlink_to(version.parent / MANIFEST)


def no_version(version):
    shutil.rmtree(version)


def linked_pointer(version):
    root = version.parent.parent
    shutil.move(root / "CURRENT", root / "elsewhere")
    (root / "CURRENT").symlink_to(root / "elsewhere")


def no_pointer(version):
    (version.parent.parent / "CURRENT").unlink()


@pytest.mark.parametrize(
    ("accident", "problem"),
    [
        (missing, r"missing: core\.npz"),
        (extra, r"not listed: notes\.txt"),
        (hidden, r"not listed: \.hidden"),
        (duplicated, "not listed"),
        (linked, "link, folder or device"),
        (hard_linked, "second name"),
        (a_folder, "link, folder or device"),
        (a_pipe, "link, folder or device"),
        (linked_version, "leads elsewhere"),
        (longer, "bytes instead of"),
        (without_manifest, r"no manifest\.json"),
        (with_a_huge_manifest, "more than 1,048,576 bytes"),
        (linked_manifest, "link, folder or device"),
        (no_version, "no version 1"),
        (linked_pointer, "cannot be read"),
        (no_pointer, "no version in force"),
    ],
)
def test_a_folder_that_is_not_as_it_was_saved_is_refused(saved, accident, problem):
    accident(version_of(saved))

    with pytest.raises(ArtifactError, match=problem):
        BaseModel.load(saved)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"no version in force.*none"):
        BaseModel.load(tmp_path / "nowhere")


def test_a_folder_that_is_a_file_is_refused(saved):
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_artifact(version_of(saved) / MANIFEST)


@pytest.mark.parametrize("content", [b"[]\n", b"1\n", b"null\n", b'{"format": 1}\n', b"{}\n"])
def test_a_manifest_that_is_no_sealed_mapping_is_refused(content):
    with pytest.raises(ArtifactError, match=r"manifest\.json.*(not a mapping|canonical|digest)"):
        read_manifest(content)


# -- hostile folders, in which all digests agree ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": 2}, "format 2.*Try: pip install"),
        ({"format": 0}, "format"),
        ({"format": "1"}, "format"),
        ({"surprise": 1}, "surprise"),
        ({"features": ["r1", "r1"]}, "twice"),
        ({"features": ["r1", "r9"]}, "training reported"),
        ({"features": []}, "features"),
        ({"classes": [0.0, 1.0, 2.0]}, "classes"),
        ({"classes": None}, "classes"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"config": []}, "config"),
        ({"policy": {}}, "policy"),
        ({"report": {"n_rows": 3}}, "report"),
        ({"files": {}}, "files"),
        ({"data": {"first": "x" * 2_000, "last": "", "fingerprint": "0" * 64}}, "data.first"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(saved, changes, problem):
    rewrite(saved, **changes)
    if "files" in changes:
        facts = {**facts_of(saved), **changes}
        (version_of(saved) / MANIFEST).write_bytes(seal(facts))

    with pytest.raises(ArtifactError, match=problem):
        BaseModel.load(saved)


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "..",
        ".",
        "sub/file",
        "a\\b",
        "NUL:",
        "ümlaut",
        "x" * 65,
        "",
        MANIFEST,
        "A",
    ],
)
def test_a_file_name_that_leaves_the_folder_is_refused(saved, name):
    facts = facts_of(saved)
    facts["files"][name] = {"size": 0, "sha256": "0" * 64}
    (version_of(saved) / MANIFEST).write_bytes(seal(facts))

    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        BaseModel.load(saved)


def test_files_larger_than_a_model_may_be_are_refused_before_they_are_opened(saved):
    facts = facts_of(saved)
    facts["files"] = {name: {**record, "size": 2**29 + 1} for name, record in facts["files"].items()}
    (version_of(saved) / MANIFEST).write_bytes(seal(facts))

    with pytest.raises(ArtifactError, match="1,073,741,824"):
        BaseModel.load(saved)


def state(saved, **arrays):
    content = (version_of(saved) / "core.npz").read_bytes()
    changed = {**unpack_arrays(content, name="core.npz"), **arrays}
    return pack_arrays({name: array for name, array in changed.items() if array is not None})


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"sample": None}, "belong together"),
        ({"sample": np.zeros((0, 2))}, "belong together"),
        ({"sample": np.zeros((8, 3))}, "belong together"),
        ({"sample": np.full((8, 2), np.nan)}, "belong together"),
        ({"known_at": np.zeros(3, dtype=np.int64)}, "belong together"),
        ({"known_at": np.zeros(8)}, "belong together"),
        ({"expected": np.zeros(7)}, "belong together"),
        ({"surprise": np.zeros(1)}, "belong together"),
        ({"residual_sizes": np.array([1.0])}, "the manifest says otherwise"),
        ({"residual_sizes": np.array([2.0, 1.0])}, "ascending"),
        ({"probability": np.full((8, 3), 1 / 3)}, "does not forecast"),
        ({"probability": np.full((8, 2), 0.5)}, "does not forecast"),
        ({"probability": None, "expected": np.full(8, np.nan)}, "does not forecast"),
    ],
)
def test_state_that_does_not_fit_is_refused(saved, arrays, problem):
    rewrite(saved, files={"core.npz": state(saved, **arrays)})

    with pytest.raises(ArtifactError, match=problem):
        BaseModel.load(saved)


@pytest.mark.parametrize("slot", ["core.npz", "heard.json", MANIFEST])
def test_a_pickle_in_any_slot_is_refused(saved, slot):
    poison = pickle.dumps({"a": 1})
    if slot == MANIFEST:
        (version_of(saved) / slot).write_bytes(poison)
    else:
        rewrite(saved, files={slot: poison})

    with pytest.raises(ArtifactError, match=slot.replace(".", r"\.")):
        BaseModel.load(saved)


def test_other_weights_do_not_repeat_the_stored_forecasts(saved):
    other = trained("echo", bars=BARS.iloc[:300])
    rewrite(saved, files=EchoAdapter().save_model(other.native))

    with pytest.raises(ArtifactError, match="does not forecast what it did"):
        BaseModel.load(saved)


def test_weights_that_fail_when_asked_are_refused(saved, own_plugins, monkeypatch):
    def broken(self, model, features):
        raise ZeroDivisionError("inside the framework")

    monkeypatch.setattr(EchoAdapter, "predict", broken)

    with pytest.raises(ArtifactError, match="inside the framework"):
        BaseModel.load(saved)


def test_a_folder_without_the_cores_file_is_refused(saved):
    (version_of(saved) / "core.npz").unlink()
    rewrite(saved)

    with pytest.raises(ArtifactError, match=r"no file core\.npz"):
        BaseModel.load(saved)


def test_another_frameworks_folder_is_refused(saved):
    config = facts_of(saved)["config"]
    rewrite(
        saved, config={**{k: v for k, v in config.items() if k != "loudness"}, "framework": "least_squares"}
    )

    with pytest.raises(ArtifactError, match=r"heard\.json where weights\.npz are wanted"):
        BaseModel.load(saved)


def test_a_framework_that_is_not_installed_is_named(saved):
    rewrite(saved, config={**facts_of(saved)["config"], "framework": "sklearn"})

    with pytest.raises(AdapterNotFoundError, match="pip install backtester-model-sklearn"):
        BaseModel.load(saved)


def test_features_of_another_schema_are_refused_by_name(saved):
    loaded = BaseModel.load(saved)

    with pytest.raises(FeatureMismatchError, match="missing: r5; extra: r9"):
        loaded.predict(loaded.prepare(BARS).features.rename(columns={"r5": "r9"}))


def test_weights_of_another_width_are_refused(tmp_path):
    model = trained()
    model.save(tmp_path)
    rewrite(tmp_path, files=trained(features={"sets": ["basic"]}).to_files())

    with pytest.raises(ArtifactError, match="shapes of the features"):
        BaseModel.load(tmp_path)


# -- other versions ---------------------------------------------------------------------------------------------------


def test_other_versions_are_an_error_that_names_them_all(saved):
    versions = facts_of(saved)["versions"]
    rewrite(saved, versions={**versions, "numpy": "1.0", "ghost": "2.0"})

    with pytest.raises(
        ArtifactError, match=r"ghost 2\.0 \(here absent\), numpy 1\.0 .*on_other_versions='warn'"
    ):
        BaseModel.load(saved)


def test_other_versions_are_one_warning_by_choice(saved):
    rewrite(saved, versions={**facts_of(saved)["versions"], "numpy": "1.0", "ghost": "2.0"})

    with pytest.warns(RuntimeWarning, match="ghost") as caught:
        loaded = BaseModel.load(saved, on_other_versions="warn")

    assert loaded.is_trained
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_equal_versions_are_silent(saved):
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert BaseModel.load(saved).is_trained


def test_stored_forecasts_may_differ_in_their_last_digits():
    stored = np.array([0.1, 0.9, np.nan])

    assert saving._agree(stored, stored + 5e-6)
    assert not saving._agree(stored, stored + 2e-5)
    assert not saving._agree(stored, np.array([0.1, 0.9, 0.5]))
    assert saving._agree(np.full(2, np.nan), np.full(2, np.nan))
