"""Other environments for the tests: interpreters that find adapters which this process does not have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backtester_model_core.plugins import plugins
from backtester_model_isolated.interpreters import INTERPRETERS, allow_interpreter

ADAPTERS = {
    "leastsquares": "LeastSquares",
    "windowed": "Windowed",
    "moody": "Moody",
    "forgetful": "Forgetful",
}
CHILD = """
sys.path.insert(0, {folder!r})
from backtester_model_isolated.child import main
main(*map(int, sys.argv[-2:]))
"""


def write_interpreter(path: Path, code: str) -> str:
    """Write a program that is started as an interpreter would be, and return its path."""
    path.write_text(f"#!{sys.executable}\nimport sys\n{code}")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """Return the interpreter of an environment with the adapters of ``adapters_elsewhere.py``."""
    folder = tmp_path_factory.mktemp("elsewhere")
    source = Path(__file__).with_name("adapters_elsewhere.py").read_text()
    (folder / "adapters_elsewhere.py").write_text(source)
    info = folder / "adapters_elsewhere-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adapters-elsewhere\nVersion: 1.5\n")
    lines = [f"{name} = adapters_elsewhere:{value}" for name, value in ADAPTERS.items()]
    (info / "entry_points.txt").write_text("\n".join(["[backtester_model.adapters]", *lines]))
    return write_interpreter(folder / "python", CHILD.format(folder=str(folder)))


@pytest.fixture
def allowed(monkeypatch, elsewhere):
    """Allow that interpreter for a test, and nothing else."""
    monkeypatch.setenv(INTERPRETERS, elsewhere)
    assert "leastsquares" not in plugins().frameworks()
    return elsewhere


@pytest.fixture
def pretender(tmp_path, monkeypatch):
    """Return what allows a program of a test's own to pose as an interpreter."""

    def pose(code: str) -> str:
        path = write_interpreter(tmp_path / "pretender", code)
        monkeypatch.setenv(INTERPRETERS, "")
        allow_interpreter(path)
        return path

    return pose
