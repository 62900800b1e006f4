"""Load hostile folders in a process of their own, and tell what they made it do.

A program, ``python -m backtester_model_core.testing.watch HONEST HOSTILE…``, and the function that starts it. Once an
honest model has been loaded, so that everything is imported, an audit hook (:pep:`578`) writes down each import, each
execution, each process, each connection, and each file that is opened outside the folder or to be written.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtester_model_core.exceptions import BacktesterModelError
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.testing.echo import EchoAdapter

NEVER: tuple[str, ...] = (
    *("import", "exec", "pickle.find_class", "marshal.loads", "ctypes.", "socket.", "subprocess.", "shutil."),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.remove", "os.rename", "os.mkdir"),
)


@dataclass(frozen=True)
class Watched:
    """What came of loading hostile folders.

    Attributes:
        answers: For each folder the message of the error that refused it; empty where it was loaded.
        events: For each folder what the audit hook saw.
        peak_bytes: The most memory that the process has held.
    """

    answers: tuple[str, ...]
    events: tuple[tuple[str, ...], ...]
    peak_bytes: int


def watch_loading(honest: Path, hostile: Sequence[Path]) -> Watched:
    """Load hostile folders in a fresh process, after an honest one."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", __name__, *map(str, (honest, *hostile))],
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)
    return Watched(tuple(told["answers"]), tuple(map(tuple, told["events"])), told["peak_bytes"])


def _tell(honest: Path, hostile: list[Path]) -> dict[str, Any]:
    plugins().register_adapter("echo", EchoAdapter)
    BaseModel.load(honest)
    seen: list[str] = []
    allowed: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not allowed:
            return
        if event.startswith(NEVER) or (event == "open" and not _is_harmless(allowed[0], *arguments)):
            seen.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(watch)
    answers, events = [], []
    for folder in hostile:
        allowed[:] = [os.path.realpath(folder)]
        try:
            BaseModel.load(folder)
            answer = ""
        except BacktesterModelError as error:
            answer = str(error)
        allowed.clear()
        answers.append(answer)
        events.append(list(seen))
        seen.clear()
    return {"answers": answers, "events": events, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Return the most memory that this program has held; what the process held before it ran does not count."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _is_harmless(folder: str, path: Any, _: Any, flags: int) -> bool:
    """Say whether an opening reads a file of the folder, or what tells the versions of what is installed.

    One through a handle follows the opening of that handle.
    """
    if isinstance(path, int):
        return True
    if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return False
    place = os.path.realpath(path)
    return place in sys.path or ".dist-info/" in place or os.path.commonpath([folder, place]) == folder


if __name__ == "__main__":
    print(json.dumps(_tell(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])))
