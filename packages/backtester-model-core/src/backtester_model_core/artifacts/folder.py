"""One saved model in one folder: written whole, and read only after every byte of it has been verified."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from backtester_model_core.artifacts.formats import MAX_JSON_BYTES
from backtester_model_core.artifacts.manifest import MANIFEST, Artifact, read_manifest, write_manifest
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.storage import sync_folder, write_synced

_OPEN = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)


def write_artifact(folder: Path, artifact: Artifact) -> None:
    """Write a saved model into an empty folder, the manifest last, and read all of it back.

    Raises:
        OSError: When the disk refuses.
        ArtifactError: When what was read back is not what was written.
    """
    for name, content in artifact.files.items():
        write_synced(folder / name, content)
    write_synced(folder / MANIFEST, write_manifest(artifact.manifest))
    sync_folder(folder)
    read_artifact(folder)


def read_artifact(folder: Path) -> Artifact:
    """Read and verify a saved model; nothing is interpreted before all digests agree.

    The folder must hold the manifest and exactly the files that it lists, each a regular file of its own with
    the listed size and SHA-256.

    Raises:
        ArtifactError: With the first thing that is wrong.
    """
    present = _list_files(folder)
    if MANIFEST not in present:
        raise ArtifactError.refused(
            folder, f"it has no {MANIFEST}, so it is not a saved model", "Name the folder that save wrote."
        )
    manifest = read_manifest(read_own_file(folder / MANIFEST, MAX_JSON_BYTES))
    wanted = {MANIFEST, *manifest.files}
    for kind, names in (("missing", wanted - present.keys()), ("not listed", present.keys() - wanted)):
        if names:
            raise ArtifactError.refused(folder, f"files are {kind}: {', '.join(sorted(names))}")
    for name, record in manifest.files.items():
        if present[name] != record.size:
            raise ArtifactError.in_file(name, f"it has {present[name]:,} bytes instead of {record.size:,}")
    files = {name: read_own_file(folder / name, record.size) for name, record in manifest.files.items()}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != manifest.files[name].sha256:
            raise ArtifactError.in_file(name, "its digest is not the manifest's, so it is damaged")
    return Artifact(manifest, files)


def _list_files(folder: Path) -> dict[str, int]:
    """Return the size of each file of a folder that holds nothing but files of its own."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except OSError as error:
        raise _unreadable(folder, error) from error
    for name, status in found.items():
        _check_own(name, status)
    return {name: status.st_size for name, status in found.items()}


def read_own_file(path: Path, max_bytes: int) -> bytes:
    """Read a file through one handle, never through a link, and never more than it may have."""
    try:
        handle = os.open(path, _OPEN)
        with open(handle, "rb") as file:
            _check_own(path.name, os.fstat(handle))
            content = file.read(max_bytes + 1)
    except ArtifactError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > max_bytes:
        raise ArtifactError.in_file(path.name, f"it has more than {max_bytes:,} bytes")
    return content


def _check_own(name: str, status: os.stat_result) -> None:
    """Refuse what is not a regular file, and one that somebody could change from elsewhere."""
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError.in_file(name, "it is a link, folder or device, not a regular file")
    if status.st_nlink != 1:
        raise ArtifactError.in_file(name, "it has a second name (a hard link) by which it could be changed")


def _unreadable(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        f"{path} cannot be read: {error.strerror or error}. Check the path and its permissions."
    )
