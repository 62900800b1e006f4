"""Real wheels, written by hand, and one real environment that pip installs them into."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from hostile_plugins.cases import ADAPTERS, EXTENSIONS, GOOD, Hostile

N_FLOCK = 50


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees the packages of the interpreter that made it, and has wheels of its own."""

    folder: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")


def make_environment(folder: Path) -> Environment:
    """Make an environment and install every hostile plugin into it, beside fifty adapters that are good."""
    made = Environment(folder / "environment")
    venv.create(made.folder, symlinks=True)
    (site,) = made.folder.glob("lib/python*/site-packages")
    workspace = [path for path in sys.path if path and Path(path).is_dir() and not _is_standard(path)]
    (site / "workspace.pth").write_text("\n".join(workspace))
    wheels = [
        *(wheel for plugin in (*ADAPTERS, *EXTENSIONS) for wheel in _wheels_of(plugin, folder)),
        *flock(folder, N_FLOCK),
    ]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        made.python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    options = ["--no-compile", "--disable-pip-version-check", *map(str, wheels)]
    done = subprocess.run([*pip, *options], check=False, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"pip does not install the wheels: {done.stderr[-2000:]}")
    for plugin in (*ADAPTERS, *EXTENSIONS):
        if plugin.is_torn:
            (info,) = site.glob(f"{plugin.owners[0].replace('-', '_')}-*.dist-info")
            (info / "METADATA").unlink()
    return made


def flock(folder: Path, n_adapters: int) -> Iterator[Path]:
    """Write wheels of as many good adapters, each a distribution of its own."""
    for number in range(n_adapters):
        name = f"flock_{number:02}"
        points = f"[backtester_model.adapters]\n{name} = {name}:Adapter\n"
        yield write_wheel(
            folder,
            f"of-{name}",
            version=f"1.{number}",
            modules={f"{name}.py": dedent(GOOD)},
            entry_points=points,
        )


def write_wheel(
    folder: Path, distribution: str, *, version: str, modules: Mapping[str, str], entry_points: str
) -> Path:
    """Write a wheel as a build back end would: modules, metadata, entry points, and a record of all digests."""
    stem = f"{distribution.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        **modules,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
    }
    record = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in files.items()]
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": "\n".join([*record, f"{info}/RECORD,,", ""])}.items():
            archive.writestr(name, text)
    return path


def _wheels_of(plugin: Hostile, folder: Path) -> Iterable[Path]:
    group = "extensions" if plugin.is_extension else "adapters"
    for owner in plugin.owners:
        module = f"hostile_{owner.replace('-', '_')}"
        points = f"[backtester_model.{group}]\n{plugin.name} = {plugin.value.format(module)}\n"
        yield write_wheel(
            folder,
            owner,
            version="1.0",
            modules={f"{module}.py": plugin.module},
            entry_points=points,
        )


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _is_standard(path: str) -> bool:
    """Whether a folder is the interpreter's own, which every environment has."""
    return Path(path).name.startswith(("python3", "lib-dynload")) or path.endswith(".zip")
