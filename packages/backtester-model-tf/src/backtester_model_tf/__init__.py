"""Keras networks on TensorFlow as a backtester-model; importing this imports neither Keras nor TensorFlow."""

from importlib.metadata import version

from backtester_model_tf.config import KerasTrainingConfig, TensorFlowModelConfig
from backtester_model_tf.registered import (
    register_callback,
    register_layer,
    register_loss,
    register_optimizer,
    register_train_step,
)

__version__ = version("backtester-model-tf")

__all__ = [
    "KerasTrainingConfig",
    "TensorFlowModelConfig",
    "register_callback",
    "register_layer",
    "register_loss",
    "register_optimizer",
    "register_train_step",
]
