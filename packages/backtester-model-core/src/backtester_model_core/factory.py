"""Models by name, and configurations whose class their framework decides."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from backtester_model_core.config import ModelConfig, parse_config, read_config_file
from backtester_model_core.exceptions import AdapterNotFoundError, ConfigError
from backtester_model_core.model import AdapterModel, BaseModel
from backtester_model_core.plugins import (
    FIRST_PARTY,
    MODELS,
    PluginInfo,
    config_class,
    plugins,
    registered_model,
)

ModelClass = TypeVar("ModelClass", bound=type[BaseModel])


class ModelFactory:
    """Creates models by a registered name or by their framework."""

    @staticmethod
    def register_model(name: str) -> Callable[[ModelClass], ModelClass]:
        """Register a whole :class:`BaseModel` subclass under a name; use it as a decorator.

        Raises:
            DuplicatePluginError: When the name belongs to another class already.
        """

        def register(model_class: ModelClass) -> ModelClass:
            MODELS.add(name, model_class, source=f"{model_class.__module__}:{model_class.__qualname__}")
            return model_class

        return register

    @staticmethod
    def create(name: str, config: ModelConfig | Mapping[str, Any]) -> BaseModel:
        """Create an untrained model by a registered name, or by a framework's.

        Args:
            name: A registered model, or a framework such as ``sklearn``.
            config: A configuration, or a mapping that becomes one; its ``framework`` is the name when not given.

        Raises:
            AdapterNotFoundError: When the name is neither.
            ConfigError: When the configuration does not validate, or is another framework's.
            DuplicatePluginError: When the name is both, or two distributions'.
        """
        values = config if isinstance(config, ModelConfig) else {"framework": name, **config}
        registered = registered_model(name)
        if registered is not None:
            return registered(_as_config(values))
        if name not in {info.name for info in _adapters()}:
            if _framework_of(values) == name:
                raise AdapterNotFoundError.for_framework(name, plugins().frameworks(), FIRST_PARTY)
            raise AdapterNotFoundError.for_model(name, [*MODELS, *plugins().frameworks()])
        if _framework_of(values) != name:
            raise ConfigError(
                f"The configuration is for framework {_framework_of(values)!r}, not {name!r}. Name one of them."
            )
        return create_model(_as_config(values))

    @staticmethod
    def available() -> list[PluginInfo]:
        """Return the adapters that may be used, from metadata alone: none is imported."""
        return [info for info in _adapters() if info.is_usable]

    @staticmethod
    def broken() -> list[PluginInfo]:
        """Return the plugins that are installed but cannot be used, each with its reason."""
        return [info for info in plugins().listing() if not info.is_usable]


def create_model(config: ModelConfig) -> BaseModel:
    """Create the untrained model of a configuration, and refuse what its adapter does not know.

    Raises:
        AdapterNotFoundError: When nobody answers for the configuration's framework.
        ConfigError: When its class is another framework's, or the adapter refuses it.
    """
    registered = registered_model(config.framework)
    if registered is not None:
        return registered(config)
    adapter = plugins().adapter(config.framework)
    if not isinstance(config, adapter.config_class):
        raise ConfigError(
            f"Framework {config.framework!r} takes a {adapter.config_class.__name__}, not a {type(config).__name__}. "
            "Make it with load_config."
        )
    adapter.initialize_model(config)
    return AdapterModel(config)


def load_config(source: str | Path | Mapping[str, Any]) -> ModelConfig:
    """Read a configuration from a TOML, JSON or YAML file, or from a mapping.

    The adapter that owns ``framework`` decides the class, so its own fields are checked too. Bars that a file names
    are below the file's own folder or the working directory: whoever wrote the file has no say beyond.

    Raises:
        ConfigError: With every key at fault and the nearest valid name, or when a path leads elsewhere.
        AdapterNotFoundError: When no adapter for the framework is installed.
    """
    if not isinstance(source, Mapping):
        config = load_config(read_config_file(source))
        _check_reach(config, Path(source))
        return config
    values = dict(source)
    framework = values.get("framework")
    if not isinstance(framework, str):
        raise ConfigError(
            'A configuration needs framework = "...", the name of an adapter; '
            f"installed: {', '.join(plugins().frameworks()) or 'none'}."
        )
    return parse_config(config_class(framework), values)


def _check_reach(config: ModelConfig, file: Path) -> None:
    """Refuse bars that lead out of a configuration file's folder and of the working directory, by a link too."""
    named = config.data_config.path
    if named is None:
        return
    path = Path(named)
    roots = [os.path.realpath(folder) for folder in (file.parent, Path())]
    try:
        reached = [os.path.realpath(each) for each in (path, *(path.iterdir() if path.is_dir() else ()))]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: data_config.path {named!r} cannot be followed: {error}") from error
    if not all(any(os.path.commonpath([root, place]) == root for root in roots) for place in reached):
        raise ConfigError(
            f"{file}: data_config.path {named!r} leads out of the file's folder and of the working directory. "
            "Name such bars yourself: by --bars, or as DataConfig(path=...) in code."
        )


def _framework_of(config: ModelConfig | Mapping[str, Any]) -> Any:
    return config.framework if isinstance(config, ModelConfig) else config["framework"]


def _as_config(config: ModelConfig | Mapping[str, Any]) -> ModelConfig:
    return config if isinstance(config, ModelConfig) else load_config(config)


def _adapters() -> list[PluginInfo]:
    return [info for info in plugins().listing() if info.kind == "adapter"]
