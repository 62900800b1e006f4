"""``backtester-model new-adapter``, ``new-extension``, ``new-features``: a whole package to begin from.

A project is the files of ``templates/shared`` and of one folder beside it. ``$words`` in them are filled in by the
standard library's ``string.Template``, and a folder named ``package`` takes the package's name: no template engine is
needed to read them.
"""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Annotated

import typer

TEMPLATES = Path(__file__).with_name("templates")
SUFFIX = ".template"
PREFIX = "backtester-model-"
NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
MAX_CHARACTERS = 30
PACKAGES = {"backtesting", "bt", "cli", "core", "isolated", "scipy", "sklearn", "tf", "torch", "vectorbt"}
FRAMEWORKS = {"keras", "pytorch", "tensorflow"}
TAKEN = PACKAGES | FRAMEWORKS

KINDS: Mapping[str, Mapping[str, str]] = {
    "adapter": {
        "group": "backtester_model.adapters",
        "entry": "$identifier",
        "value": "adapter:${title}Adapter",
        "description": "Models of $identifier as a backtester-model adapter.",
    },
    "extension": {
        "group": "backtester_model.extensions",
        "entry": "$name",
        "value": "extension",
        "description": "Logs every training of a backtester-model model.",
    },
    "features": {
        "group": "backtester_model.extensions",
        "entry": "$name",
        "value": "extension",
        "description": "Feature operators and a feature set for backtester-model.",
    },
}
"""What each kind of project says about itself in its metadata; words may stand for others."""


def _check_name(name: str) -> str:
    """Return a name in lower case with dashes, or refuse what can name neither a package nor a framework."""
    if name.startswith(PREFIX):
        raise typer.BadParameter(f"{PREFIX!r} is put before it. Give {name.removeprefix(PREFIX)!r}.")
    if not NAME.fullmatch(name) or len(name) > MAX_CHARACTERS:
        raise typer.BadParameter(
            f"{name!r} cannot name a package. Take at most {MAX_CHARACTERS} lower-case letters, digits and single "
            "dashes, the first a letter, such as 'my-model'."
        )
    dashed = name.replace("_", "-")
    if dashed in TAKEN or keyword.iskeyword(name):
        raise typer.BadParameter(f"{name!r} is taken: packages and frameworks need names of their own.")
    return dashed


NameArgument = Annotated[
    str,
    typer.Argument(callback=_check_name, help=f"What it is called; the package becomes {PREFIX}NAME."),
]
OutOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help=f"Folder to make; by default {PREFIX}NAME in this one."),
]


def new_adapter(name: NameArgument, out: OutOption = None) -> None:
    """Make the project of an adapter for an ML framework: it installs, and keeps the adapter contract."""
    _make("adapter", name, out)


def new_extension(name: NameArgument, out: OutOption = None) -> None:
    """Make the project of an extension that does something around a step of every model."""
    _make("extension", name, out)


def new_features(name: NameArgument, out: OutOption = None) -> None:
    """Make the project of feature operators and a feature set that any configuration may name."""
    _make("features", name, out)


def _make(kind: str, name: str, out: Path | None) -> None:
    folder = Path(f"{PREFIX}{name}") if out is None else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise typer.BadParameter(
            f"{folder} is there and not empty; nothing was written. Name another folder.",
            param_hint="--out",
        )
    words = _words(kind, name)
    files = dict(_rendered(kind, words))
    try:
        _write(folder, files)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)  # it was not there, or empty
        raise typer.BadParameter(
            f"{folder} cannot be written: {error.strerror}. Name another folder.", param_hint="--out"
        ) from error
    typer.echo(f"Made {folder} ({len(files)} files). Next:")
    typer.echo(f"  cd {folder}")
    typer.echo('  pip install -e ".[testing]"')
    typer.echo("  pytest")


def _write(folder: Path, files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _words(kind: str, name: str) -> dict[str, str]:
    """Return what each word of the templates stands for."""
    core = version("backtester-model-core").split(".")
    words = {
        "name": name,
        "distribution": f"{PREFIX}{name}",
        "package": f"{PREFIX}{name}".replace("-", "_"),
        "identifier": name.replace("-", "_"),
        "framework": name.replace("-", "_"),
        "title": "".join(part.capitalize() for part in name.split("-")),
        "core": f"{core[0]}.{core[1]}",
        "next_core": f"{core[0]}.{int(core[1]) + 1}" if core[0] == "0" else f"{int(core[0]) + 1}",
    }
    return words | {key: Template(text).substitute(words) for key, text in KINDS[kind].items()}


def _rendered(kind: str, words: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield each file's path in the project and its text."""
    for room in ("shared", kind):
        for template in sorted((TEMPLATES / room).rglob(f"*{SUFFIX}")):
            parts = template.relative_to(TEMPLATES / room).parts
            path = Path(*(words["package"] if part == "package" else part for part in parts))
            text = Template(template.read_text(encoding="utf-8")).substitute(words)
            yield path.with_name(path.name.removesuffix(SUFFIX)), text
