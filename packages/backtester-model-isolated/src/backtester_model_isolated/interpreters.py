"""Which interpreters may be started: those that the person who runs this named, never a configuration by itself."""

from __future__ import annotations

import os
from pathlib import Path

from backtester_model_core.exceptions import ConfigError

INTERPRETERS = "BACKTESTER_MODEL_INTERPRETERS"
"""Environment variable with the absolute paths that may be started, parted as in PATH."""


def allow_interpreter(path: str | Path) -> None:
    """Let configurations start an interpreter from now on, in this process and those that it starts.

    Call it where you would type the command yourself: whoever can change that file can run code as you.

    Args:
        path: Absolute path, as configurations name it.

    Raises:
        ConfigError: When the path is not absolute, or holds what parts paths.
    """
    allowed = os.fspath(path)
    if not os.path.isabs(allowed) or os.pathsep in allowed:
        raise ConfigError(f"{allowed!r} cannot be allowed: give an absolute path without {os.pathsep!r}.")
    if not is_allowed(allowed):
        named = [part for part in (os.environ.get(INTERPRETERS), allowed) if part]
        os.environ[INTERPRETERS] = os.pathsep.join(named)


def is_allowed(path: str) -> bool:
    """Say whether an interpreter was allowed by its path."""
    named = os.environ.get(INTERPRETERS, "").split(os.pathsep)
    return _place(path) in {_place(one) for one in named if os.path.isabs(one)}


def check_allowed(path: str) -> str:
    """Return the path by which an allowed interpreter is started, and refuse any other.

    Raises:
        ConfigError: With what would allow it.
    """
    if not is_allowed(path):
        raise ConfigError(
            f"The configuration names the interpreter {path}, and nobody here has allowed it to be started. If you "
            f"trust it, set {INTERPRETERS}={path}, or call backtester_model_isolated.allow_interpreter({path!r})."
        )
    return _place(path)


def _place(path: str) -> str:
    """Return where a path leads, its folder as the system finds it: ``..`` after a link is not what it looks like.

    Its last name is not followed, as by it an interpreter knows its environment.
    """
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)
