"""The workspace's manual: ``nox -l`` lists what there is to run, ``nox -s <session>`` runs it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "virtualenv"  # uv would not honour PIP_CONSTRAINT
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
nox.options.sessions = ["lint", "types", "tests"]

PACKAGES = {
    "core": "packages/backtester-model-core",
    "sklearn": "packages/backtester-model-sklearn",
    "scipy": "packages/backtester-model-scipy",
    "tf": "packages/backtester-model-tf",
    "torch": "packages/backtester-model-torch",
    "isolated": "packages/backtester-model-isolated",
    "cli": "packages/backtester-model-cli",
}
BRIDGES = {
    "bt": "packages/backtester-model-bt",
    "vectorbt": "packages/backtester-model-vectorbt",
    "backtesting": "packages/backtester-model-backtesting",
}
FOLDERS = [*PACKAGES.values(), *BRIDGES.values()]
CORE_TESTS = f"{PACKAGES['core']}[yaml,parquet,testing]"
DEEP = {"tf": f"{PACKAGES['tf']}[cpu]", "torch": PACKAGES["torch"]}  # what takes long to install
COMMAND = [CORE_TESTS, PACKAGES["sklearn"], PACKAGES["scipy"], PACKAGES["isolated"], PACKAGES["cli"]]
WORKSPACE = [*COMMAND, *DEEP.values()]
EXAMPLES = ["examples/backtester-model-lightgbm", "examples/backtester-model-mlflow"]
CORE_TOOLS = ["pytest-cov", "TA-Lib", "numba"]  # TA-Lib is the oracle of indicators, numba of step functions
BUILD_BACKEND = ["hatchling", "editables"]


def install(session: nox.Session, *requirements: str, constraints: str = "constraints.txt") -> None:
    """Install requirements at the tested versions."""
    session.env["PIP_CONSTRAINT"] = str(Path(constraints).resolve())
    session.install(*requirements)


def install_packages(
    session: nox.Session,
    *packages: str,
    tools: list[str] | None = None,
    editable: bool = True,
    constraints: str = "constraints.txt",
) -> None:
    """Install packages of this workspace with the dependencies that their own metadata name.

    A build back end that is there already spares pip an environment of its own for each package.
    """
    install(session, *BUILD_BACKEND, constraints=constraints)
    folders = [part for package in packages for part in (["-e"] if editable else []) + [f"./{package}"]]
    install(session, "--no-build-isolation", *folders, *(tools or []), constraints=constraints)


def run_pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest with one OpenMP thread, as several on few cores only wait for each other.

    As a module it finds the tests' own adapters in worker processes too. What was covered is kept with the
    session's environment, so that sessions may run at the same time.
    """
    covered = str(Path(session.virtualenv.location).resolve() / "coverage")
    session.run(
        "python",
        "-m",
        "pytest",
        *arguments,
        *session.posargs,
        env={"OMP_NUM_THREADS": "1", "COVERAGE_FILE": covered},
    )


@nox.session
def demo(session: nox.Session) -> None:
    """Install the packages as a user would, and run the demonstration on the sample bars."""
    install_packages(session, *(PACKAGES[name] for name in ("core", "sklearn", "cli")), editable=False)
    session.run("backtester-model", "demo", *session.posargs)


@nox.session
@nox.parametrize("part", [nox.param(name, id=name) for name in (*PACKAGES, *BRIDGES, "workflows")])
def tests(session: nox.Session, part: str) -> None:
    """Test each package in an environment of its own (the core with no adapter), then all but the bridges together."""
    folder = (PACKAGES | BRIDGES).get(part)
    folders = [f"{folder}/src", f"{folder}/tests"] if folder else ["tests"]
    if part == "core":
        install_packages(session, CORE_TESTS, tools=CORE_TOOLS)
    elif part == "sklearn":
        # An independent purging to compare with; it needs scikit-learn, which the core's environment must not have.
        install_packages(session, CORE_TESTS, PACKAGES["sklearn"], tools=["pytest-cov", "purgedcv"])
        folders.append(f"{PACKAGES['core']}/tests/test_splits_oracle.py")
    elif part == "scipy":
        # Independent estimates to agree with; the package itself needs neither of them.
        install_packages(session, CORE_TESTS, PACKAGES["scipy"], tools=["pytest-cov", "arch", "statsmodels"])
    elif part == "isolated":
        install_packages(session, CORE_TESTS, PACKAGES["sklearn"], PACKAGES["isolated"], tools=["pytest-cov"])
    elif part in DEEP:
        # With what lets the session `isolated` ask it from another environment.
        install_packages(session, CORE_TESTS, DEEP[part], PACKAGES["isolated"], tools=["pytest-cov"])
    elif part in BRIDGES:
        # Engines drag much along that nothing imports, and need not get on: each has an environment for itself.
        # numba would compile vectorbt for longer than all tests take; nox -s engines runs it compiled.
        session.env.update(PIP_COMPILE="0", NUMBA_DISABLE_JIT="1")
        core = f"{PACKAGES['core']}[testing]"
        install_packages(session, core, PACKAGES["scipy"], BRIDGES[part], tools=["pytest-cov"])
        folders.append(f"tests/test_docs.py::test_the_python_blocks_of_a_page_run[{BRIDGES[part]}/README.md]")
    elif part == "cli":
        install_packages(session, *COMMAND)
    else:
        install_packages(session, *WORKSPACE)
    arguments = ["--doctest-modules", *folders]
    if part not in {"cli", "workflows"} and not session.posargs:
        arguments += [f"--cov=backtester_model_{part}", "--cov-fail-under=95"]
    run_pytest(session, *arguments)


