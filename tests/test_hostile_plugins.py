"""Hostile plugins, installed as real wheels into a real environment: each is named, and none hurts another."""

from __future__ import annotations

import json
import os
import subprocess
from textwrap import dedent

import pytest
from hostile_plugins import (
    ADAPTERS,
    EXTENSIONS,
    Environment,
    Outcome,
    faults_of,
    make_environment,
    try_adapters,
    try_extensions,
)
from hostile_plugins.trial import CHILD

TOGETHER = [adapter for adapter in ADAPTERS if not adapter.waits]
HANGING = [adapter for adapter in ADAPTERS if adapter.waits and not adapter.in_thread]
ASIDE = [adapter for adapter in ADAPTERS if adapter.in_thread]
N_FLOCK = 50


def quiet() -> dict[str, str]:
    """Return the environment of a process that lets no hostile extension in."""
    disable = ",".join(extension.name for extension in EXTENSIONS)
    return {**os.environ, "OMP_NUM_THREADS": "1", "BACKTESTER_MODEL_DISABLE": disable}


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    return make_environment(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def outcomes(environment) -> dict[str, Outcome]:
    """One process for those that return, one for those that hang, one for the thread that nobody can stop."""
    groups = [TOGETHER, HANGING, ASIDE]
    return {
        adapter.name: done
        for group in groups
        for done in [try_adapters(environment, group)]
        for adapter in group
    }


@pytest.fixture(scope="module")
def extended(environment) -> Outcome:
    return try_extensions(environment)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_a_hostile_adapter_is_named_and_changes_nothing(outcomes, adapter) -> None:
    assert faults_of(adapter, outcomes[adapter.name]) == []


@pytest.mark.parametrize("extension", EXTENSIONS, ids=lambda extension: extension.name)
def test_a_hostile_extension_is_named_and_the_others_are_loaded(extended, extension) -> None:
    assert faults_of(extension, extended) == []


def test_the_trial_sees_what_is_left_behind_where_nobody_guards(environment) -> None:
    unguarded = """
        import child
        before = child.state()
        import hostile_of_logs, hostile_of_seeds, hostile_of_silences, hostile_of_threads, hostile_of_wanders
        after = child.state()
        print([name for name in before if before[name] == after[name]])
    """
    done = subprocess.run(
        [environment.python, "-c", dedent(unguarded)],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHILD.parent,
        env=quiet(),
    )

    assert done.stdout == "[]\n"


def test_an_adapter_that_is_not_installed_is_named_with_what_is(environment, tmp_path) -> None:
    (tmp_path / "model.toml").write_text('framework = "goood"')
    command = [
        environment.python,
        "-m",
        "backtester_model_cli",
        "run",
        "model.toml",
        "--sample",
        "--out",
        "runs",
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=quiet())

    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "No adapter for framework 'goood'" in said
    assert "Did you mean 'good'?" in said
    assert "Traceback" not in said


def test_fifty_adapters_are_listed_and_none_is_imported(environment) -> None:
    listed = """
        import contextlib, io, json, sys
        from typer.testing import CliRunner
        from backtester_model_cli.main import app
        done = CliRunner().invoke(app, ["adapters", "--json"])
        print(json.dumps([done.exit_code, json.loads(done.stdout)["plugins"], sorted(sys.modules)]))
    """

    done = subprocess.run(
        [environment.python, "-c", dedent(listed)], capture_output=True, text=True, check=True, env=quiet()
    )

    code, listing, modules = json.loads(done.stdout)
    flock = [info for info in listing if info["name"].startswith("flock_")]
    assert code == 0
    assert [(info["name"], info["version"], info["distribution"], info["state"]) for info in flock] == [
        (f"flock_{number:02}", f"1.{number}", f"of-flock-{number:02}", "available")
        for number in range(N_FLOCK)
    ]
    assert [name for name in modules if name.startswith(("flock_", "hostile_of"))] == []
