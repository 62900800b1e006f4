"""Plugins: real distributions on the path, good and bad; none hurts another, and nothing is imported unasked."""

import logging
import os
import pickle
import re
import subprocess
import sys
import textwrap
import uuid
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import (
    AdapterNotFoundError,
    BrokenPluginError,
    DuplicatePluginError,
    PluginError,
)
from backtester_model_core.factory import create_model
from backtester_model_core.features import FEATURE_SETS, OPERATORS
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.labels import LABELS
from backtester_model_core.plugins import (
    ADAPTERS_GROUP,
    EXTENSIONS_GROUP,
    MODELS,
    PluginInfo,
    Plugins,
    config_class,
    plugins,
    use_plugins,
)
from backtester_model_core.sources import DATA_SOURCES
from backtester_model_core.testing import EchoAdapter, random_bars

# -- distributions made on the fly ------------------------------------------------------------------------------------

ADAPTER = """
    from backtester_model_core.testing import EchoAdapter
    class Adapter(EchoAdapter):
        pass
"""
EXTENSION = """
    from backtester_model_core.hookspecs import hookimpl
    @hookimpl(wrapper=True)
    def backtester_train(model):
        return (yield)
"""


class Installed(NamedTuple):
    """A distribution on the path."""

    module: str
    folder: os.PathLike


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a module and its distribution's metadata into a folder on the path, as an installer would."""
    made = []

    def add(code, *, distribution, version="1.0", metadata=None, **names):
        folder = tmp_path / f"site-{len(made)}"
        info = folder / f"{re.sub(r'[-.]+', '_', distribution)}-{version}.dist-info"
        info.mkdir(parents=True)
        module = f"plugin_{uuid.uuid4().hex}"
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        facts = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(facts if metadata is None else metadata)
        groups = {"adapter": ADAPTERS_GROUP, "extension": EXTENSIONS_GROUP}
        lines = [
            f"[{groups[kind]}]\n{name} = {value.format(module)}\n"
            for kind, entries in names.items()
            for name, value in entries.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(folder)
        made.append(module)
        return Installed(module, folder)

    yield add
    for module in made:
        sys.modules.pop(module, None)


def add_adapter(install, framework, code=ADAPTER, *, value="{}:Adapter", distribution=None, **fields):
    return install(code, distribution=distribution or f"of-{framework}", adapter={framework: value}, **fields)


def add_extension(install, name, code=EXTENSION, *, value="{}", distribution=None, **fields):
    return install(code, distribution=distribution or f"of-{name}", extension={name: value}, **fields)


def discovered(**environ):
    return Plugins(environ=environ)


def info_of(listed, name, distribution=None):
    (found,) = [
        info for info in listed.listing() if info.name == name and distribution in {None, info.distribution}
    ]
    return found


# -- adapters -------------------------------------------------------------------------------------------------------


def test_an_adapter_is_listed_without_being_imported(install):
    made = add_adapter(install, "murmur", distribution="My.Murmur_Pack", version="2.5")

    listed = discovered()

    assert info_of(listed, "murmur") == PluginInfo(
        "murmur", "adapter", "my-murmur-pack", "2.5", f"{made.module}:Adapter", "available"
    )
    assert "murmur" in listed.frameworks()
    assert made.module not in sys.modules


def test_an_adapter_is_imported_when_it_is_asked_for(install):
    made = add_adapter(install, "murmur")
    listed = discovered()

    adapter = listed.adapter("murmur")

    assert type(adapter).__module__ == made.module
    assert listed.adapter("murmur") is adapter
    assert info_of(listed, "murmur").state == "loaded"
    assert "of-murmur 1.0" in listed.versions("murmur")


BROKEN = {
    "raise ImportError('no such library')": "ImportError: no such library",
    "raise RuntimeError('two\\nlines')": "RuntimeError: two lines",
    "raise SystemExit(3)": r"PluginError: it tries to exit the process \(3\)",
    "this is no python": "SyntaxError: ",
    "Other = 1": "AttributeError: module .* has no attribute 'Adapter'",
    "Adapter = 3": "PluginError: the adapter for 'murmur' is 3, not a subclass of ModelFrameworkAdapter",
    "class Adapter: pass": "not a subclass of ModelFrameworkAdapter",
    ADAPTER
    + "    api = 2": "PluginError: the adapter for 'murmur' speaks interface level 2, this core up to 1. "
    "Try: pip install --upgrade backtester-model-core",
    ADAPTER
    + "    api = 0": "speaks interface level 0, this core 1 to 1. Upgrade the package that brings the adapter",
    ADAPTER + "    api = '1'": "has the interface level '1', which is no whole number. Write api = 1",
    ADAPTER + "    config_class = dict": "the config_class of the adapter for 'murmur' is not a subclass",
    ADAPTER + "    config_class = None": "the config_class of the adapter for 'murmur' is not a subclass",
    ADAPTER + "    def __init__(self): raise ValueError('no licence')": "ValueError: no licence",
    ADAPTER + "    def __init__(self): raise SystemExit": "PluginError: it tries to exit the process",
    """
    from backtester_model_core.adapter import ModelFrameworkAdapter
    class Adapter(ModelFrameworkAdapter):
        def predict(self, model, features): ...
    """: "PluginError: the adapter for 'murmur' does not fill in initialize_model, train_model",
    """
    from backtester_model_core.hookspecs import hookimpl
    from backtester_model_core.testing import EchoAdapter
    class Adapter(EchoAdapter):
        @hookimpl
        def backtester_trian(self, model): ...
    """: "the plugin 'murmur' of of-murmur has a wrong hook: .*backtester_trian",
    """
    from backtester_model_core.hookspecs import hookimpl
    from backtester_model_core.testing import EchoAdapter
    class Adapter(EchoAdapter):
        @hookimpl
        def backtester_train(self, rows): ...
    """: "the plugin 'murmur' of of-murmur has a wrong hook: .*rows",
}


@pytest.mark.parametrize(("code", "reason"), BROKEN.items())
def test_a_broken_adapter_is_named_and_hurts_nobody(install, code, reason):
    lines = textwrap.dedent(code.replace(ADAPTER, ADAPTER.rstrip() + "\n    "))
    add_adapter(install, "murmur", lines)
    add_adapter(install, "echo")
    listed = discovered()

    with pytest.raises(BrokenPluginError, match=f"(?i){reason}") as caught:
        listed.adapter("murmur")

    assert "The plugin 'murmur' of of-murmur does not load" in str(caught.value)
    assert "set BACKTESTER_MODEL_DISABLE=murmur" in str(caught.value)
    assert info_of(listed, "murmur").state == "broken"
    assert "murmur" not in listed.frameworks()
    with use_plugins(listed):
        assert create_model(listed.adapter("echo").config_class()).prepare(random_bars(100)).is_labelled.any()


def test_a_broken_adapter_is_tried_once(install):
    add_adapter(install, "murmur", "raise ImportError('first')")
    listed = discovered()
    for _ in range(2):
        with pytest.raises(BrokenPluginError, match="ImportError: first"):
            listed.adapter("murmur")


def test_ctrl_c_during_an_import_is_no_fault_of_the_plugin(install):
    add_adapter(install, "murmur", "raise KeyboardInterrupt")
    listed = discovered()

    with pytest.raises(KeyboardInterrupt):
        listed.adapter("murmur")

    assert info_of(listed, "murmur").state == "available"


def test_a_name_that_two_distributions_claim_is_nobodys(install):
    one = add_adapter(install, "murmur", distribution="one", version="1.1")
    two = add_adapter(install, "murmur", distribution="two", version="2.2")
    listed = discovered()

    with pytest.raises(DuplicatePluginError) as caught:
        listed.adapter("murmur")

    assert f"one 1.1 ({one.module}:Adapter)" in str(caught.value)
    assert f"two 2.2 ({two.module}:Adapter)" in str(caught.value)
    assert {info_of(listed, "murmur", name).state for name in ("one", "two")} == {"broken"}
    assert "claimed by" in info_of(listed, "murmur", "one").reason
    assert "murmur" not in listed.frameworks()
    assert not {one.module, two.module} & set(sys.modules)


def test_a_distribution_that_is_on_the_path_twice_is_one(install):
    newer = add_adapter(install, "murmur", distribution="one", version="1.0")
    newer = add_adapter(install, "murmur", distribution="one", version="2.0")
    listed = discovered()

    assert type(listed.adapter("murmur")).__module__ == newer.module
    assert "one 2.0" in listed.versions("murmur")


def test_a_distribution_without_a_name_is_unknown(install):
    add_adapter(install, "murmur", metadata="Metadata-Version: 2.1\n")
    listed = discovered()

    assert (info_of(listed, "murmur").distribution, info_of(listed, "murmur").version) == ("unknown", "")
    assert isinstance(listed.adapter("murmur"), EchoAdapter)


def test_results_depend_on_the_versions_of_what_an_adapter_needs(install):
    needs = "Metadata-Version: 2.1\nName: of-murmur\nVersion: 1.0\nRequires-Dist: pytest>=8\n"
    add_adapter(install, "murmur", metadata=f"{needs}Requires-Dist: no-such-library; extra == 'gpu'\n")
    listed = discovered()
    listed.register_adapter("echo", EchoAdapter)

    assert set(listed.versions("murmur")) - set(listed.versions("echo")) >= {"of-murmur 1.0"}
    assert f"pytest {pytest.__version__}" in listed.versions("murmur")
    assert f"numpy {np.__version__}" in listed.versions("echo")


# -- names that belong to somebody ------------------------------------------------------------------------------------


def test_a_first_party_name_is_only_its_owners(install):
    made = add_adapter(install, "pytorch", distribution="evil-torch")
    listed = discovered()

    with pytest.raises(
        AdapterNotFoundError, match="only backtester-model-torch may claim 'pytorch'"
    ) as caught:
        listed.adapter("pytorch")

    assert "set BACKTESTER_MODEL_ALLOW=evil-torch to allow this one" in str(caught.value)
    assert info_of(listed, "pytorch", "evil-torch").state == "blocked"
    assert made.module not in sys.modules


def test_the_owner_keeps_its_name_beside_a_claimant(install):
    add_adapter(install, "pytorch", distribution="evil-torch", version="6.6")
    owner = add_adapter(install, "pytorch", distribution="Backtester_Model.Torch")
    listed = discovered()

    assert type(listed.adapter("pytorch")).__module__ == owner.module
    assert [name for name in listed.versions("pytorch") if "torch" in name] == ["backtester-model-torch 1.0"]


def test_a_claimant_may_be_allowed(install):
    made = add_adapter(install, "pytorch", distribution="my-torch")
    listed = discovered(BACKTESTER_MODEL_ALLOW="other, My_Torch")

    assert type(listed.adapter("pytorch")).__module__ == made.module


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"BACKTESTER_MODEL_DISABLE": "other, murmur"}, "BACKTESTER_MODEL_DISABLE names it"),
        ({"BACKTESTER_MODEL_ONLY": "other"}, "BACKTESTER_MODEL_ONLY does not name it"),
        ({"BACKTESTER_MODEL_ONLY": ""}, "BACKTESTER_MODEL_ONLY does not name it"),
    ],
)
def test_a_blocked_plugin_is_never_imported(install, environ, reason):
    adapter = add_adapter(install, "murmur", "raise RuntimeError('imported')")
    extension = add_extension(install, "murmur", "raise RuntimeError('imported')", distribution="extends")
    listed = discovered(**environ)

    with pytest.raises(AdapterNotFoundError, match=f"is installed but blocked: {reason}"):
        listed.adapter("murmur")

    assert {info_of(listed, "murmur", name).state for name in ("of-murmur", "extends")} == {"blocked"}
    assert not {adapter.module, extension.module} & set(sys.modules)


