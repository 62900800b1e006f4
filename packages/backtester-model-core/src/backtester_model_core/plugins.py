"""Which adapters and extensions are here, and how a hook call reaches the right ones.

Adapters are listed from package metadata alone and imported one at a time, when a configuration names them.
Extensions are light and are loaded together, each in its own try: one that is broken is named and left out.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, cast

import pluggy

from backtester_model_core.adapter import API_LEVEL, ModelFrameworkAdapter
from backtester_model_core.catalog import CORE, Catalog
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import (
    AdapterNotFoundError,
    BrokenPluginError,
    DuplicatePluginError,
    PluginError,
)
from backtester_model_core.features import FEATURE_SETS, OPERATORS
from backtester_model_core.hookspecs import PROJECT, ModelHooks
from backtester_model_core.labels import LABELS, LabelKind
from backtester_model_core.sources import DATA_SOURCES
from backtester_model_core.steps import CoreSteps

logger = logging.getLogger(__name__)

ADAPTERS_GROUP = "backtester_model.adapters"
EXTENSIONS_GROUP = "backtester_model.extensions"
DISABLE = "BACKTESTER_MODEL_DISABLE"
ONLY = "BACKTESTER_MODEL_ONLY"
ALLOW = "BACKTESTER_MODEL_ALLOW"

FIRST_PARTY = {
    "sklearn": "backtester-model-sklearn",
    "tensorflow": "backtester-model-tf",
    "pytorch": "backtester-model-torch",
    "scipy": "backtester-model-scipy",
}
"""Framework names that only these distributions may claim, unless BACKTESTER_MODEL_ALLOW names another."""

MODELS: Catalog[Callable[[Any], Any]] = Catalog("model")
"""Whole model classes registered by name; the factory creates them."""


@dataclass(frozen=True)
class PluginInfo:
    """What is known of one installed plugin without importing it, and what became of it.

    Attributes:
        name: Entry-point name; for an adapter, its framework.
        kind: ``adapter`` or ``extension``.
        distribution: The distribution that installed it, or ``in code``.
        version: That distribution's version.
        value: The object that the entry point names.
        state: ``available`` (listed, not imported), ``loaded``, ``blocked`` or ``broken``.
        reason: Why it is blocked or broken; empty otherwise.
    """

    name: str
    kind: Literal["adapter", "extension"]
    distribution: str
    version: str
    value: str
    state: Literal["available", "loaded", "blocked", "broken"] = "available"
    reason: str = ""


class Registry:
    """What ``backtester_register`` hands to a plugin: one method for each kind of thing it may bring."""

    def __init__(self) -> None:
        self._source = CORE
        self._added: list[tuple[Catalog[Any], str]] = []

    def add_operator(self, name: str, operator: Any) -> None:
        """Add a feature operator: a step function with its state and warm-up."""
        self._add(OPERATORS, name, operator)

    def add_feature_set(self, name: str, feature_set: Any) -> None:
        """Add a named set of feature expressions."""
        self._add(FEATURE_SETS, name, feature_set)

    def add_label(self, name: str, label: LabelKind) -> None:
        """Add a kind of label."""
        self._add(LABELS, name, label)

    def add_data_source(self, name: str, source: Any) -> None:
        """Add a place where bars come from."""
        self._add(DATA_SOURCES, name, source)

    def add_model(self, name: str, model_class: Callable[[Any], Any]) -> None:
        """Add a whole model class."""
        self._add(MODELS, name, model_class)

    @contextmanager
    def adding_for(self, source: str) -> Iterator[None]:
        """Record what a distribution adds, and take all of it back when its registration fails."""
        self._source, self._added = source, []
        try:
            yield
        except BaseException:
            for catalog, name in self._added:
                catalog.discard(name)
            raise

    def _add(self, catalog: Catalog[Any], name: str, thing: Any) -> None:
        is_new = name not in catalog
        catalog.add(name, thing, source=self._source)
        if is_new:
            self._added.append((catalog, name))


class Plugins:
    """The installed adapters and extensions, and the hooks through which they are called.

    Args:
        discover: Whether to look at installed distributions; without it only plugins registered in code exist.
        environ: Where the block and allow lists are read from.
    """

    def __init__(self, *, discover: bool = True, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(ModelHooks)
        self._manager.register(CoreSteps(), name=CORE)
        self._registry = Registry()
        self._manager.hook.backtester_register.call_historic(kwargs={"registry": self._registry})
        self._entries: dict[str, list[tuple[PluginInfo, EntryPoint]]] = {}
        self._adapters: dict[str, ModelFrameworkAdapter[Any]] = {}
        self._in_code: list[tuple[str, str, Any]] = []
        self._infos: dict[tuple[str, str], PluginInfo] = {}
        self._scoped: dict[tuple[str, str], pluggy.HookCaller] = {}
        if discover:
            self._list_adapters()
            self._load_extensions()

    # -- what is here -------------------------------------------------------------------------------------------

    def listing(self) -> list[PluginInfo]:
        """Return every adapter and extension that is installed or registered, without importing any."""
        return sorted(self._infos.values(), key=lambda info: (info.kind, info.name, info.distribution))

    def frameworks(self) -> list[str]:
        """Return the frameworks whose adapter may be used."""
        return sorted(
            info.name for info in self._infos.values() if info.kind == "adapter" and _is_usable(info)
        )

    def adapter(self, framework: str) -> ModelFrameworkAdapter[Any]:
        """Return the adapter of a framework, importing it at its first use.

        Raises:
            AdapterNotFoundError: When none is installed, or it is blocked.
            DuplicatePluginError: When two distributions claim the framework.
            BrokenPluginError: When it does not load.
        """
        if framework in self._adapters:
            return self._adapters[framework]
        entries = self._entries.get(framework, [])
        if not entries:
            raise AdapterNotFoundError.for_framework(framework, self.frameworks())
        if len(entries) > 1:
            claims = [f"{info.distribution} {info.version} ({info.value})" for info, _ in entries]
            raise DuplicatePluginError.between(framework, claims)
        info, entry = entries[0]
        if info.state == "blocked":
            raise AdapterNotFoundError.blocked(framework, info.reason)
        if info.state == "broken":
            raise BrokenPluginError.because(framework, info.distribution, info.reason)
        try:
            adapter_class = _load(entry)
            adapter = _checked_adapter(framework, adapter_class)
            self._register(adapter, name=framework, source=info.distribution)
        except Exception as error:
            broken = replace(info, state="broken", reason=_one_line(error))
            self._entries[framework] = [(broken, entry)]
            self._infos["adapter", f"{framework}@{info.distribution}"] = broken
            raise BrokenPluginError.because(framework, info.distribution, broken.reason) from error
        self._adapters[framework] = adapter
        self._infos["adapter", f"{framework}@{info.distribution}"] = replace(info, state="loaded")
        return adapter

    # -- plugins registered in code -----------------------------------------------------------------------------

    def register_adapter(self, framework: str, adapter_class: type[ModelFrameworkAdapter[Any]]) -> None:
        """Make an adapter class known in code, as an entry point would.

        Raises:
            DuplicatePluginError: When the framework has another adapter already.
            PluginError: When the class is not a complete adapter of this interface level.
        """
        loaded = self._adapters.get(framework)
        if loaded is not None and type(loaded) is adapter_class:
            return
        if framework in self._entries or loaded is not None:
            claims = [info.distribution for info, _ in self._entries.get(framework, [])] or ["in code"]
            raise DuplicatePluginError.between(framework, [*claims, adapter_class.__qualname__])
        adapter = _checked_adapter(framework, adapter_class)
        self._register(adapter, name=framework, source=_module_of(adapter_class))
        self._adapters[framework] = adapter
        self._in_code.append(("adapter", framework, adapter_class))
        self._infos["adapter", framework] = PluginInfo(
            framework, "adapter", "in code", "", _module_of(adapter_class), "loaded"
        )

    def register_extension(self, name: str, extension: Any) -> None:
        """Make an extension object known in code, as an entry point would.

        Raises:
            PluginError: When it has a hook that does not exist, or its registration fails.
        """
        self._register(extension, name=_extension_name(name), source=name)
        self._in_code.append(("extension", name, extension))
        self._infos["extension", name] = PluginInfo(
            name, "extension", "in code", "", repr(extension), "loaded"
        )

    def registered_in_code(self) -> list[tuple[str, str, Any]]:
        """Return (kind, name, object) of what was registered in code, to be repeated in a worker process."""
        return list(self._in_code)

    def repeat(self, in_code: list[tuple[str, str, Any]]) -> None:
        """Register what another process had registered in code."""
        for kind, name, thing in in_code:
            if kind == "adapter":
                self.register_adapter(name, thing)
            elif not self._manager.has_plugin(_extension_name(name)):
                self.register_extension(name, thing)

    # -- hooks --------------------------------------------------------------------------------------------------

    def hooks(self, framework: str) -> ModelHooks:
        """Return the hooks as a model of one framework calls them: no other framework's adapter answers."""
        return cast("ModelHooks", _ScopedHooks(self, framework))

    def call(self, framework: str, hook: str) -> pluggy.HookCaller:
        """Return one hook's caller without the other frameworks' adapters; cached for each framework."""
        key = (framework, hook)
        if key not in self._scoped:
            others = [adapter for name, adapter in self._adapters.items() if name != framework]
            self._scoped[key] = self._manager.subset_hook_caller(hook, others)
        return self._scoped[key]

    def version_of(self, framework: str) -> str:
        """Return the version of the distribution that answers for a framework; empty for one made in code."""
        infos = [info for info in self._infos.values() if info.kind == "adapter" and info.name == framework]
        return infos[0].version if infos else ""

    def sources(self) -> list[str]:
        """Name what may change a result: every extension in force, with its version."""
        return [
            f"{info.name} {info.distribution} {info.version}"
            for info in self.listing()
            if info.kind == "extension" and info.state == "loaded"
        ]

    # -- inside -------------------------------------------------------------------------------------------------

    def _register(self, plugin: Any, *, name: str, source: str) -> None:
        """Register one plugin whole, or not at all."""
        if self._manager.has_plugin(name):
            raise DuplicatePluginError.between(name, [source, source])
        try:
            with self._registry.adding_for(source):
                self._manager.register(plugin, name=name)
                self._manager.check_pending()
        except Exception as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            if isinstance(error, pluggy.PluginValidationError):
                raise PluginError(
                    f"The plugin {name!r} of {source} has a wrong hook: {_one_line(error)}"
                ) from error
            raise
        self._scoped.clear()

    def _list_adapters(self) -> None:
        for info, entry in _installed(ADAPTERS_GROUP, "adapter"):
            owner = FIRST_PARTY.get(info.name, info.distribution)
            if owner != info.distribution and info.distribution not in _names(self._environ.get(ALLOW)):
                reason = (
                    f"only {owner} may claim {info.name!r}; set {ALLOW}={info.distribution} to allow this one"
                )
                listed = replace(info, state="blocked", reason=reason)
                self._infos["adapter", f"{info.name}@{info.distribution}"] = listed
                continue
            listed = self._unless_blocked(info)
            self._entries.setdefault(info.name, []).append((listed, entry))
        for name, entries in self._entries.items():
            claims = [info.distribution for info, _ in entries]
            for info, _ in entries:
                twice = f"the name is claimed by {' and '.join(claims)}; uninstall all but one"
                shown = info if len(entries) == 1 else replace(info, state="broken", reason=twice)
                self._infos["adapter", f"{name}@{info.distribution}"] = shown

    def _load_extensions(self) -> None:
        for info, entry in _installed(EXTENSIONS_GROUP, "extension"):
            listed = self._unless_blocked(info)
            if listed.state == "available":
                try:
                    self._register(_load(entry), name=_extension_name(info.name), source=info.distribution)
                    listed = replace(info, state="loaded")
                except Exception as error:  # noqa: BLE001 - a broken extension never hurts the others; it is listed
                    listed = replace(info, state="broken", reason=_one_line(error))
                    logger.warning(
                        "The extension %r of %s is left out: %s", info.name, info.distribution, listed.reason
                    )
            self._infos["extension", f"{info.name}@{info.distribution}"] = listed

    def _unless_blocked(self, info: PluginInfo) -> PluginInfo:
        only, disabled = self._environ.get(ONLY), _names(self._environ.get(DISABLE))
        if info.name in disabled:
            return replace(info, state="blocked", reason=f"{DISABLE} names it")
        if only is not None and info.name not in _names(only):
            return replace(info, state="blocked", reason=f"{ONLY} does not name it")
        return info