@nox.session
def isolated(session: nox.Session) -> None:
    """Serve a walk-forward by TensorFlow and torch, each in an environment of its own, from one that has neither."""
    install_packages(session, CORE_TESTS, PACKAGES["isolated"])
    for part in DEEP:
        python = find_environment(session, part) or make_environment(session, part)
        session.env[f"BACKTESTER_MODEL_{part.upper()}_PYTHON"] = str(python)
    run_pytest(session, "tests/test_isolated_environments.py")


def find_environment(session: nox.Session, part: str) -> Path | None:
    """Return the interpreter of the session that tests a package, where it is there and has what is needed."""
    python = Path(session.virtualenv.location).resolve().parent / f"tests-{part}" / "bin" / "python"
    asked = f"import backtester_model_isolated.child, backtester_model_{part}.adapter"
    if not python.exists():
        return None
    answer = session.run(
        str(python), "-I", "-c", f"{asked}; print('here')", silent=True, success_codes=[0, 1], external=True
    )
    return python if str(answer).strip().endswith("here") else None


def make_environment(session: nox.Session, part: str) -> Path:
    """Make an environment with a package and what asks it from another."""
    folder = Path(session.virtualenv.location).resolve().parent / f"isolated-{part}"
    python = folder / "bin" / "python"
    if not python.exists():
        session.run("python", "-m", "venv", str(folder))
    install = [str(python), "-m", "pip", "install", "--quiet"]
    session.run(*install, *BUILD_BACKEND, external=True)
    packages = [PACKAGES["core"], DEEP[part], PACKAGES["isolated"]]
    editable = [word for package in packages for word in ("-e", f"./{package}")]
    session.run(*install, "--no-build-isolation", *editable, external=True)
    return python


@nox.session
def torture(session: nox.Session) -> None:
    """Kill two hundred writers of a saved model with each adapter's files, at random moments."""
    install_packages(session, *WORKSPACE)
    folders = [f"{folder}/tests" for name, folder in PACKAGES.items() if name != "cli"]
    session.env["BACKTESTER_MODEL_KILLS"] = "200"
    run_pytest(session, "-k", "killed_saves or kills", *folders)


@nox.session
def tests_oldest(session: nox.Session) -> None:
    """Test the core with the oldest versions that its metadata allow, but for what is exhaustive."""
    install_packages(session, CORE_TESTS, tools=CORE_TOOLS, constraints="constraints-oldest.txt")
    run_pytest(session, "-m", "not exhaustive", f"{PACKAGES['core']}/tests")


@nox.session(python=["3.12", "3.13"])
def tests_python(session: nox.Session) -> None:
    """Test the core on later Pythons, where they are installed."""
    install_packages(session, CORE_TESTS, tools=CORE_TOOLS)
    run_pytest(session, f"{PACKAGES['core']}/tests")