def test_a_name_that_is_blocked_is_free_for_code(install):
    add_adapter(install, "murmur")
    listed = discovered(BACKTESTER_MODEL_DISABLE="murmur")

    listed.register_adapter("murmur", EchoAdapter)

    assert isinstance(listed.adapter("murmur"), EchoAdapter)
    assert listed.frameworks().count("murmur") == 1


def test_only_lets_the_named_through(install):
    add_adapter(install, "murmur")
    add_adapter(install, "whisper")
    listed = discovered(BACKTESTER_MODEL_ONLY="murmur")

    assert listed.frameworks() == ["murmur"]


def test_a_missing_first_party_adapter_names_its_package():
    with pytest.raises(AdapterNotFoundError) as caught:
        Plugins(discover=False).adapter("pytorch")

    assert str(caught.value) == (
        "No adapter for framework 'pytorch'; installed: none. Try: pip install backtester-model-torch"
    )


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("ekho", "Did you mean 'echo'?"), ("sklern", "Did you mean 'sklearn'?"), ("zzz", "Valid: echo, ")],
)
def test_no_package_name_is_made_up(asked, hint):
    own = Plugins(discover=False)
    own.register_adapter("echo", EchoAdapter)

    with pytest.raises(AdapterNotFoundError) as caught:
        own.adapter(asked)

    assert hint in str(caught.value)
    assert "pip install" not in str(caught.value)


