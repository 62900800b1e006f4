"""PyTorch networks as models, from a configuration or registered in code; importing this imports no torch."""

from importlib.metadata import version

from backtester_model_torch.config import PyTorchModelConfig
from backtester_model_torch.registered import (
    register_callback,
    register_loss,
    register_module,
    register_optimizer,
)

__version__ = version("backtester-model-torch")

__all__ = [
    "PyTorchModelConfig",
    "register_callback",
    "register_loss",
    "register_module",
    "register_optimizer",
]
