"""Becoming an author, as a stranger would: projects are made, built, installed and tested beside the core's wheel.

``nox -s authors`` builds the wheels and a clean environment; without it there is nothing to test here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/pyproject.toml"))
CLEAN = os.environ.get("BACKTESTER_MODEL_AUTHORS", "")
TRACKER = "mlflow"  # in force wherever it is installed: only its own tests want that

pytestmark = pytest.mark.skipif(not CLEAN, reason="nox -s authors builds the wheels and the environment")

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command of the clean environment, and return what it says."""

    def command(*arguments: str | Path, folder: Path = tmp_path, tracked: bool = False) -> str:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([CLEAN, os.environ["PATH"]]),
            "VIRTUAL_ENV": str(Path(CLEAN).parent),
            "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the negation: with what the environment has
            "BACKTESTER_MODEL_DISABLE": "" if tracked else TRACKER,
            "MYPY_CACHE_DIR": str(Path(CLEAN).parent / "mypy-cache"),  # what the projects share is read once
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [str(argument) for argument in arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    return command


def check_sources(run: Run, project: Path) -> None:
    """Lint a project, by its own settings."""
    run("ruff", "check", folder=project)
    run("ruff", "format", "--check", folder=project)


def check_installed(run: Run, project: Path, *, tracked: bool = False) -> None:
    """Run a project's tests, and the Python blocks of its README, on the package that is installed."""
    package = project.name.replace("-", "_")
    where = run("python", "-c", f"import {package}; print({package}.__file__)", folder=project)
    assert "site-packages" in where
    said = run("python", "-m", "pytest", "-q", folder=project, tracked=tracked)
    assert re.search(r"\d+ passed", said)
    for block in re.findall(
        r"^```python\n(.*?)^```$", (project / "README.md").read_text(), re.MULTILINE | re.DOTALL
    ):
        run("python", "-W", "error", "-c", block, folder=project)


@pytest.mark.parametrize("kind", ["adapter", "extension", "features"])
def test_a_new_project_is_clean_and_its_wheel_passes_its_own_tests(
    kind: str, run: Run, tmp_path: Path
) -> None:
    project = tmp_path / f"backtester-model-first-{kind}"
    run("backtester-model", f"new-{kind}", f"first-{kind}")
    check_sources(run, project)
    run("mypy", "src", folder=project)

    run("pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, project)
    (wheel,) = tmp_path.glob("*.whl")
    run("pip", "install", "--no-deps", wheel)

    check_installed(run, project)


@pytest.mark.parametrize("kind", ["adapter", "extension", "features"])
def test_a_project_with_the_longest_name_is_clean(kind: str, run: Run, tmp_path: Path) -> None:
    name = "a-name-of-the-most-characters0"
    run("backtester-model", f"new-{kind}", name)

    check_sources(run, tmp_path / f"backtester-model-{name}")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_clean_and_its_wheel_passes_its_own_tests(
    example: Path, run: Run, tmp_path: Path
) -> None:
    project = tmp_path / example.name
    shutil.copytree(example, project)
    check_sources(run, project)
    run("mypy", "src", folder=project)

    check_installed(run, project, tracked=TRACKER in example.name)


def test_every_shell_step_of_the_page_on_adapters_runs(run: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs/write-an-adapter.md").read_text()
    steps = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(steps) >= 4

    said = run("bash", "-e", "-c", "\n".join(steps))

    assert re.search(r"\d\d passed", said)
    assert re.search(r"^murmur +adapter +backtester-model-murmur", said, re.MULTILINE)
    assert list((tmp_path / "backtester-model-murmur/dist").glob("*.whl"))


def test_all_that_was_installed_together_fits_together(run: Run) -> None:
    assert "No broken requirements" in run("pip", "check")
