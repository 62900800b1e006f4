"""The house rules that no linter knows: packaging, rooms, the error tree, exports."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pickle
import pkgutil
import re
import tomllib
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from backtester_model_core import exceptions
from backtester_model_core.exceptions import BacktesterModelError

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
ENGINES = {"backtesting", "bt", "vectorbt"}
BRIDGES = {f"backtester-model-{engine}" for engine in ENGINES}  # not installed here
SOURCES = sorted(path for package in PACKAGES for path in package.glob("src/**/*.py"))
CORE_SOURCES = [path for path in SOURCES if "backtester_model_core" in path.parts]
FRAMEWORKS = {
    "catboost",
    "jax",
    "keras",
    "lightgbm",
    "scipy",
    "sklearn",
    "tensorflow",
    "torch",
    "xgboost",
} | ENGINES
ERRORS = {
    name: error
    for name, error in vars(exceptions).items()
    if inspect.isclass(error) and issubclass(error, BacktesterModelError)
}

in_each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)


def pyproject(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def import_name(package: Path) -> str:
    return package.name.replace("-", "_")


# -- packages ----------------------------------------------------------------------------------------------------


@in_each_package
def test_a_package_is_typed_and_carries_the_licence(package: Path) -> None:
    assert (package / "src" / import_name(package) / "py.typed").is_file()
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@in_each_package
def test_a_package_reads_the_one_version(package: Path) -> None:
    metadata = pyproject(package)

    assert metadata["project"]["dynamic"] == ["version"]
    assert (package / metadata["tool"]["hatch"]["version"]["path"]).resolve() == ROOT / "VERSION"
    if package.name not in BRIDGES:
        assert version(package.name) == (ROOT / "VERSION").read_text().strip()


@in_each_package
def test_a_package_depends_on_its_siblings_by_a_range(package: Path) -> None:
    needs = [Requirement(text) for text in pyproject(package)["project"]["dependencies"]]

    siblings = [need for need in needs if need.name.startswith("backtester-model")]
    assert all({one.operator for one in need.specifier} == {">=", "<"} for need in siblings)
    assert bool(siblings) == (package.name != "backtester-model-core")


def test_the_core_depends_on_five_packages_and_nothing_else() -> None:
    needs = pyproject(ROOT / "packages/backtester-model-core")["project"]["dependencies"]

    assert {Requirement(text).name for text in needs} == {"joblib", "numpy", "pandas", "pluggy", "pydantic"}


@in_each_package
def test_the_tools_know_every_package(package: Path) -> None:
    contracts = pyproject(ROOT)["tool"]["importlinter"]

    assert import_name(package) in contracts["root_packages"]
    assert f'"packages/{package.name}"' in (ROOT / "noxfile.py").read_text()


def test_pre_commit_formats_with_the_version_that_lint_checks_with() -> None:
    pinned = re.findall(r"^ruff==\S+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)

    hooks = (ROOT / ".pre-commit-config.yaml").read_text()

    assert set(re.findall(r"ruff==[\d.]+", hooks)) == set(pinned)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(constraints: str) -> dict[str, str]:
    """Return the exact version that a constraints file gives each distribution."""
    lines = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / constraints).read_text(), re.MULTILINE)
    return {canonical(name): pin for name, pin in lines}


def test_the_oldest_tested_versions_are_the_lower_bounds_of_the_core() -> None:
    project = pyproject(ROOT / "packages/backtester-model-core")["project"]
    needs = [
        *project["dependencies"],
        *(need for extra in project["optional-dependencies"].values() for need in extra),
    ]

    bounds = {canonical(need.name): str(need.specifier) for need in map(Requirement, needs)}

    oldest = {name: Version(pin) for name, pin in pins("constraints-oldest.txt").items() if name in bounds}
    assert oldest == {name: Version(bound.removeprefix(">=")) for name, bound in bounds.items()}


def requirements_of(package: Path) -> set[str]:
    """Return the distributions that a package may bring along, with every extra."""
    project = pyproject(package)["project"]
    extras = project.get("optional-dependencies", {}).values()
    needs = [*project["dependencies"], *(need for extra in extras for need in extra)]
    return {canonical(Requirement(need).name) for need in needs}


def test_the_licence_of_every_dependency_was_checked_at_its_tested_version() -> None:
    table = (ROOT / "docs/decisions/0004-permissive-licences.md").read_text()
    checked = {
        canonical(row[0]): row[2]
        for row in (re.split(r"\s*\|\s*", line.strip("| ")) for line in table.splitlines() if line[:1] == "|")
    }
    constraints = (ROOT / "constraints.txt").read_text()
    tested = {
        canonical(name): pin for name, pin in re.findall(r"^([\w.-]+)==(\S+)", constraints, re.MULTILINE)
    }

    names = set().union(*map(requirements_of, PACKAGES))

    assert {name for name in names if not name.startswith("backtester-model")} <= set(checked)
    assert {name: tested.get(name, pin) for name, pin in checked.items()} == checked


@in_each_package
def test_nothing_but_its_own_bridge_depends_on_an_engine(package: Path) -> None:
    engine = {package.name.removeprefix("backtester-model-")} & ENGINES

    needs = requirements_of(package)

    assert needs & (ENGINES | BRIDGES) == engine


@pytest.mark.parametrize(
    ("engine", "licence"),
    [("backtesting", "AGPL-3.0"), ("bt", "MIT"), ("vectorbt", "Apache-2.0 with the Commons Clause")],
)
def test_a_bridge_says_in_its_readme_what_licence_its_engine_is_under(engine: str, licence: str) -> None:
    readme = (ROOT / f"packages/backtester-model-{engine}/README.md").read_text()

    section = readme.split("## Licences")[1]

    assert licence in section
    assert "MIT" in section  # the bridge's own


# -- rooms -------------------------------------------------------------------------------------------------------


def frameworks_imported(path: Path) -> set[str]:
    """Return the frameworks that a source file imports anywhere, also late or for type checking."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add(str(node.module).split(".")[0])
    return imported & FRAMEWORKS