# -- extensions -----------------------------------------------------------------------------------------------------


def test_a_good_extension_is_loaded(install):
    made = add_extension(install, "watch", version="3.1")

    listed = discovered()

    assert info_of(listed, "watch").state == "loaded"
    assert made.module in sys.modules
    (source,) = [source for source in listed.sources() if source.startswith("watch ")]
    assert re.fullmatch(r"watch of-watch 3\.1 [0-9a-f]{32}", source)


def test_what_an_extension_changes_is_told_by_its_code(install):
    made = add_extension(install, "watch")
    listed = discovered()
    before = listed.sources()

    file = made.folder / f"{made.module}.py"
    file.write_text(file.read_text() + "\n# edited")

    assert listed.sources() != before


BROKEN_EXTENSIONS = {
    "raise ImportError('no such library')": "ImportError: no such library",
    "raise SystemExit(3)": "PluginError: it tries to exit the process (3)",
    "": "has no hook. Mark its functions with @hookimpl.",
    "def backtester_train(model): ...": "has no hook. Mark its functions with @hookimpl.",
    """
    from backtester_model_core.hookspecs import hookimpl
    @hookimpl(wrapper=True)
    def backtester_trian(model):
        return (yield)
    """: "unknown hook 'backtester_trian'",
    """
    from backtester_model_core.hookspecs import hookimpl
    @hookimpl
    def backtester_train(model, future): ...
    """: "{'future'}",
    """
    from backtester_model_core.hookspecs import hookimpl
    @hookimpl
    def backtester_register(registry):
        raise SystemExit(4)
    """: "PluginError: it tries to exit the process (4)",
    """
    from backtester_model_core.hookspecs import hookimpl
    @hookimpl
    def backtester_register(registry):
        registry.add_label("direction", object())
    """: "DuplicatePluginError: The name 'direction' is claimed by backtester-model-core and of-watch",
}


