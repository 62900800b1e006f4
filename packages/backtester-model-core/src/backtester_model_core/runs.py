"""Run folders: what a walk-forward has finished, on disk, so that a killed run resumes and two may share a folder.

::

    FOLDER/
      entries/<key>/     one immutable folder per finished window: prediction.npz, entry.json, timings.json
      runs/<key>/        one immutable folder per run that was started here: run.json
      signals.parquet …  the results of the run that finished last, each replaced whole

A key is a digest of everything an entry depends on: configuration, data and code. There is no index to corrupt:
the folders are the index, and making one is exclusive, so of two writers one wins and both are right.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtester_model_core.exceptions import RunError
from backtester_model_core.typing import FloatArray

logger = logging.getLogger(__name__)

FORMAT = 1
ARRAYS = "prediction.npz"
ENTRY = "entry.json"
TIMINGS = "timings.json"


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
        self._sweep()

    def read_entry(self, key: str) -> Entry | None:
        """Return a finished window, or ``None`` when nobody has finished it.

        Raises:
            RunError: When the entry is damaged; the message says what to delete.
        """
        folder = self.path / "entries" / key
        if not folder.exists():
            return None
        try:
            facts = json.loads((folder / ENTRY).read_bytes())
            digest = hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest()
            if facts.pop("sha256") != digest or facts.pop("format") != FORMAT:
                raise RunError(
                    f"The run entry {folder} is damaged or of another format. Delete that folder and run again."
                )
            with np.load(folder / ARRAYS, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            timings = json.loads((folder / TIMINGS).read_bytes())
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(
                f"The run entry {folder} cannot be read ({error}). Delete that folder and run again."
            ) from error
        return Entry(arrays, facts, timings)

    def publish_entry(self, key: str, entry: Entry) -> None:
        """Put a finished window on disk, whole or not at all; one that is there already stays."""
        temporary = self._temporary()
        try:
            temporary.mkdir()
            with (temporary / ARRAYS).open("wb") as file:
                np.savez(file, **entry.arrays)  # type: ignore[arg-type]  # allow_pickle is not among the names
                _flush(file)
            digest = hashlib.sha256((temporary / ARRAYS).read_bytes()).hexdigest()
            _write(temporary / TIMINGS, encode_json(entry.timings))
            _write(temporary / ENTRY, encode_json({**entry.facts, "format": FORMAT, "sha256": digest}))
            self._publish(temporary, self.path / "entries" / key)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def record_run(self, key: str, facts: Mapping[str, Any]) -> None:
        """Remember that a run of this configuration, data and code was started here."""
        temporary = self._temporary()
        try:
            temporary.mkdir()
            _write(temporary / "run.json", encode_json(facts))
            self._publish(temporary, self.path / "runs" / key)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def runs(self) -> dict[str, Any]:
        """Return what is remembered of each run that was started here, by key: the trials of this folder."""
        folders = sorted(path for path in (self.path / "runs").iterdir() if not path.name.startswith("."))
        return {folder.name: json.loads((folder / "run.json").read_bytes()) for folder in folders}

    def write_result(self, name: str, content: bytes) -> Path:
        """Write or replace one result file, whole or not at all."""
        temporary, target = self._temporary(), self.path / name
        try:
            _write(temporary, content)
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunError(
                f"{target} cannot be written: {error.strerror}. Free the disk or name another folder."
            ) from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(self.path)
        return target

    def _publish(self, temporary: Path, target: Path) -> None:
        _sync_folder(temporary)
        try:
            temporary.rename(target)
        except OSError:
            if not target.exists():
                raise
            shutil.rmtree(temporary)
        _sync_folder(target.parent)

    def _temporary(self) -> Path:
        return self.path / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"

    def _sweep(self) -> None:
        """Remove what writers that died have left behind."""
        for leftover in self.path.glob(".tmp-*"):
            owner = leftover.name.split("-")[1]
            if owner.isdigit() and not _is_running(int(owner)):
                logger.info("removing %s, left by a run that was killed", leftover)
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def digest_of(*parts: Any) -> str:
    """Return a hexadecimal digest of plain data, by its canonical JSON."""
    return hashlib.sha256(encode_json(list(parts))).hexdigest()[:32]


def digest_of_sources(folders: Iterable[Path]) -> str:
    """Return a digest of all Python files below some folders, so that changed code is other code."""
    digest = hashlib.sha256()
    for folder in sorted(set(folders)):
        files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
        for file in files:
            digest.update(str(file.relative_to(folder.parent)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def encode_json(value: Any) -> bytes:
    """Write plain data as canonical JSON: sorted keys, one form for each value, NaN as null."""
    return (json.dumps(_plain(value), sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """Turn numpy scalars, tuples and NaN into what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.floating, float)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else f"{value}Z"
    return value


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        _flush(file)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make a rename last through a power cut, where the system lets a folder be synced."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