def test_the_core_imports_no_framework() -> None:
    found = {path.name: frameworks_imported(path) for path in CORE_SOURCES}

    assert {name: frameworks for name, frameworks in found.items() if frameworks} == {}
    assert len(found) > 10


@pytest.mark.parametrize(
    "planted",
    [
        "import sklearn.linear_model as models",
        "from torch.nn import Module",
        "def late():\n    import keras",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from scipy import stats",
    ],
)
def test_the_scan_for_frameworks_finds_a_planted_one(tmp_path: Path, planted: str) -> None:
    source = tmp_path / "room.py"
    source.write_text(planted)

    assert len(frameworks_imported(source)) == 1


def test_no_module_is_a_drawer() -> None:
    drawers = {"base", "common", "compat", "helper", "helpers", "misc", "util", "utils"}

    assert [path for path in SOURCES if {path.stem, path.parent.name} & drawers] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "packages")))
def test_a_module_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_every_test_module_has_a_name_of_its_own() -> None:
    modules = [path for folder in (ROOT / "packages", ROOT / "tests") for path in folder.rglob("test_*.py")]

    names = Counter(path.name for path in modules)

    assert [name for name, count in names.items() if count > 1] == []


def test_test_folders_are_no_packages() -> None:
    assert [*ROOT.glob("tests/**/__init__.py"), *ROOT.glob("packages/*/tests/**/__init__.py")] == []


# -- exports -----------------------------------------------------------------------------------------------------


def modules_of(package: Path) -> list[str]:
    """Return the names of a package's modules, without the one that runs when it is imported."""
    root = importlib.import_module(import_name(package))
    found = [module.name for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}.")]
    return [root.__name__, *(name for name in found if not name.endswith(".__main__"))]


@pytest.mark.parametrize(
    "package",
    [package for package in PACKAGES if package.name not in BRIDGES],
    ids=lambda package: package.name,
)
def test_every_exported_name_exists(package: Path) -> None:
    modules = [importlib.import_module(name) for name in modules_of(package)]

    missing = [
        f"{module.__name__}.{name}"
        for module in modules
        for name in getattr(module, "__all__", ())
        if not hasattr(module, name)
    ]

    assert missing == []


# -- errors ------------------------------------------------------------------------------------------------------


def drawn_errors() -> dict[str, tuple[str, str]]:
    """Read the tree in the module's docstring: each class with its parent and its builtin parent."""
    drawn, branch = {}, ["BacktesterModelError"]
    for line in str(exceptions.__doc__).splitlines():
        if "── " in line:
            depth = line.index("──") // 4
            name, builtin = line.split("── ")[1].split()[:2]
            branch[depth:] = [name]
            drawn[name] = (branch[depth - 1], builtin)
    return drawn


def test_the_drawing_of_the_error_tree_shows_every_error() -> None:
    assert {"BacktesterModelError", *drawn_errors()} == set(ERRORS)


@pytest.mark.parametrize("name", drawn_errors())
def test_an_error_has_the_two_parents_that_are_drawn(name: str) -> None:
    parent, builtin = drawn_errors()[name]

    assert ERRORS[name].__mro__[1] is ERRORS[parent]
    assert issubclass(ERRORS[name], getattr(builtins, builtin))


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_comes_back_from_a_worker_as_it_was(name: str) -> None:
    error = ERRORS[name]("what was asked, what there is, what to do")

    returned = pickle.loads(pickle.dumps(error))

    assert (type(returned), str(returned)) == (type(error), str(error))
    assert "__init__" not in vars(ERRORS[name])