@pytest.mark.parametrize(("code", "reason"), BROKEN_EXTENSIONS.items())
def test_a_broken_extension_is_left_out_with_a_warning(install, caplog, code, reason):
    add_extension(install, "watch", code)
    add_extension(install, "other")

    with caplog.at_level(logging.WARNING):
        listed = discovered()

    broken = info_of(listed, "watch")
    assert broken.state == "broken"
    assert reason in broken.reason
    assert info_of(listed, "other").state == "loaded"
    assert "The extension 'watch' of of-watch is left out: " in caplog.text
    assert not any(source.startswith("watch ") for source in listed.sources())


def test_a_registration_that_fails_half_way_leaves_nothing(install):
    add_extension(
        install,
        "watch",
        """
        from backtester_model_core.hookspecs import hookimpl
        from backtester_model_core.labels import LABELS
        @hookimpl
        def backtester_register(registry):
            registry.add_operator("half_operator", object())
            registry.add_feature_set("half_set", {})
            registry.add_label("half_label", LABELS["direction"])
            registry.add_label("direction", LABELS["direction"])
            registry.add_data_source("half_source", print)
            registry.add_model("half_model", print)
            raise RuntimeError("half-way")
        @hookimpl
        def backtester_prepare(model):
            raise AssertionError("a plugin that failed is still asked")
        """,
    )

    listed = discovered()

    assert info_of(listed, "watch").reason == "RuntimeError: half-way"
    for things in (OPERATORS, FEATURE_SETS, LABELS, DATA_SOURCES, MODELS):
        assert not [name for name in things if name.startswith("half")]
    assert "direction" in LABELS
    with use_plugins(listed):
        listed.register_adapter("hum", EchoAdapter)
        create_model(EchoAdapter.config_class.model_construct(framework="hum")).prepare(random_bars(100))


