"""What a PyTorch model adds to the configuration of a network; nothing here imports torch."""

from __future__ import annotations

from typing import Literal

import pydantic

from backtester_model_core.config import NetworkModelConfig


class PyTorchModelConfig(NetworkModelConfig):
    """A PyTorch network by its layers, how it is trained, and the device that computes it."""

    framework: Literal["pytorch"] = pydantic.Field(default="pytorch", description="Name of this adapter.")
    device: str = pydantic.Field(
        default="auto",
        max_length=16,
        pattern=r"^(auto|cpu|cuda|cuda:\d{1,3}|mps)$",
        description=(
            "What computes: 'cpu', 'cuda', 'cuda:1' and so on, 'mps', or by 'auto' the best there is, which the "
            "training's notes name."
        ),
    )
