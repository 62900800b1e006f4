"""Registers plugins, each whole or not at all, and calls their hooks for one framework at a time."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pluggy

from backtester_model_core.adapter import ModelFrameworkAdapter, level_fault
from backtester_model_core.catalog import CORE, Catalog
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import (
    AdapterNotFoundError,
    BrokenPluginError,
    DuplicatePluginError,
    PluginError,
)
from backtester_model_core.hookspecs import PROJECT, ModelHooks
from backtester_model_core.monitoring import MonitoringHooks
from backtester_model_core.plugins.guard import guarding, staying_alive
from backtester_model_core.plugins.installed import FIRST_PARTY, PluginInfo, installed_plugins
from backtester_model_core.plugins.registry import Additions, Registry
from backtester_model_core.runs import digest_of_code
from backtester_model_core.steps import CoreSteps

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

IN_CODE = "in code"
CORE_MODULE = __name__.partition(".")[0]


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
        self._manager.register(MonitoringHooks(), name=f"{CORE} monitoring")
        self._registry = Registry()
        self._manager.hook.backtester_register.call_historic(kwargs={"registry": self._registry})
        self._entries: dict[str, list[tuple[PluginInfo, EntryPoint]]] = {}
        self._adapters: dict[str, ModelFrameworkAdapter[Any]] = {}
        self._registered: dict[str, tuple[str, Additions]] = {}
        self._in_code: list[tuple[str, str, Any]] = []
        self._infos: dict[tuple[str, str], PluginInfo] = {}
        self._scoped: dict[tuple[str, str], pluggy.HookCaller] = {}
        if discover:
            self.discover()

    def discover(self) -> None:
        """Look at the installed distributions: list their adapters, load their extensions."""
        installed = installed_plugins(environ=self._environ)
        for info, entry in installed:
            if info.kind == "adapter":
                self._entries.setdefault(info.name, []).append((info, entry))
                self._note(info)
        for info, entry in installed:
            if info.kind == "extension":
                self._load_extension(info, entry)

    # -- what is here -------------------------------------------------------------------------------------------

    def listing(self) -> list[PluginInfo]:
        """Return every adapter and extension that is installed or registered, without importing any."""
        return sorted(self._infos.values(), key=lambda info: (info.kind, info.name, info.distribution))

    def frameworks(self) -> list[str]:
        """Return the frameworks whose adapter may be used."""
        return sorted(info.name for info in self._infos.values() if info.kind == "adapter" and info.is_usable)

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
        claims = [(info, entry) for info, entry in entries if info.state != "blocked"]
        if not entries:
            raise AdapterNotFoundError.for_framework(framework, self.frameworks(), FIRST_PARTY)
        if not claims:
            raise AdapterNotFoundError.blocked(framework, entries[0][0].reason)
        if len(claims) > 1:
            raise DuplicatePluginError.between(
                framework, [f"{info.distribution} {info.version} ({info.value})" for info, _ in claims]
            )
        info, entry = claims[0]
        if info.state == "broken":
            raise BrokenPluginError.because(framework, info.distribution, info.reason)
        try:
            with guarding(f"adapter {framework!r} of {info.distribution}", environ=self._environ):
                adapter = _checked_adapter(framework, entry.load())
                self._register(adapter, name=framework, source=info.distribution)
        except Exception as error:
            broken = replace(info, state="broken", reason=_one_line(error))
            self._entries[framework] = [(broken, entry)]
            self._note(broken)
            raise BrokenPluginError.because(framework, info.distribution, broken.reason) from error
        self._adapters[framework] = adapter
        self._note(replace(info, state="loaded"))
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
        claims = [
            info.distribution for info, _ in self._entries.get(framework, []) if info.state != "blocked"
        ]
        if loaded is not None and not claims:
            claims = [self._registered[framework][0]]
        if claims:
            raise DuplicatePluginError.between(framework, [*claims, _module_of(adapter_class)])
        adapter = _checked_adapter(framework, adapter_class)
        self._register(adapter, name=framework, source=_module_of(adapter_class))
        self._adapters[framework] = adapter
        self._in_code.append(("adapter", framework, adapter_class))
        self._note(PluginInfo(framework, "adapter", IN_CODE, "", _module_of(adapter_class), "loaded"))

    def register_extension(self, name: str, extension: Any) -> None:
        """Make an extension object known in code, as an entry point would.

        Raises:
            DuplicatePluginError: When another extension has the name already.
            PluginError: When it has a hook that does not exist, or none.
        """
        made_by = _module_of(_made_by(extension))
        self._register_extension(name, extension, source=made_by)
        self._in_code.append(("extension", name, extension))
        self._note(PluginInfo(name, "extension", IN_CODE, "", made_by, "loaded"))

    def registered_in_code(self) -> list[tuple[str, str, Any]]:
        """Return (kind, name, object) of what was registered in code, to be repeated in a worker process."""
        return list(self._in_code)

    def repeat(self, in_code: list[tuple[str, str, Any]]) -> None:
        """Register what another process has registered in code, and nothing else: a worker serves many runs."""
        for kind, name, thing in self.registered_in_code():
            if not _holds(in_code, (kind, name, thing)):
                self._forget(kind, name)
        for kind, name, thing in in_code:
            if _holds(self._in_code, (kind, name, thing)):
                continue
            if kind == "adapter":
                self.register_adapter(name, thing)
            else:
                self.register_extension(name, thing)

    # -- hooks --------------------------------------------------------------------------------------------------

    def hooks(self, framework: str) -> ModelHooks:
        """Return the hooks as a model of one framework calls them: no other framework's adapter answers."""
        return cast("ModelHooks", _ScopedHooks(self, framework))

    def call(self, framework: str, hook: str) -> pluggy.HookCaller:
        """Return one hook's caller without the other frameworks' adapters; cached for each framework."""
        key = (framework, hook)
        if key not in self._scoped:
            if framework in self._entries:
                self.adapter(framework)  # which may answer itself; in a worker nobody has asked for it yet
            others = [adapter for name, adapter in self._adapters.items() if name != framework]
            self._scoped[key] = self._manager.subset_hook_caller(hook, others)
        return self._scoped[key]

    def is_wrapped(self, framework: str, hook: str) -> bool:
        """Tell whether somebody beside the core answers or wraps a hook for a framework's models."""
        plugins = [implementation.plugin for implementation in self.call(framework, hook).get_hookimpls()]
        return any(not type(plugin).__module__.startswith(f"{CORE_MODULE}.") for plugin in plugins)

    def versions(self, framework: str) -> list[str]:
        """Name what a framework's results depend on: its distribution and what that and the core need, as installed."""
        from importlib.metadata import PackageNotFoundError, requires, version

        infos = [info for info in self._infos.values() if info.kind == "adapter" and info.is_usable]
        owners = [CORE, *(info.distribution for info in infos if info.name == framework)]
        found: dict[str, str] = {}
        for owner in owners:
            try:
                needed = [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in requires(owner) or []]
            except (
                PackageNotFoundError
            ):  # registered in code: its source is digested, and it needs what the core needs
                continue
            for name in [owner, *needed]:
                try:
                    found[name] = version(name)
                except PackageNotFoundError:  # an extra that is not installed
                    continue
        return sorted(f"{name} {number}" for name, number in found.items())

    def brought_by(self, extension: str) -> Additions:
        """Return what an extension has registered: names, each with the catalog it is in.

        Raises:
            PluginError: When there is no such extension, or it is broken or blocked.
        """
        if _extension_name(extension) in self._registered:
            return list(self._registered[_extension_name(extension)][1])
        for info in self._infos.values():
            if info.kind == "extension" and info.name == extension:
                raise BrokenPluginError.because(extension, info.distribution, info.reason)
        known = [info.name for info in self.listing() if info.kind == "extension"]
        raise PluginError(f"No extension is called {extension!r}; there are: {', '.join(known) or 'none'}.")

    def sources(self) -> list[str]:
        """Name what may change a result: every extension in force, with its version and a digest of its code."""
        return [
            f"{info.name} {info.distribution} {info.version} {digest_of_code([_made_by(self._extension(info))])}"
            for info in self.listing()
            if info.kind == "extension" and info.state == "loaded"
        ]

    def _extension(self, info: PluginInfo) -> Any:
        return self._manager.get_plugin(_extension_name(info.name))

    # -- inside -------------------------------------------------------------------------------------------------

    def _register_extension(self, name: str, extension: Any, *, source: str) -> None:
        """Register an extension, or an instance of a class, and refuse one that answers nothing."""
        registered = _extension_name(name)
        if registered in self._registered:
            raise DuplicatePluginError.between(name, [self._registered[registered][0], source])
        other = self._manager.get_name(extension)
        if other is not None:
            raise PluginError(f"The extension {name!r} of {source} is registered already, as {other!r}.")
        plugin = extension() if isinstance(extension, type) else extension
        self._register(plugin, name=registered, source=source)
        if not self._manager.get_hookcallers(plugin):
            self._unregister(registered)
            raise PluginError(
                f"The extension {name!r} of {source} has no hook. Mark its functions with @hookimpl."
            )

    def _register(self, plugin: Any, *, name: str, source: str) -> None:
        """Register one plugin whole, or not at all."""
        if self._manager.has_plugin(name):
            raise PluginError(f"The plugin name {name!r} of {source} is taken. Give it another name.")
        try:
            with staying_alive(), self._registry.adding_for(source) as additions:
                self._manager.register(plugin, name=name)
                self._manager.check_pending()
        except BaseException as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            if isinstance(error, pluggy.PluginValidationError):
                raise PluginError(
                    f"The plugin {name!r} of {source} has a wrong hook: {_one_line(error)}"
                ) from error
            raise
        self._registered[name] = source, additions
        self._scoped.clear()

    def _forget(self, kind: str, name: str) -> None:
        """Take back one plugin that was registered in code, and all that it brought."""
        self._unregister(name if kind == "adapter" else _extension_name(name))
        self._in_code = [each for each in self._in_code if each[:2] != (kind, name)]
        del self._infos[kind, f"{name}@{IN_CODE}"]

    def _unregister(self, registered: str) -> None:
        self._manager.unregister(name=registered)
        self._registry.take_back(self._registered.pop(registered)[1])
        self._adapters.pop(registered, None)
        self._scoped.clear()

    def _note(self, info: PluginInfo) -> None:
        self._infos[info.kind, f"{info.name}@{info.distribution}"] = info

    def _load_extension(self, info: PluginInfo, entry: EntryPoint) -> None:
        """Load one extension; one that is broken never hurts the others, and is listed."""
        listed = info
        if info.state == "available":
            try:
                with guarding(f"extension {info.name!r} of {info.distribution}", environ=self._environ):
                    self._register_extension(info.name, entry.load(), source=info.distribution)
                listed = replace(info, state="loaded")
            except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises
                listed = replace(info, state="broken", reason=_one_line(error))
        if listed.state == "broken":
            logger.warning(
                "The extension %r of %s is left out: %s", info.name, info.distribution, listed.reason
            )
        self._note(listed)


