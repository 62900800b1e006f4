from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

COMMANDS = ("run", "demo", "adapters", "validate", "cross-validate", "schema")


def test_help_lists_every_command_and_exit_code(invoke) -> None:
    done = invoke("--help")

    assert done.exit_code == 0
    for word in (*COMMANDS, "130", "--require-skill"):
        assert word in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(invoke, command) -> None:
    done = invoke(command, "--help")

    assert done.exit_code == 0
    assert "--debug" in done.stdout


def test_help_on_a_terminal_that_knows_only_ascii(start) -> None:
    process = start("--help", env={"PYTHONIOENCODING": "ascii"})
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 0, stderr
    assert "cross-validate" in stdout


def test_version(invoke) -> None:
    assert invoke("--version").stdout == f"backtester-model {version('backtester-model-cli')}\n"


@pytest.mark.parametrize("arguments", [["run"], ["run", "a.toml"], ["fly"], ["validate"]])
def test_wrong_usage_ends_with_two(invoke, arguments) -> None:
    assert invoke(*arguments).exit_code == 2


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backtester_model_cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith("backtester-model ")
