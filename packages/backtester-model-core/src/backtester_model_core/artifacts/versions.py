"""The versions of one saved model in one folder, and which of them is in force.

::

    FOLDER/
      versions/000001/   one immutable folder a version: manifest.json, core.npz, the files of the framework
      CURRENT            the versions that were put in force, the last one now, with a digest
      .tmp-…             what a writer has not finished; removed when that writer is gone

There is no index to corrupt: the folders are the index. A version appears by a rename, which only one of several
writers can win for a number, so nobody sees half of one and none is lost.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backtester_model_core.artifacts.folder import read_artifact, read_own_file, write_artifact
from backtester_model_core.artifacts.formats import MAX_JSON_BYTES
from backtester_model_core.artifacts.manifest import FORMAT, MANIFEST, Artifact, seal, unseal
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.storage import sweep_temporaries, sync_folder, temporary_folder, write_synced

CURRENT = "CURRENT"
MAX_HISTORY = 100
"""Versions in force that are remembered, to roll back to."""


class VersionFolder:
    """The versions of one saved model.

    Args:
        path: The folder; publishing makes it when it is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def versions(self) -> tuple[int, ...]:
        """Return the numbers of the versions, oldest first."""
        folder = self.path / "versions"
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return tuple(sorted(int(name) for name in names if re.fullmatch(r"\d{6,9}", name)))

    def current(self) -> int | None:
        """Return the version in force; ``None`` before the first was put in force.

        Raises:
            ArtifactError: When the pointer is damaged.
        """
        history = self._history()
        return history[-1] if history else None

    def publish(self, artifact: Artifact) -> int:
        """Add a version, whole or not at all, and return its number; which one is in force does not change.

        Raises:
            ArtifactError: When it cannot be written; every version that was there stays.
        """
        with self._writing() as temporary:
            write_artifact(temporary, artifact)
            number = self._claim(temporary)
            sync_folder(self.path / "versions")
        return number

    def promote(self, number: int) -> None:
        """Put a version in force.

        Raises:
            ArtifactError: When there is no such version, or the pointer cannot be written.
        """
        self._require(number)
        history = self._history()
        if history[-1:] != [number]:
            self._point([*history, number])

    def roll_back(self) -> int:
        """Put the version in force that was so before the current one, and return its number.

        Raises:
            ArtifactError: When there was none.
        """
        history = self._history()
        if len(history) < 2:
            raise ArtifactError(
                f"{self.path} has no earlier version in force to roll back to; "
                f"its versions: {self._named()}. Promote one of them."
            )
        self._require(history[-2])
        self._point(history[:-1])
        return history[-2]

    def read(self, number: int | None = None) -> Artifact:
        """Read and verify a version, by default the one in force.

        Raises:
            ArtifactError: When there is none, or it must be refused.
        """
        chosen = self.current() if number is None else number
        if chosen is None:
            raise ArtifactError(
                f"{self.path} has no version in force; its versions: {self._named()}. Save a model there, "
                "or promote a version."
            )
        self._require(chosen)
        return read_artifact(self.folder_of(chosen))

    def folder_of(self, number: int) -> Path:
        """Return the folder of a version, whether or not it is there."""
        return self.path / "versions" / f"{number:06d}"

    # -- inside -------------------------------------------------------------------------------------------------

    def _require(self, number: int) -> None:
        """Refuse a version that is not there, or that leads out of the folder."""
        folder = self.folder_of(number)
        if number not in self.versions():
            raise ArtifactError(f"{self.path} has no version {number}; its versions: {self._named()}.")
        if folder.resolve() != self.path.resolve() / "versions" / folder.name:
            raise ArtifactError.refused(folder, "it is a link that leads elsewhere")

    def _named(self) -> str:
        return ", ".join(map(str, self.versions()[-20:])) or "none"

    def _claim(self, temporary: Path) -> int:
        """Rename a finished folder to the next free number; a number is never given twice."""
        while True:
            number = max(self.versions(), default=0) + 1
            try:
                temporary.rename(self.folder_of(number))
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
            else:
                return number

    def _history(self) -> list[int]:
        path = self.path / CURRENT
        if not os.path.lexists(path):
            return []
        history = unseal(read_own_file(path, MAX_JSON_BYTES), name=CURRENT).get("history")
        if not isinstance(history, list) or not all(type(number) is int for number in history):
            raise ArtifactError.in_file(CURRENT, "it is not a list of versions")
        return history

    def _point(self, history: list[int]) -> None:
        with self._writing() as temporary:
            write_synced(temporary / CURRENT, seal({"format": FORMAT, "history": history[-MAX_HISTORY:]}))
            os.replace(temporary / CURRENT, self.path / CURRENT)
            sync_folder(self.path)

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        """Give a temporary folder, sweep what dead writers left, and say what to do when the disk refuses."""
        try:
            (self.path / "versions").mkdir(parents=True, exist_ok=True)
            sweep_temporaries(self.path)
            with temporary_folder(self.path) as temporary:
                yield temporary
        except ArtifactError:
            raise
        except OSError as error:
            raise ArtifactError.unwritable(self.path, str(error.strerror or error)) from error


def read_saved(folder: Path, version: int | None = None) -> Artifact:
    """Read and verify a version in a folder, by default the one in force, or the version that the folder itself is.

    Raises:
        ArtifactError: When there is none, or it must be refused.
    """
    if version is None and os.path.lexists(folder / MANIFEST):
        return read_artifact(folder)
    return VersionFolder(folder).read(version)