class _ScopedHooks:
    """Hook callers for one framework, by attribute."""

    def __init__(self, plugins: Plugins, framework: str) -> None:
        self._plugins = plugins
        self._framework = framework

    def __getattr__(self, hook: str) -> pluggy.HookCaller:
        return self._plugins.call(self._framework, hook)


_found: list[Plugins] = []
_override: list[Plugins] = []


def plugins() -> Plugins:
    """Return the process's plugins, discovered at the first call. Models ask for them and never hold them."""
    if _override:
        return _override[-1]
    if not _found:
        _found.append(Plugins(discover=False))  # there already when an extension that is loaded asks for it
        _found[0].discover()
    return _found[0]


Catalog.late = plugins


@contextmanager
def use_plugins(replacement: Plugins) -> Iterator[Plugins]:
    """Put other plugins in force for a block, such as a test's."""
    _override.append(replacement)
    try:
        yield replacement
    finally:
        _override.pop()


def _checked_adapter(framework: str, adapter_class: Any) -> ModelFrameworkAdapter[Any]:
    if not (isinstance(adapter_class, type) and issubclass(adapter_class, ModelFrameworkAdapter)):
        raise PluginError(
            f"the adapter for {framework!r} is {adapter_class!r}, not a subclass of ModelFrameworkAdapter"
        )
    missing = sorted(getattr(adapter_class, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"the adapter for {framework!r} does not fill in {', '.join(missing)}")
    fault = level_fault(adapter_class.api)
    if fault is not None:
        raise PluginError(f"the adapter for {framework!r} {fault}")
    configured: Any = adapter_class.config_class
    if not (isinstance(configured, type) and issubclass(configured, ModelConfig)):
        raise PluginError(
            f"the config_class of the adapter for {framework!r} is not a subclass of ModelConfig"
        )
    return adapter_class()


def _extension_name(name: str) -> str:
    return f"extension:{name}"


def _holds(registered: list[tuple[str, str, Any]], wanted: tuple[str, str, Any]) -> bool:
    """Say whether this very object is registered under that name."""
    return any(each[:2] == wanted[:2] and each[2] is wanted[2] for each in registered)


def _made_by(extension: Any) -> Any:
    """Return the module that an extension is, or the class that it has."""
    return extension if isinstance(extension, (ModuleType, type)) else type(extension)


def _module_of(thing: Any) -> str:
    return thing.__name__ if isinstance(thing, ModuleType) else f"{thing.__module__}:{thing.__qualname__}"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
