"""The configuration names an interpreter, and only who runs it may let that be started."""

from __future__ import annotations

import json
import os
import sys

import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError
from backtester_model_core.factory import ModelFactory, load_config
from backtester_model_isolated import IsolatedModelConfig, allow_interpreter
from backtester_model_isolated.interpreters import INTERPRETERS, check_allowed, is_allowed

FIELDS = {"framework": "isolated", "python": "/opt/tf/bin/python", "adapter": "tensorflow"}


def test_the_adapter_is_given_its_options_and_what_every_model_has():
    config = load_config(
        {**FIELDS, "random_state": 7, "options": {"device": "cpu", "layers": [{"units": 3}]}}
    )

    given = json.loads(config.inner)

    assert (given["framework"], given["device"], given["layers"]) == ("tensorflow", "cpu", [{"units": 3}])
    assert given["random_state"] == 7
    assert given.keys() == {*ModelConfig.model_fields, "device", "layers"}


def test_one_configuration_is_one_text():
    first = IsolatedModelConfig(**FIELDS, options={"a": 1, "b": {"c": 2, "d": 3}})
    second = IsolatedModelConfig(**FIELDS, options={"b": {"d": 3, "c": 2}, "a": 1})

    assert first.inner == second.inner


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"python": "python"}, "absolute path"),
        ({"python": "bin/python"}, "absolute path"),
        ({"python": "/opt/\npython"}, "absolute path"),
        ({"python": "/" + "x" * 5000}, "python"),
        ({"adapter": "isolated"}, "not isolated again"),
        ({"options": {"random_state": 1}}, "random_state: every model has that"),
        ({"options": {"framework": "sklearn"}}, "framework: every model has that"),
        ({"options": {"a": object()}}, "options.a"),
        ({"options": {"a": [["x" * 200] * 1000] * 10}}, "at most 524,288"),
        ({"time_limit_seconds": 0}, "time_limit_seconds"),
        ({"restarts": 11}, "restarts"),
        ({"threads": 0}, "threads"),
    ],
)
def test_a_field_out_of_bounds_is_refused(fields, reason):
    with pytest.raises(ConfigError, match=reason):
        load_config({**FIELDS, **fields})


def test_a_configuration_alone_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv(INTERPRETERS, raising=False)
    trap = tmp_path / "python"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    trap.chmod(0o755)
    config = load_config({**FIELDS, "python": str(trap)})

    with pytest.raises(ConfigError, match=f"{INTERPRETERS}={trap}.*allow_interpreter"):
        ModelFactory.create("isolated", config)

    assert not (tmp_path / "ran").exists()


def test_an_interpreter_that_was_allowed_is_allowed_in_processes_started_from_here(monkeypatch):
    monkeypatch.setenv(INTERPRETERS, "/opt/one/bin/python")

    allow_interpreter("/opt/two/bin/python")

    assert is_allowed("/opt/one/bin/python")
    assert is_allowed("/opt/two/bin/../bin/python")
    assert not is_allowed("/opt/two/bin/python3")


def test_allowing_an_interpreter_twice_is_allowing_it_once(monkeypatch):
    monkeypatch.delenv(INTERPRETERS, raising=False)

    allow_interpreter("/opt/two/bin/python")
    allow_interpreter("/opt/two/bin/python")

    assert os.environ[INTERPRETERS] == "/opt/two/bin/python"


@pytest.mark.parametrize("path", ["python", "bin/python", "/opt/a:/opt/b", ""])
def test_what_is_no_absolute_path_cannot_be_allowed(monkeypatch, path):
    monkeypatch.delenv(INTERPRETERS, raising=False)

    with pytest.raises(ConfigError, match="absolute path"):
        allow_interpreter(path)


def test_an_environment_is_told_from_the_one_whose_interpreter_it_links_to(tmp_path, monkeypatch):
    monkeypatch.setenv(INTERPRETERS, sys.executable)
    link = tmp_path / "python"
    link.symlink_to(sys.executable)

    assert not is_allowed(str(link))


def test_an_allowed_path_cannot_be_feigned_by_a_way_up_behind_a_link(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "theirs" / "inner").mkdir(parents=True)
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "theirs" / "inner")
    monkeypatch.setenv(INTERPRETERS, str(tmp_path / "mine" / "python"))

    assert is_allowed(f"{tmp_path}/mine/../mine/python")
    assert not is_allowed(f"{tmp_path}/mine/link/../python")


def test_what_is_started_is_the_path_that_was_looked_at(tmp_path, monkeypatch):
    (tmp_path / "env").mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "env")
    monkeypatch.setenv(INTERPRETERS, str(tmp_path / "env" / "python"))

    assert check_allowed(str(tmp_path / "current" / "python")) == str(tmp_path.resolve() / "env" / "python")


def test_empty_and_relative_names_in_the_variable_allow_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(INTERPRETERS, ":.:python:")

    assert not is_allowed(str(tmp_path))
    assert not is_allowed(str(tmp_path / "python"))
