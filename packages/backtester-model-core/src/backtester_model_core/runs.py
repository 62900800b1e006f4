"""Run folders: what a walk-forward has finished, on disk, so that a killed run resumes and two may share a folder.

::

    FOLDER/
      entries/<key>/     one immutable folder per finished window: prediction.npz, entry.json, timings.json
      logs/<key>/001/    what the first training for a window has logged, where an adapter writes logs
      runs/<key>/        one immutable folder per run that was started here: run.json
      bars.npz           the bars of the run that was started last
      signals.parquet …  the results of the run that finished last, each replaced whole
      .tmp-…             what a writer has not finished; removed when that writer is gone

A key is a digest of everything an entry depends on: configuration, data and code. There is no index to corrupt:
the folders are the index, and making one is exclusive, so of two writers one wins and both are right.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import itertools
import json
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtester_model_core.exceptions import RunError
from backtester_model_core.storage import (
    replace_file,
    sweep_temporaries,
    sync_folder,
    temporary_folder,
    write_synced,
)
from backtester_model_core.typing import FloatArray

FORMAT = 1
ARRAYS = "prediction.npz"
ENTRY = "entry.json"
TIMINGS = "timings.json"
RUN = "run.json"

_LOGS: ContextVar[Path | None] = ContextVar("logs", default=None)


@dataclass(frozen=True, eq=False)
class Entry:
    """One finished window as it lies on disk.

    Attributes:
        arrays: Named arrays of numbers.
        facts: Plain data that repeats exactly when the window is computed again.
        timings: Plain data that does not.
    """

    arrays: Mapping[str, FloatArray]
    facts: Mapping[str, Any]
    timings: Mapping[str, Any]


class RunFolder:
    """A folder in which walk-forwards keep their finished windows and their results.

    Args:
        path: The folder; it is made when it is not there.

    Raises:
        RunError: When the path is a file, or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            for name in ("entries", "runs"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be a run folder: {error.strerror}. Name another folder."
            ) from error
        sweep_temporaries(self.path)

    def read_entry(self, key: str) -> Entry | None:
        """Return a finished window, or ``None`` when nobody has finished it.

        Raises:
            RunError: When the entry is damaged; the message says what to delete.
        """
        folder = self.path / "entries" / key
        if not folder.exists():
            return None
        try:
            packed = (folder / ARRAYS).read_bytes()
            facts = _unsealed((folder / ENTRY).read_bytes(), packed)
            timings = _unsealed((folder / TIMINGS).read_bytes())
            with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RunError(
                f"The run entry {folder} cannot be read ({error}). Delete that folder and run again."
            ) from error
        return Entry(arrays, facts, timings)

    def publish_entry(self, key: str, entry: Entry) -> None:
        """Put a finished window on disk, whole or not at all; one that is there already stays.

        Raises:
            RunError: When it cannot be written.
        """
        archive = io.BytesIO()
        np.savez(archive, **entry.arrays)  # type: ignore[arg-type]  # allow_pickle is not among the names
        packed = archive.getvalue()
        files = {
            ARRAYS: packed,
            TIMINGS: _sealed(entry.timings),
            ENTRY: _sealed(entry.facts, packed),
        }
        self._publish(files, self.path / "entries" / key)

    def record_run(self, key: str, facts: Mapping[str, Any]) -> None:
        """Remember that a run of this configuration, data and code was started here.

        Raises:
            RunError: When it cannot be written.
        """
        self._publish({RUN: encode_json(facts)}, self.path / "runs" / key)

    def runs(self) -> dict[str, Any]:
        """Return what is remembered of each run that was started here, by key: the trials of this folder.

        Raises:
            RunError: When a run's file is damaged; the message says what to delete.
        """
        remembered = {}
        for folder in sorted(path for path in (self.path / "runs").iterdir() if path.is_dir()):
            try:
                remembered[folder.name] = json.loads((folder / RUN).read_bytes())
            except (OSError, ValueError) as error:
                raise RunError(
                    f"The run {folder} cannot be read ({error}). Delete it; the others stay as they are."
                ) from error
        return remembered

    def write_result(self, name: str, content: bytes) -> Path:
        """Write or replace one result file, whole or not at all.

        Raises:
            RunError: When it cannot be written; the file that was there stays.
        """
        target = self.path / name
        with self._explaining(target):
            return replace_file(target, content)

    def _publish(self, files: Mapping[str, bytes], target: Path) -> None:
        """Make a folder of files, whole; where another writer was faster, its folder stays."""
        with self._explaining(target), temporary_folder(self.path) as temporary:
            for name, content in files.items():
                write_synced(temporary / name, content)
            sync_folder(temporary)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
            sync_folder(target.parent)

    @contextmanager
    def _explaining(self, target: Path) -> Iterator[None]:
        """Say what to do when the disk refuses."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{target} cannot be written: {error.strerror or error}. Free the disk or name another folder."
            ) from error


@contextmanager
def logging_into(folder: Path) -> Iterator[None]:
    """Let trainings write their logs into a folder, each into one of its own."""
    token = _LOGS.set(folder)
    try:
        yield
    finally:
        _LOGS.reset(token)


def log_folder() -> Path | None:
    """Return the folder that trainings write their logs into; ``None`` where there is no run folder."""
    return _LOGS.get()


def new_log_folder() -> Path | None:
    """Make a folder for the logs of the training that is under way; ``None`` where there is no run folder."""
    folder = _LOGS.get()
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder / f"{number:03d}" for number in itertools.count(1)):  # pragma: no branch - it ends
        with suppress(FileExistsError):
            place.mkdir()
            break
    return place


def digest_of(*parts: Any) -> str:
    """Return a hexadecimal digest of plain data, in which NaN, infinity and None differ."""
    return hashlib.sha256(json.dumps(_plain(parts), sort_keys=True).encode()).hexdigest()[:32]


def digest_of_code(things: Iterable[Any]) -> str:
    """Return a digest of the Python files that make modules, classes or functions, so that changed code is other code.

    All files of a package count, whichever of them makes the thing. What no file makes, such as a notebook's
    class, cannot be compared with what it was: its digest is never the same again.
    """
    digest = hashlib.sha256()
    for place in sorted({_place_of(thing) for thing in things}):
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{file.relative_to(place.parent)}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest() if file.exists() else uuid.uuid4().bytes)
    return digest.hexdigest()[:32]


def encode_json(value: Any) -> bytes:
    """Write plain data as canonical JSON: sorted keys, one form for each value, NaN and infinity as null."""
    plain = _plain(value, finite=True)
    return (json.dumps(plain, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def _plain(value: Any, *, finite: bool = False) -> Any:
    """Turn numpy scalars and tuples into what JSON has, and what is not finite into None where asked."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, finite=finite) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, finite=finite) for item in value]
    if isinstance(value, (np.floating, float)):
        return None if finite and not math.isfinite(value) else float(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else f"{value}Z"
    return value


def _sealed(facts: Mapping[str, Any], packed: bytes = b"") -> bytes:
    """Write plain data as JSON, with a digest of it and of the packed arrays that belong to it."""
    content = {"format": FORMAT, "facts": facts}
    digest = hashlib.sha256(encode_json(content) + packed).hexdigest()
    return encode_json({**content, "sha256": digest})


def _unsealed(sealed: bytes, packed: bytes = b"") -> Any:
    """Read plain data back, and refuse it when a byte of it or of the arrays has changed."""
    facts = json.loads(sealed)["facts"]
    if _sealed(facts, packed) != sealed:
        raise ValueError("it is damaged, or of another format")
    return facts


def _place_of(thing: Any) -> Path:
    """Return the file that makes a thing, or the folder of its whole package."""
    try:
        source = inspect.getsourcefile(thing)
    except (OSError, TypeError):
        source = None
    if source is None:
        return Path("nowhere")
    file = Path(source)
    return file.parent if (file.parent / "__init__.py").exists() else file
