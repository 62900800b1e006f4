"""What is on disk whole or not at all: synced files, temporary folders, and the sweeping up after writers that died."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Give a folder to write in before what is written is renamed; nothing of it stays, whatever happens.

    It is beside its target, so on the same file system, and its name says whose it is.
    """
    temporary = parent / f".tmp-{_host()}-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        temporary.mkdir()
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep_temporaries(parent: Path) -> None:
    """Remove what this machine's writers that died have left behind; another process may be at it too."""
    for leftover in parent.glob(f".tmp-{_host()}-*"):
        owner = re.fullmatch(r"\.tmp-[0-9a-f]+-(\d{1,9})-[0-9a-f]{32}", leftover.name)
        if owner and not _is_running(int(owner[1])):
            logger.info("removing %s, left by a process that was killed", leftover)
            shutil.rmtree(leftover, ignore_errors=True)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(target: Path, content: bytes) -> Path:
    """Write or replace one file, whole or not at all; its folder is there.

    Raises:
        OSError: When it cannot be written; the file that was there stays.
    """
    with temporary_folder(target.parent) as temporary:
        write_synced(temporary / target.name, content)
        os.replace(temporary / target.name, target)
        sync_folder(target.parent)
    return target


def sync_folder(path: Path) -> None:
    """Make a rename last through a power cut, where the system lets a folder be synced."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _host() -> str:
    """Name this machine: on a shared disk another machine's process numbers say nothing."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere the question, signal 0, would end the process
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
