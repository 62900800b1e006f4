"""Models by name: registered classes and frameworks, from configurations, mappings and files."""

import json

import pytest

from backtester_model_core.catalog import Catalog
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import AdapterNotFoundError, ConfigError, DuplicatePluginError
from backtester_model_core.factory import ModelFactory, create_model, load_config
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.model import AdapterModel, BaseModel
from backtester_model_core.plugins import MODELS, Plugins, use_plugins
from backtester_model_core.testing import EchoAdapter, EchoModelConfig


class OwnModel(BaseModel):
    """A whole model of one's own."""

    def fit(self, rows, validation):
        self.native = rows.target.mean()
        return ()

    def forecast(self, values):
        return values[:, :1].repeat(2, axis=1)


@pytest.fixture
def registered():
    """Register a model class for one test."""
    names = []

    def add(name, model_class=OwnModel):
        names.append(name)
        return ModelFactory.register_model(name)(model_class)

    yield add
    for name in names:
        MODELS.discard(name)


# -- by framework ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [{}, {"framework": "echo"}, {"loudness": 0.5}, EchoModelConfig(), EchoModelConfig(loudness=0.5)]
)
def test_a_framework_makes_an_adapters_model(own_plugins, config):
    model = ModelFactory.create("echo", config)

    assert type(model) is AdapterModel
    assert type(model.config) is EchoModelConfig
    assert not model.is_trained


def test_a_mapping_is_not_changed(own_plugins):
    fields = {"loudness": 0.5}

    ModelFactory.create("echo", fields)

    assert fields == {"loudness": 0.5}


def test_an_adapters_own_fields_are_checked(own_plugins):
    with pytest.raises(ConfigError, match=r"loudnes: unknown key\. Did you mean 'loudness'\?"):
        ModelFactory.create("echo", {"loudnes": 0.5})


def test_a_name_that_is_neither_answers_with_the_nearest(own_plugins):
    with pytest.raises(AdapterNotFoundError, match=r"No model named 'ekho': .*Did you mean 'echo'\?"):
        ModelFactory.create("ekho", EchoModelConfig())
    with pytest.raises(
        AdapterNotFoundError, match=r"No adapter for framework 'ekho'; .*Did you mean 'echo'\?"
    ):
        ModelFactory.create("ekho", {})


def test_a_framework_that_is_not_installed_names_its_package(own_plugins):
    with pytest.raises(AdapterNotFoundError, match="Try: pip install backtester-model-torch"):
        ModelFactory.create("pytorch", {})


@pytest.mark.parametrize("config", [{"framework": "least_squares"}, ModelConfig(framework="least_squares")])
def test_a_configuration_of_another_framework_is_refused(own_plugins, config):
    with pytest.raises(ConfigError, match="is for framework 'least_squares', not 'echo'"):
        ModelFactory.create("echo", config)


def test_a_configuration_of_the_wrong_class_is_refused(own_plugins):
    with pytest.raises(
        ConfigError, match=r"takes a EchoModelConfig, not a ModelConfig\. Make it with load_config"
    ):
        create_model(ModelConfig(framework="echo"))


def test_an_adapter_may_refuse_a_configuration(own_plugins):
    class Strict(EchoAdapter):
        config_class = ModelConfig

        def initialize_model(self, config):
            raise ConfigError("no such estimator")

    own_plugins.register_adapter("strict", Strict)

    with pytest.raises(ConfigError, match="no such estimator"):
        create_model(ModelConfig(framework="strict"))


# -- by registered name ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"cv_folds": 3}, ModelConfig(framework="own")])
def test_a_registered_model_is_made_by_its_name(own_plugins, registered, config):
    assert registered("own") is OwnModel

    model = ModelFactory.create("own", config)

    assert type(model) is OwnModel
    assert model.config.framework == "own"


def test_a_registered_model_is_made_from_its_configuration(own_plugins, registered):
    registered("own")

    assert type(create_model(load_config({"framework": "own"}))) is OwnModel


def test_a_registered_model_may_use_a_frameworks_configuration(own_plugins, registered):
    registered("own")

    model = ModelFactory.create("own", {"framework": "echo", "loudness": 0.5})

    assert type(model) is OwnModel
    assert model.config == EchoModelConfig(loudness=0.5)


def test_two_classes_under_one_name_are_refused(own_plugins, registered):
    registered("own")
    registered("own")

    class Other(OwnModel):
        """Another model of that name."""

    with pytest.raises(DuplicatePluginError, match=r"'own' is claimed by .*OwnModel and .*Other"):
        registered("own", Other)


@pytest.mark.parametrize("name", ["echo", "sklearn"])
def test_a_model_under_a_frameworks_name_takes_nobodys_place(own_plugins, registered, name):
    """Else an extension could stand in for a first-party adapter by registering a model of its name."""
    registered(name)

    for use in (
        lambda: ModelFactory.create(name, {}),
        lambda: load_config({"framework": name}),
        lambda: create_model(ModelConfig(framework=name)),
    ):
        with pytest.raises(DuplicatePluginError, match=rf"'{name}' is claimed by .*OwnModel and "):
            use()