def test_what_a_registration_adds_is_there_with_its_source(install):
    add_extension(
        install,
        "watch",
        """
        from backtester_model_core.hookspecs import hookimpl
        from backtester_model_core.labels import LABELS
        @hookimpl
        def backtester_register(registry):
            registry.add_label("whole_label", LABELS["direction"])
        """,
    )

    discovered()

    assert LABELS.source("whole_label") == "of-watch"
    LABELS.discard("whole_label")


def test_an_extension_may_be_a_class(install):
    code = """
        from backtester_model_core.hookspecs import hookimpl
        class Watch:
            seen = []
            @hookimpl(wrapper=True)
            def backtester_prepare(self, model, data):
                self.seen.append(len(data))
                return (yield)
    """
    made = add_extension(install, "watch", code, value="{}:Watch")
    listed = discovered()
    listed.register_adapter("echo", EchoAdapter)

    with use_plugins(listed):
        create_model(EchoAdapter.config_class()).prepare(random_bars(90))

    assert sys.modules[made.module].Watch.seen == [90]


def test_an_extension_that_two_distributions_claim_is_left_out(install):
    one = add_extension(install, "watch", distribution="one")
    two = add_extension(install, "watch", distribution="two")

    listed = discovered()

    for name in ("one", "two"):
        assert info_of(listed, "watch", name).state == "broken"
        assert "one" in info_of(listed, "watch", name).reason
        assert "two" in info_of(listed, "watch", name).reason
    assert not {one.module, two.module} & set(sys.modules)


def first_thing(made, code):
    """What a fresh process prints that has the distribution on its path and does nothing else before."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(made.folder)},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_listing_adapters_imports_none_of_them(install):
    made = add_adapter(install, "murmur")

    names, imported = first_thing(
        made,
        f"""
        import sys
        from backtester_model_core.factory import ModelFactory
        print([info.name for info in ModelFactory.available()])
        print(sorted(set(sys.modules) & {{"{made.module}", "sklearn", "backtester_model_sklearn"}}))
        """,
    )

    assert "'murmur'" in names
    assert imported == "[]"


BRINGS_ALL = """
    import pandas as pd
    from backtester_model_core import BaseModel, hookimpl
    from backtester_model_core.features import OPERATORS
    from backtester_model_core.labels import LABELS
    from backtester_model_core.testing import random_bars
    class Model(BaseModel):
        def fit(self, rows, validation):
            return ()
        def forecast(self, values):
            return values
    @hookimpl
    def backtester_register(registry):
        registry.add_operator("brought", OPERATORS["abs"])
        registry.add_label("brought", LABELS["direction"])
        registry.add_data_source("brought", lambda config: random_bars(7))
        registry.add_model("brought", Model)