class _ScopedHooks:
    """Hook callers for one framework, by attribute."""

    def __init__(self, plugins: Plugins, framework: str) -> None:
        self._plugins = plugins
        self._framework = framework

    def __getattr__(self, hook: str) -> pluggy.HookCaller:
        return self._plugins.call(self._framework, hook)


@lru_cache(maxsize=1)
def _discovered() -> Plugins:
    return Plugins()


_override: list[Plugins] = []


def plugins() -> Plugins:
    """Return the process's plugins, discovered at the first call. Models ask for them and never hold them."""
    return _override[-1] if _override else _discovered()


@contextmanager
def use_plugins(replacement: Plugins) -> Iterator[Plugins]:
    """Put other plugins in force for a block, such as a test's."""
    _override.append(replacement)
    try:
        yield replacement
    finally:
        _override.pop()


def config_class(framework: str) -> type[ModelConfig]:
    """Return the configuration class of the adapter that owns a framework."""
    return plugins().adapter(framework).config_class


def _installed(group: str, kind: Literal["adapter", "extension"]) -> Iterator[tuple[PluginInfo, EntryPoint]]:
    """List a group's entry points from metadata alone, each distribution once."""
    seen: set[tuple[str, str]] = set()
    for entry in entry_points(group=group):
        distribution = entry.dist.metadata["Name"] if entry.dist else "unknown"
        normal = re.sub(r"[-_.]+", "-", distribution).lower()
        if (entry.name, normal) in seen:
            continue
        seen.add((entry.name, normal))
        version = entry.dist.version if entry.dist else ""
        yield PluginInfo(entry.name, kind, normal, version, entry.value), entry