@nox.session
def docs(session: nox.Session) -> None:
    """Run every Python block of the documentation, and follow its links."""
    install_packages(session, *WORKSPACE)
    run_pytest(session, "tests/test_docs.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and which room imports which."""
    install(session, "ruff", "import-linter")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    sources = os.pathsep.join(f"{folder}/src" for folder in FOLDERS)
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": sources})


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of every package, strictly."""
    install_packages(session, *WORKSPACE, tools=["mypy", "pandas-stubs", "types-PyYAML"])
    session.run("mypy", "--strict", *(f"{folder}/src" for folder in FOLDERS))


@nox.session
def dist(session: nox.Session) -> None:
    """Build every package, check the archives, and use them in a clean environment outside the workspace."""
    install(session, *BUILD_BACKEND, "build")
    with tempfile.TemporaryDirectory(prefix="backtester-model-dist-") as folder:
        archives, from_tree, clean = (Path(folder, name) for name in ("dist", "from-tree", "clean"))
        for package in FOLDERS:
            # Without --wheel, build makes the sdist, and the wheel from that sdist.
            build = ["python", "-m", "build", "--no-isolation"]
            session.run(*build, "--outdir", str(archives), package)
            session.run(*build, "--outdir", str(from_tree), "--wheel", package)
        session.run("python", "tools/check_dist.py", str(archives), str(from_tree))
        session.run("python", "-m", "venv", str(clean))
        python = str(clean / "bin" / "python")
        extras = {"backtester_model_tf": "[cpu]"}  # which TensorFlow is the user's choice
        # The bridges stay out: engines need not get on with each other.
        together = {Path(package).name.replace("-", "_") for package in PACKAGES.values()}
        wheels = [
            f"{wheel}{extras.get(wheel.name.split('-')[0], '')}"
            for wheel in sorted(archives.glob("*.whl"))
            if wheel.name.split("-")[0] in together
        ]
        session.run(python, "-m", "pip", "install", "--quiet", *wheels, external=True)
        session.run(python, "-m", "pip", "check", external=True)
        smoke = shutil.copy("tools/smoke_dist.py", folder)
        with session.chdir(folder):
            session.run(python, "-I", smoke, external=True)


@nox.session
def authors(session: nox.Session) -> None:
    """Become an author: make a project of each kind, and test it and the example packages as wheels."""
    install(session, *BUILD_BACKEND, "pytest", "hypothesis")
    with tempfile.TemporaryDirectory(prefix="backtester-model-authors-") as folder:
        wheels, clean = Path(folder, "wheels"), Path(folder, "clean")
        pip_wheel = ["python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        for package in (PACKAGES["core"], PACKAGES["cli"], *EXAMPLES):
            session.run(*pip_wheel, "--wheel-dir", str(wheels), f"./{package}")
        session.run("python", "-m", "venv", str(clean))
        session.env["PIP_FIND_LINKS"] = str(wheels)
        brought = ["backtester-model-cli", *(f"{Path(example).name}[testing]" for example in EXAMPLES)]
        pip_install = [str(clean / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
        session.run(*pip_install, *BUILD_BACKEND, "ruff", "mypy", *brought, external=True)
        session.env["BACKTESTER_MODEL_AUTHORS"] = str(clean / "bin")
        run_pytest(session, "tests/test_authors.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, or those that are named first: nox -s bench -- walkforward --help."""
    paths = sorted(Path("benchmarks").glob("*.py"))
    scripts = {path.stem: str(path) for path in paths if "__main__" in path.read_text()}
    del scripts["engine_agreement"]  # nox -s engines has the engines
    named = [name for name in session.posargs if name in scripts]
    arguments = [argument for argument in session.posargs if argument not in scripts]
    install_packages(session, *WORKSPACE, tools=["numba", "TA-Lib"])
    for name in named or scripts:
        session.run("python", scripts[name], *arguments, env={"OMP_NUM_THREADS": "1"})


@nox.session
def ecosystem(session: nox.Session) -> None:
    """Try contracts, planted leaks, hostile plugins and hostile configurations, and print what came of them."""
    install_packages(session, *WORKSPACE)
    session.run("python", "benchmarks/ecosystem.py", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def engines(session: nox.Session) -> None:
    """Run the same signals through bt, vectorbt and backtesting.py, and print how far each is from the core."""
    install_packages(session, CORE_TESTS, PACKAGES["sklearn"], PACKAGES["cli"], *BRIDGES.values())
    quiet = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    session.run("python", "benchmarks/engine_agreement.py", *session.posargs, env=quiet)


@nox.session
def mutation(session: nox.Session) -> None:
    """Change operators, labels and splits one thing at a time: is it noticed? nox -s mutation -- splits."""
    install_packages(session, CORE_TESTS, tools=["TA-Lib", "numba"])
    session.run("python", "tools/mutate.py", *session.posargs)


@nox.session
def sample_bars(session: nox.Session) -> None:
    """Make the shipped sample bars again from their source, and fail when a byte differs."""
    install(session, "bokeh_sampledata", "pandas")
    session.run("python", "tools/make_sample_bars.py")
    session.run("git", "diff", "--exit-code", "--stat", "--", "*/sample_bars/daily.csv.gz", external=True)
