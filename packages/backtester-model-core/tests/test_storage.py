"""Temporary folders: gone with their block, and swept up after writers of this machine that died."""

import os
import subprocess
import sys

import pytest

from backtester_model_core import storage
from backtester_model_core.storage import sweep_temporaries, temporary_folder, write_synced


def leftover(folder, host, process):
    path = folder / f".tmp-{host}-{process}-{'0' * 32}"
    path.mkdir()
    (path / "weights.npz").write_bytes(b"half")
    return path.name


@pytest.mark.skipif(os.name != "posix", reason="asks for a process by its number")
def test_only_what_this_machines_dead_writers_left_is_swept(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = storage._host()
    leftover(tmp_path, host, gone.pid)
    mine = leftover(tmp_path, host, os.getpid())
    elsewhere = leftover(tmp_path, "0" * 8, gone.pid)
    odd = leftover(tmp_path, host, "9" * 30)

    sweep_temporaries(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine, elsewhere, odd])


@pytest.mark.parametrize("interrupt", [OSError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_temporary_folder_is_gone(tmp_path, interrupt):
    def write():
        with temporary_folder(tmp_path) as folder:
            write_synced(folder / "weights.npz", b"half")
            raise interrupt

    with pytest.raises(interrupt):
        write()

    assert list(tmp_path.iterdir()) == []


def test_another_users_process_is_running(monkeypatch):
    def refused(process, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)

    assert storage._is_running(1) is True
