"""What a model is and how it is judged, as frozen data.

A configuration never runs code: names are keys of registries, and every field is bounded.
"""

from backtester_model_core.config.architecture import ModelArchitecture, PlacedLayer
from backtester_model_core.config.files import parse_config, read_config_file
from backtester_model_core.config.groups import (
    CostsConfig,
    DataConfig,
    FeaturesConfig,
    GateConfig,
    LabelConfig,
    ValidationConfig,
    WeightConfig,
)
from backtester_model_core.config.model import ModelConfig
from backtester_model_core.config.monitoring import MonitoringConfig
from backtester_model_core.config.named import Named, PlainValue
from backtester_model_core.config.network import NetworkModelConfig
from backtester_model_core.config.retraining import PolicyRule, RetrainingConfig
from backtester_model_core.config.signals import CalibrationConfig, SizingConfig, ThresholdsConfig
from backtester_model_core.config.training import EarlyStopping, TrainingConfig

__all__ = [
    "CalibrationConfig",
    "CostsConfig",
    "DataConfig",
    "EarlyStopping",
    "FeaturesConfig",
    "GateConfig",
    "LabelConfig",
    "ModelArchitecture",
    "ModelConfig",
    "MonitoringConfig",
    "Named",
    "NetworkModelConfig",
    "PlacedLayer",
    "PlainValue",
    "PolicyRule",
    "RetrainingConfig",
    "SizingConfig",
    "ThresholdsConfig",
    "TrainingConfig",
    "ValidationConfig",
    "WeightConfig",
    "parse_config",
    "read_config_file",
]
