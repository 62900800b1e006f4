"""A configuration is data: whatever is written in one, it becomes a configuration or our error, and nothing else.

``BACKTESTER_MODEL_FUZZ=10000`` tries as many made-up files and expressions, and each text at each place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from hostile_configurations import STRINGS, Report, run_watched
from hostile_configurations.watching import PROGRAM

N_CASES = int(os.environ.get("BACKTESTER_MODEL_FUZZ", "300"))
IS_LONG = "BACKTESTER_MODEL_FUZZ" in os.environ


@pytest.fixture(scope="module")
def tried() -> Mapping[str, Report]:
    every, cases = ("1" if IS_LONG else "9"), str(N_CASES)
    works = ["injections", "documents", "fuzz"]
    return run_watched(*works, "--every", every, "--cases", cases, seconds=7200)


def test_there_are_sixty_texts_and_none_twice() -> None:
    assert len(set(STRINGS)) == len(STRINGS) >= 60


def test_no_text_at_any_place_of_any_configuration_does_anything(tried) -> None:
    assert tried["injections"].surprises == []
    assert tried["injections"].cases > 500


def test_no_text_written_into_a_file_as_it_is_does_anything(tried) -> None:
    assert tried["documents"].surprises == []
    assert tried["documents"].cases == 5 * len(STRINGS)


def test_any_file_and_any_expression_is_accepted_or_refused_in_one_way(tried) -> None:
    assert tried["fuzz"].surprises == []
    assert tried["fuzz"].cases == N_CASES


def test_some_are_accepted_so_that_what_follows_is_tried_too(tried) -> None:
    assert all(0 < report.accepted < report.cases for report in tried.values())


CARELESS = {
    "eval": "eval('1 + 1')",
    "another file": "open('/etc/passwd').close()",
    "another folder": "os.listdir('/etc')",
    "a new file": "open('new', 'w').close()",
    "an import": "importlib.import_module('colorsys')",
    "an import that fails": "importlib.util.find_spec('no.such') if 0 else importlib.import_module('no_such')",
    "a process": "subprocess.run(['true'])",
    "a shell": "os.system('true')",
    "a connection": "socket.socket().connect_ex(('127.0.0.1', 9))",
    "a pickle": "pickle.loads(pickle.dumps(os.getcwd))",
    "a hang": "time.sleep(30)",
    "another error": "{}['a']",
}


def test_the_watch_sees_whatever_a_careless_reader_does(tmp_path) -> None:
    works = "\n".join(f"watch.case(lambda: {code}, {name!r})" for name, code in CARELESS.items())
    program = dedent("""
        import importlib, importlib.util, json, os, pickle, socket, subprocess, sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        import watched
        watched.SECONDS = 1
        watch = watched.Watch(Path())
        {}
        print(json.dumps([each.split(" -> ")[0] for each in watch.surprises]))
    """)

    done = subprocess.run(
        [sys.executable, "-c", program.format(works.replace("\n", "\n")), str(Path(PROGRAM).parent)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert {name for name in CARELESS if f'"{name}"' not in done.stdout} == set()