"""
ASKED_FIRST = {
    "a label": "from backtester_model_core.labels import LABELS; print(LABELS['brought'].model_type)",
    "an operator": """
        from backtester_model_core.features import parse_expression
        print(parse_expression("brought(close)"))
    """,
    "a data source": """
        from backtester_model_core import DataConfig, DataRetrieval
        print(len(DataRetrieval(DataConfig(source="brought")).get_data()))
    """,
    "a configuration": """
        from backtester_model_core import load_config
        print(type(load_config({"framework": "brought"})).__name__)
    """,
    "a model": """
        from backtester_model_core import ModelFactory
        print(type(ModelFactory.create("brought", {"label": {"kind": "brought"}})).__name__)
    """,
    "an unknown name": """
        from backtester_model_core.labels import LABELS
        try:
            LABELS["brough"]
        except ValueError as error:
            print(error)
    """,
}
FOUND_FIRST = [
    "classification",
    "brought(close)",
    "7",
    "ModelConfig",
    "Model",
    "Unknown label kind 'brough'. Did you mean 'brought'?",
]


@pytest.mark.parametrize(
    ("code", "found"), list(zip(ASKED_FIRST.values(), FOUND_FIRST, strict=True)), ids=ASKED_FIRST
)
def test_what_an_extension_brings_is_found_by_whoever_asks_first(install, code, found):
    assert first_thing(add_extension(install, "brings", BRINGS_ALL), code) == [found]


def test_an_extension_that_asks_for_a_missing_name_while_it_registers_is_only_broken(install):
    code = """
        from backtester_model_core.hookspecs import hookimpl
        from backtester_model_core.labels import LABELS
        @hookimpl
        def backtester_register(registry):
            registry.add_label("again", LABELS["nowhere"])
    """

    (printed,) = first_thing(
        add_extension(install, "asks", code),
        "from backtester_model_core.factory import ModelFactory;"
        "print([info.reason[:42] for info in ModelFactory.broken() if info.name == 'asks'])",
    )

    assert printed == "[\"ConfigError: Unknown label kind 'nowhere'.\"]"


# -- who answers ----------------------------------------------------------------------------------------------------


class Watching:
    """An extension that notes every step with the framework it was for."""

    def __init__(self):
        self.steps = []

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model):
        self.steps.append((model.config.framework, "prepare"))
        return (yield)

    @hookimpl(wrapper=True)
    def backtester_train(self, model):
        self.steps.append((model.config.framework, "train"))
        return (yield)

    @hookimpl(wrapper=True)
    def backtester_predict(self, model):
        self.steps.append((model.config.framework, "predict"))
        return (yield)

    @hookimpl(wrapper=True)
    def backtester_signal(self, model):
        self.steps.append((model.config.framework, "signal"))
        return (yield)


class OtherEcho(EchoAdapter):
    config_class = ModelConfig


def run_steps(framework):
    bars = random_bars(120)
    fields = {
        "framework": framework,
        "lookback_period": 5,
        "validation_split": 0.0,
    }  # one training, no tail to foresee
    model = create_model(plugins().adapter(framework).config_class(**fields))
    model.train_dataset(model.prepare(bars))
    model.generate_signals(bars)
    return model


def test_an_adapter_answers_for_its_own_framework_only():
    asked = []

    class Own(OtherEcho):
        @hookimpl
        def backtester_train(self, model, dataset):
            asked.append(model.config.framework)

    with use_plugins(Plugins(discover=False)) as own:
        own.register_adapter("echo", EchoAdapter)
        run_steps("echo")  # hook callers are kept for each framework: a registration must renew them
        own.register_adapter("own", Own)
        run_steps("echo")
        assert asked == []
        run_steps("own")

    assert asked == ["own"]


def test_an_adapters_hook_answers_though_nobody_has_asked_for_the_adapter(install):
    """A model that was sent to a worker process calls hooks before anything has loaded its adapter there."""
    add_adapter(
        install,
        "murmur",
        """
        import dataclasses
        from backtester_model_core.config import ModelConfig
        from backtester_model_core.hookspecs import hookimpl
        from backtester_model_core.testing import EchoAdapter
        class Adapter(EchoAdapter):
            config_class = ModelConfig
            @hookimpl(wrapper=True)
            def backtester_predict(self, model, features):
                prediction = yield
                return dataclasses.replace(prediction, expected=prediction.expected * 0 + 42)
        """,
    )
    with use_plugins(discovered()):
        model = run_steps("murmur")
        features = model.prepare(random_bars(100)).features.tail(3)
        sent = pickle.dumps(model)

    with use_plugins(discovered()):
        answered = pickle.loads(sent).predict(features)

    assert answered.tolist() == [42, 42, 42]


def test_an_extension_sees_every_step_of_every_framework():
    watching = Watching()
    with use_plugins(Plugins(discover=False)) as own:
        own.register_adapter("echo", EchoAdapter)
        own.register_adapter("other", OtherEcho)
        own.register_extension("watching", watching)
        run_steps("echo")
        run_steps("other")

    steps = ["prepare", "train", "prepare", "predict", "signal"]
    assert watching.steps == [(name, step) for name in ("echo", "other") for step in steps]


def test_a_plugin_that_comes_later_is_asked_too():
    watching = Watching()
    with use_plugins(Plugins(discover=False)) as own:
        own.register_adapter("echo", EchoAdapter)
        run_steps("echo")
        own.register_extension("watching", watching)
        run_steps("echo")

    assert len(watching.steps) == 5


def test_an_unknown_hook_is_no_attribute():
    assert not hasattr(Plugins(discover=False).hooks("echo"), "backtester_trian")


# -- in code --------------------------------------------------------------------------------------------------------


def test_what_is_registered_in_code_is_listed():
    own = Plugins(discover=False)
    own.register_adapter("echo", EchoAdapter)
    own.register_extension("watching", Watching())

    assert own.listing() == [
        PluginInfo("echo", "adapter", "in code", "", f"{EchoAdapter.__module__}:EchoAdapter", "loaded"),
        PluginInfo("watching", "extension", "in code", "", f"{__name__}:Watching", "loaded"),
    ]


def test_the_same_adapter_may_be_registered_again():
    own = Plugins(discover=False)
    own.register_adapter("echo", EchoAdapter)
    adapter = own.adapter("echo")

    own.register_adapter("echo", EchoAdapter)

    assert own.adapter("echo") is adapter


def test_another_adapter_under_a_taken_name_is_refused(install):
    add_adapter(install, "murmur")
    listed = discovered()
    listed.register_adapter("echo", EchoAdapter)

    with pytest.raises(DuplicatePluginError, match=r"'echo' is claimed by .*EchoAdapter and .*OtherEcho"):
        listed.register_adapter("echo", OtherEcho)
    with pytest.raises(DuplicatePluginError, match=r"'murmur' is claimed by of-murmur and .*OtherEcho"):
        listed.register_adapter("murmur", OtherEcho)


def test_an_incomplete_adapter_is_refused_in_code_too():
    class Half(ModelFrameworkAdapter):
        """Fills in nothing."""

    own = Plugins(discover=False)

    with pytest.raises(PluginError, match="does not fill in initialize_model, predict, train_model"):
        own.register_adapter("half", Half)

    assert own.frameworks() == []


def test_two_extensions_of_one_name_are_refused():
    own = Plugins(discover=False)
    own.register_extension("watching", Watching())

    with pytest.raises(DuplicatePluginError, match=r"'watching' is claimed by .*Watching and .*Watching"):
        own.register_extension("watching", Watching())


def test_one_extension_under_two_names_is_refused():
    own, watching = Plugins(discover=False), Watching()
    own.register_extension("watching", watching)

    with pytest.raises(PluginError, match="is registered already, as 'extension:watching'"):
        own.register_extension("again", watching)


def test_an_extension_in_code_without_a_hook_is_refused():
    own = Plugins(discover=False)

    with pytest.raises(PluginError, match=r"'nothing' of builtins:object has no hook"):
        own.register_extension("nothing", object())

    own.register_extension("nothing", Watching())
    assert [info.name for info in own.listing()] == ["nothing"]


class BringsLabel:
    """An extension that brings a label, anew with each instance."""

    def __init__(self, name="brought"):
        self.name = name

    @hookimpl
    def backtester_register(self, registry):
        registry.add_label(self.name, LABELS["direction"])


def test_a_worker_repeats_what_was_registered_in_code():
    own, worker = Plugins(discover=False), Plugins(discover=False)
    own.register_adapter("echo", EchoAdapter)
    own.register_extension("watching", Watching())

    for _ in range(2):  # a worker serves many windows
        worker.repeat(pickle.loads(pickle.dumps(own.registered_in_code())))

    assert worker.listing() == own.listing()
    assert isinstance(worker.adapter("echo"), EchoAdapter)


def test_repeating_ones_own_registrations_changes_nothing():
    own, watching = Plugins(discover=False), Watching()
    own.register_adapter("echo", EchoAdapter)
    own.register_extension("watching", watching)
    adapter, before = own.adapter("echo"), own.registered_in_code()

    own.repeat(own.registered_in_code())

    assert own.adapter("echo") is adapter
    assert own.registered_in_code() == before


def test_a_worker_forgets_what_another_run_had_registered():
    """Worker processes outlive a run: what the last one registered may not answer for the next."""
    worker, watching = Plugins(discover=False), Watching()
    worker.repeat([("adapter", "echo", EchoAdapter), ("extension", "watching", watching)])
    worker.repeat([("extension", "brings", BringsLabel())])
    assert "brought" in LABELS

    worker.repeat([("adapter", "echo", OtherEcho)])

    assert [(info.name, info.value.split(":")[-1]) for info in worker.listing()] == [("echo", "OtherEcho")]
    assert "brought" not in LABELS
    with use_plugins(worker):
        run_steps("echo")
    assert watching.steps == []


# -- which plugins are in force ---------------------------------------------------------------------------------------


def test_other_plugins_are_in_force_for_a_block():
    before = plugins()
    with use_plugins(Plugins(discover=False)) as outer:
        with use_plugins(Plugins(discover=False)) as inner:
            assert plugins() is inner
        assert plugins() is outer
    assert plugins() is before


def test_other_plugins_are_out_of_force_after_an_error():
    before = plugins()
    with pytest.raises(RuntimeError), use_plugins(Plugins(discover=False)):
        raise RuntimeError

    assert plugins() is before


def test_the_adapter_decides_the_configuration_class():
    with use_plugins(Plugins(discover=False)) as own:
        own.register_adapter("echo", EchoAdapter)

        assert config_class("echo") is EchoAdapter.config_class


def test_frames_reach_an_adapter_as_arrays():
    """The least an adapter must see: complete rows, contiguous, and nothing of pandas."""
    seen = []

    class Seeing(EchoAdapter):
        config_class = ModelConfig

        def predict(self, model, features):
            seen.append(features)
            return super().predict(model, features)

    with use_plugins(Plugins(discover=False)) as own:
        own.register_adapter("seeing", Seeing)
        model = run_steps("seeing")
        model.predict(pd.DataFrame(np.zeros((2, len(model.columns))), columns=list(model.columns)))

    assert all(type(features) is np.ndarray and features.flags.c_contiguous for features in seen)
    assert all(np.isfinite(features).all() for features in seen)


def test_plugin_that_takes_the_cores_own_name_is_refused_and_the_core_stays() -> None:
    own = Plugins(discover=False, environ={})

    with pytest.raises(PluginError, match=r"'backtester-model-core' .* is taken"):
        own.register_adapter("backtester-model-core", EchoAdapter)

    assert own.call("echo", "backtester_train").get_hookimpls()
