from __future__ import annotations

import json
import subprocess
import sys

import pytest

from backtester_model_core.exceptions import BrokenPluginError
from backtester_model_core.plugins import Plugins, use_plugins


def write_plugin(folder, *, distribution: str, group: str, name: str, value: str, module: str = "") -> None:
    """Lay down what pip would: a distribution's metadata, and its module."""
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[backtester_model.{group}]\n{name} = {value}\n")
    (folder / f"{value.partition(':')[0]}.py").write_text(module)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder on the path, in which plugins can be installed."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_installed_adapter_is_listed_as_available(invoke) -> None:
    with use_plugins(Plugins()):
        done = invoke("adapters")

    assert done.exit_code == 0
    assert "sklearn" in done.stdout
    assert "backtester-model-sklearn" in done.stdout
    assert "available" in done.stdout
    assert "pip install" not in done.stdout


def test_a_broken_extension_is_listed_with_its_reason(invoke, installed, caplog) -> None:
    write_plugin(
        installed,
        distribution="noisy-tracker",
        group="extensions",
        name="tracker",
        value="noisy_tracker",
        module="import a_module_that_nobody_has",
    )

    with use_plugins(Plugins()):
        done = invoke("adapters", "--json")

    listed = {info["name"]: info for info in json.loads(done.stdout)["plugins"]}
    assert (listed["tracker"]["state"], listed["tracker"]["version"]) == ("broken", "1.2")
    assert "a_module_that_nobody_has" in listed["tracker"]["reason"]
    assert listed["sklearn"]["state"] == "available"


def test_an_adapter_that_did_not_load_is_marked_broken(invoke, installed) -> None:
    write_plugin(
        installed, distribution="my-adapter", group="adapters", name="mine", value="my_adapter:Adapter"
    )

    with use_plugins(Plugins()) as plugins:
        with pytest.raises(BrokenPluginError):
            plugins.adapter("mine")
        done = invoke("adapters")

    row = next(line for line in done.stdout.splitlines() if line.startswith("mine"))
    assert "broken" in row
    assert "AttributeError" in row


def test_a_blocked_adapter_is_listed_with_what_blocks_it(invoke) -> None:
    with use_plugins(Plugins(environ={"BACKTESTER_MODEL_DISABLE": "sklearn"})):
        done = invoke("adapters")

    assert "blocked" in done.stdout
    assert "BACKTESTER_MODEL_DISABLE names it" in done.stdout


def test_with_no_adapter_every_framework_is_named_with_its_package(invoke) -> None:
    with use_plugins(Plugins(discover=False)):
        shown, as_json = invoke("adapters"), invoke("adapters", "--json")

    assert "No adapter can be used" in shown.stdout
    assert json.loads(as_json.stdout) == {
        "plugins": [],
        "to_install": {
            "sklearn": "pip install backtester-model-sklearn",
            "tensorflow": "pip install backtester-model-tf",
            "pytorch": "pip install backtester-model-torch",
            "scipy": "pip install backtester-model-scipy",
            "isolated": "pip install backtester-model-isolated",
        },
    }


IMPORTED = """
import sys
from typer.testing import CliRunner
from backtester_model_cli.main import app
assert CliRunner().invoke(app, sys.argv[1:]).exit_code == 0
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def modules_after(*arguments: str) -> set[str]:
    """Return the top-level modules that a command has imported by its end."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "pandas", "plotly", "pluggy", "pyarrow", "pydantic", "scipy", "sklearn"}

    assert not heavy & modules_after("--help")


def test_listing_adapters_imports_no_framework_and_no_plotting() -> None:
    imported = modules_after("adapters")

    assert not imported & {"joblib", "keras", "plotly", "scipy", "sklearn", "tensorflow", "torch"}
    assert "backtester_model_sklearn.adapter" not in imported


def test_the_check_of_imports_would_see_a_framework() -> None:
    assert "sklearn" in modules_after("schema", "sklearn")
