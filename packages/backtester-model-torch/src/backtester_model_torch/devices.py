"""Which device computes, and what it draws at random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from backtester_model_core.exceptions import ConfigError


def find_device(name: str) -> torch.device:
    """Return the device of a name; for ``auto`` a GPU where there is one, else the CPU.

    Raises:
        ConfigError: When this machine, or this build of torch, does not have it.
    """
    there = devices_here()
    if name == "auto":
        return torch.device(there[-1])
    if name not in there and f"{name}:0" not in there:
        raise ConfigError(
            f"device {name!r} is not there: torch {torch.__version__} finds {', '.join(there)}. "
            "Name one of those, or 'auto' for the best there is."
        )
    return torch.device(name)


def devices_here() -> list[str]:
    """Return the names of the devices there are, the best last."""
    gpus = [f"cuda:{number}" for number in reversed(range(torch.cuda.device_count()))]
    return ["cpu", *(["mps"] if torch.backends.mps.is_available() else []), *gpus]


def describe_device(device: torch.device) -> str:
    """Return a device's name as a report shows it."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Draw everything random inside from a seed, and leave torch's generators outside as they were."""
    gpus = [device.index or 0] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=gpus),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        if seed is None:
            torch.seed()
        else:
            torch.manual_seed(seed)
        yield
