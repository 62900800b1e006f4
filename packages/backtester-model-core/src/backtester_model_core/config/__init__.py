"""What a model is and how it is judged, as frozen data.

A configuration never runs code: names are keys of registries, and every field is bounded.
"""

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

__all__ = [
    "CostsConfig",
    "DataConfig",
    "FeaturesConfig",
    "GateConfig",
    "LabelConfig",
    "ModelConfig",
    "ValidationConfig",
    "WeightConfig",
    "parse_config",
    "read_config_file",
]