def _load(entry: EntryPoint) -> Any:
    """Import what an entry point names; a plugin that tries to end the process is only broken."""
    try:
        return entry.load()
    except SystemExit as error:
        raise PluginError(f"importing it tries to exit the process ({error.code})") from error


def _checked_adapter(framework: str, adapter_class: Any) -> ModelFrameworkAdapter[Any]:
    if not (isinstance(adapter_class, type) and issubclass(adapter_class, ModelFrameworkAdapter)):
        raise PluginError(
            f"the adapter for {framework!r} is {adapter_class!r}, not a subclass of ModelFrameworkAdapter"
        )
    missing = sorted(getattr(adapter_class, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"the adapter for {framework!r} does not fill in {', '.join(missing)}")
    if adapter_class.api != API_LEVEL:
        raise PluginError(
            f"the adapter for {framework!r} speaks interface level {adapter_class.api}, this core {API_LEVEL}"
        )
    if not issubclass(adapter_class.config_class, ModelConfig):
        raise PluginError(
            f"the config_class of the adapter for {framework!r} is not a subclass of ModelConfig"
        )
    return adapter_class()


def _is_usable(info: PluginInfo) -> bool:
    return info.state in {"available", "loaded"}


def _extension_name(name: str) -> str:
    return f"extension:{name}"


def _module_of(thing: type) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


def _names(value: str | None) -> set[str]:
    return {name.strip() for name in (value or "").split(",") if name.strip()}


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