class BringsModel:
    """An extension that brings a model."""

    @hookimpl
    def backtester_register(self, registry):
        registry.add_model("brought", OwnModel)


# -- listings -------------------------------------------------------------------------------------------------------


def test_available_and_broken_share_out_what_is_installed(tmp_path, monkeypatch):
    info = tmp_path / "pair-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pair\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[backtester_model.adapters]\nhum = nowhere:Hum\nbuzz = nowhere:Buzz\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    with use_plugins(Plugins(environ={"BACKTESTER_MODEL_ONLY": "hum"})):
        available, broken = ModelFactory.available(), ModelFactory.broken()

    assert [each.name for each in available] == ["hum"]
    assert {"buzz"} == {each.name for each in broken if each.distribution == "pair"}
    assert {each.reason for each in broken} == {"BACKTESTER_MODEL_ONLY does not name it"}


def test_extensions_are_not_available_models(own_plugins):
    own_plugins.register_extension("brings", BringsModel())
    MODELS.discard("brought")

    assert "brings" not in {info.name for info in ModelFactory.available()}


# -- configurations -------------------------------------------------------------------------------------------------


def test_a_file_and_a_mapping_give_the_same_configuration(own_plugins, tmp_path):
    file = tmp_path / "echo.toml"
    file.write_text('framework = "echo"\nloudness = 0.5\n[costs]\nborrow_rate = 0.01\n')
    fields = {"framework": "echo", "loudness": 0.5, "costs": {"borrow_rate": 0.01}}

    expected = EchoModelConfig(loudness=0.5, costs={"borrow_rate": 0.01})
    assert load_config(file) == load_config(str(file)) == load_config(fields) == expected


@pytest.mark.parametrize("fields", [{}, {"framework": 3}, {"framework": None}, {"framework": ["echo"]}])
def test_a_configuration_without_a_framework_says_which_there_are(own_plugins, fields):
    with pytest.raises(ConfigError, match=r'needs framework = "\.\.\.".*installed: echo, least_squares\.'):
        load_config(fields)


def test_a_configuration_without_a_framework_where_none_is_installed():
    with use_plugins(Plugins(discover=False)), pytest.raises(ConfigError, match=r"installed: none\."):
        load_config({})


def test_a_configuration_of_a_missing_framework_is_refused(own_plugins):
    with pytest.raises(AdapterNotFoundError, match="No adapter for framework 'scipy'"):
        load_config({"framework": "scipy"})


def test_a_broken_file_is_refused(own_plugins, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "missing.toml")


def test_models_are_a_catalog():
    assert isinstance(MODELS, Catalog)
    assert MODELS.kind == "model"


# -- where a file's bars may be -------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory, a folder with a configuration beside it, and bars in neither."""
    for name in ("here", "folder", "secrets"):
        (tmp_path / name).mkdir()
    (tmp_path / "secrets" / "bars.csv").write_text("timestamp,close\n")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def loaded(folder, path):
    file = folder / "folder" / "model.json"
    file.write_text(json.dumps({"framework": "echo", "data_config": {"path": path}}))
    return load_config(file)


@pytest.mark.parametrize("path", ["bars.csv", "data/../bars.csv", "{}/folder/bars.csv", "{}/here/bars.csv"])
def test_bars_that_a_file_names_may_be_beside_it_or_below_the_working_directory(own_plugins, elsewhere, path):
    named = path.format(elsewhere)

    assert loaded(elsewhere, named).data_config.path == named


@pytest.mark.parametrize(
    "path", ["../secrets/bars.csv", "{}/secrets/bars.csv", "{}/secrets", "/etc/hostname", "link.csv"]
)
def test_bars_that_a_file_names_may_not_be_elsewhere(own_plugins, elsewhere, path):
    (elsewhere / "here" / "link.csv").symlink_to(elsewhere / "secrets" / "bars.csv")

    with pytest.raises(
        ConfigError, match=r"model\.json: data_config\.path .* leads out of the file's folder"
    ):
        loaded(elsewhere, path.format(elsewhere))


def test_a_folder_of_bars_holds_no_link_that_leads_out(own_plugins, elsewhere):
    (elsewhere / "here" / "panel").mkdir()
    (elsewhere / "here" / "panel" / "AAA.csv").symlink_to(elsewhere / "secrets" / "bars.csv")

    with pytest.raises(ConfigError, match="leads out"):
        loaded(elsewhere, "panel")


def test_a_path_that_cannot_be_followed_is_refused(own_plugins, elsewhere):
    with pytest.raises(ConfigError, match="cannot be followed"):
        loaded(elsewhere, "bars\0.csv")


def test_a_mapping_names_bars_anywhere(own_plugins, elsewhere):
    config = load_config({"framework": "echo", "data_config": {"path": "../secrets/bars.csv"}})

    assert config.data_config.path == "../secrets/bars.csv"
