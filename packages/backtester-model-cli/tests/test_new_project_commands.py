"""New projects: what they hold, that they are clean, and which names and folders are refused.

That they install and pass their own tests as wheels is tested by ``nox -s authors``.
"""

from __future__ import annotations

import ast
import errno
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from backtester_model_core.plugins import FIRST_PARTY

PACKAGES = Path(__file__).parents[2].glob("backtester-model-*")
KINDS = ("adapter", "extension", "features")
AS_EXTENSION = {"backtester_model.extensions": {"my-murmur": "backtester_model_my_murmur.extension"}}
ENTRY_POINTS = {
    "adapter": {
        "backtester_model.adapters": {"my_murmur": "backtester_model_my_murmur.adapter:MyMurmurAdapter"}
    },
    "extension": AS_EXTENSION,
    "features": AS_EXTENSION,
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def make(invoke, tmp_path):
    """Make one project and return its folder."""

    def run(kind: str, name: str = "my-murmur") -> Path:
        done = invoke(f"new-{kind}", name, "--out", tmp_path / kind)
        assert done.exit_code == 0, done.output
        return tmp_path / kind

    return run


@each_kind
def test_a_project_has_all_that_a_package_needs(make, kind) -> None:
    folder = make(kind)

    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    package = "src/backtester_model_my_murmur"
    assert {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        ".gitignore",
        ".github/workflows/tests.yml",
        f"{package}/__init__.py",
        f"{package}/py.typed",
    } <= files
    assert [name for name in files if name.startswith("tests/test_")]


@each_kind
def test_no_word_of_a_template_is_left_in_a_project(make, kind) -> None:
    folder = make(kind)

    texts = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    left = [path.name for path, text in texts.items() if "$" in text.replace("${{ matrix.python }}", "")]
    assert left == []
    assert "${{ matrix.python }}" in texts[folder / ".github/workflows/tests.yml"]
    for path, text in texts.items():
        if path.suffix == ".py":
            ast.parse(text)


@each_kind
def test_a_project_needs_a_range_of_cores_and_names_its_entry_point(make, kind) -> None:
    project = tomllib.loads((make(kind) / "pyproject.toml").read_text())["project"]

    (need,) = map(Requirement, project["dependencies"])
    assert (need.name, {one.operator for one in need.specifier}) == ("backtester-model-core", {">=", "<"})
    assert project["optional-dependencies"]["testing"][0].startswith("backtester-model-core[testing]>=")
    assert project["entry-points"] == ENTRY_POINTS[kind]


def test_without_out_the_folder_is_named_after_the_package(invoke, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    done = invoke("new-extension", "murmur")

    assert (tmp_path / "backtester-model-murmur" / "pyproject.toml").is_file()
    assert "cd backtester-model-murmur" in done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Murmur",
        "9lives",
        "-x",
        "a--b",
        "a_",
        "a b",
        "ä",
        "a/b",
        "../x",
        "a.b",
        "x" * 31,
        "a\n",
        '"',
        "$x",
    ],
)
def test_what_cannot_name_a_package_is_refused(invoke, tmp_path, name) -> None:
    done = invoke("new-adapter", "--out", tmp_path / "made", "--", name)

    assert done.exit_code == 2
    assert "cannot name a package" in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("class", "is taken"),
        ("backtester-model-x", "Give 'x'"),
    ],
)
def test_a_name_that_is_taken_is_refused(invoke, tmp_path, name, reason) -> None:
    done = invoke("new-adapter", name, "--out", tmp_path / "made")

    assert done.exit_code == 2
    assert reason in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "name", sorted({*FIRST_PARTY, *(path.name.removeprefix("backtester-model-") for path in PACKAGES)})
)
def test_our_own_packages_and_frameworks_are_not_made_again(invoke, tmp_path, name) -> None:
    done = invoke("new-adapter", name, "--out", tmp_path / "made")

    assert done.exit_code == 2
    assert "is taken" in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("is_file", [False, True])
def test_a_folder_that_holds_something_is_left_alone(invoke, tmp_path, is_file) -> None:
    kept = tmp_path / "kept"
    if not is_file:
        kept.mkdir()
    (kept if is_file else kept / "mine.txt").write_text("mine")

    done = invoke("new-features", "murmur", "--out", kept)

    assert done.exit_code == 2
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.rglob("*.*")] == ([] if is_file else ["mine.txt"])


def test_an_empty_folder_is_filled(invoke, tmp_path) -> None:
    done = invoke("new-features", "murmur", "--out", tmp_path)

    assert done.exit_code == 0
    assert (tmp_path / "src/backtester_model_murmur/extension.py").is_file()


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(invoke, tmp_path, monkeypatch) -> None:
    write_text = Path.write_text

    def full(path: Path, text: str, **options: str) -> int:
        if path.name == "pyproject.toml":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)

    done = invoke("new-adapter", "murmur", "--out", tmp_path / "made")

    assert done.exit_code == 2
    assert "No space left on device" in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "made").exists()
