"""What a name in a configuration or a saved model stands for: a registered model class, or a framework's adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from backtester_model_core.config import ModelConfig, parse_config
from backtester_model_core.exceptions import DuplicatePluginError
from backtester_model_core.plugins.installed import FIRST_PARTY
from backtester_model_core.plugins.manager import plugins
from backtester_model_core.plugins.registry import MODELS

if TYPE_CHECKING:
    from backtester_model_core.model import BaseModel


def registered_model(name: str) -> Callable[[Any], BaseModel] | None:
    """Return the model class registered under a name, once the extensions have registered theirs.

    Raises:
        DuplicatePluginError: When the name is also a framework's: neither may take the other's place.
    """
    listing = plugins().listing()
    claims = [info.distribution for info in listing if info.kind == "adapter" and info.name == name]
    if name not in MODELS:
        return None
    owner = FIRST_PARTY.get(name)
    if claims or owner:
        raise DuplicatePluginError.between(name, [MODELS.source(name), *(claims or [str(owner)])])
    return MODELS[name]


def config_class(framework: str) -> type[ModelConfig]:
    """Return the configuration class of the adapter that owns a framework, or the plain one for a registered model.

    Raises:
        AdapterNotFoundError: When the name is neither.
    """
    if registered_model(framework) is not None:
        return ModelConfig
    return plugins().adapter(framework).config_class


def versions_of(config: ModelConfig | Mapping[str, Any]) -> list[str]:
    """Name what a configuration's results depend on, as installed here, and elsewhere where its adapter says so.

    Args:
        config: A configuration, or its fields, which are only read by an adapter that depends on something elsewhere.
    """
    framework = config.framework if isinstance(config, ModelConfig) else str(config.get("framework"))
    here = plugins().versions(framework)
    if framework not in plugins().frameworks() or not plugins().adapter(framework).can("versions"):
        return here
    adapter = plugins().adapter(framework)
    parsed = config if isinstance(config, ModelConfig) else parse_config(adapter.config_class, config)
    return sorted({*here, *adapter.versions(parsed)})
