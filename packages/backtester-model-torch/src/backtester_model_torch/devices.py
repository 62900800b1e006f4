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
    generators = _generators(device)
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.seed() if seed is None else generator.manual_seed(seed)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _generators(device: torch.device) -> list[torch.Generator]:
    """Return the generators that a training on a device draws from; layers are built on the CPU."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        generators.append(torch.cuda.default_generators[device.index or 0])
    if device.type == "mps":
        generators.append(torch.mps._get_default_mps_generator())  # noqa: SLF001 - it has no public name
    return generators
