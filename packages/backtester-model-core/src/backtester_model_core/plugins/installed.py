"""What is installed, from package metadata alone: nothing here imports a plugin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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
    "isolated": "backtester-model-isolated",
}
"""Framework names that only these distributions may claim, unless BACKTESTER_MODEL_ALLOW names another."""


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

    @property
    def is_usable(self) -> bool:
        """Whether it is neither blocked nor broken."""
        return self.state in {"available", "loaded"}


def installed_plugins(*, environ: Mapping[str, str]) -> list[tuple[PluginInfo, EntryPoint]]:
    """List the installed plugins, adapters first, in order of their names, with what speaks against each.

    A name that several distributions claim is nobody's: which one came first on the path decides nothing.

    Args:
        environ: Where the block and allow lists are read from.
    """
    from importlib.metadata import entry_points  # here, because it takes longer to import than the whole core

    everything = entry_points()  # read once: every installed distribution has a file to be looked at
    return [
        *_of_kind("adapter", everything.select(group=ADAPTERS_GROUP), environ),
        *_of_kind("extension", everything.select(group=EXTENSIONS_GROUP), environ),
    ]


def _of_kind(
    kind: Literal["adapter", "extension"], entries: Iterable[EntryPoint], environ: Mapping[str, str]
) -> list[tuple[PluginInfo, EntryPoint]]:
    ordered = sorted(entries, key=lambda entry: (entry.name, entry.value))
    listed = [(_unless_blocked(_describe(entry, kind), environ), entry) for entry in ordered]
    claims: dict[str, list[str]] = {}
    for info, _ in listed:
        if info.is_usable:
            claims.setdefault(info.name, []).append(info.distribution)
    return [(_unless_claimed_twice(info, claims), entry) for info, entry in listed]


def _describe(entry: EntryPoint, kind: Literal["adapter", "extension"]) -> PluginInfo:
    facts = _facts_of(entry)
    distribution, version = (str(facts[name]) if name in facts else "" for name in ("Name", "Version"))
    return PluginInfo(entry.name, kind, _normal(distribution or "unknown"), version, entry.value)


def _facts_of(entry: EntryPoint) -> Any:
    """Return a distribution's metadata; an uninstallation that was cut off has left none, or half of it."""
    try:
        return (entry.dist.metadata if entry.dist is not None else None) or {}
    except (TypeError, OSError, ValueError):
        return {}


def _unless_blocked(info: PluginInfo, environ: Mapping[str, str]) -> PluginInfo:
    only, disabled = environ.get(ONLY), _names(environ.get(DISABLE))
    allowed = {_normal(name) for name in _names(environ.get(ALLOW))}
    owner = FIRST_PARTY.get(info.name, info.distribution) if info.kind == "adapter" else info.distribution
    reason = ""
    if info.name in disabled:
        reason = f"{DISABLE} names it"
    elif only is not None and info.name not in _names(only):
        reason = f"{ONLY} does not name it"
    elif info.distribution not in {owner, *allowed}:
        reason = f"only {owner} may claim {info.name!r}; set {ALLOW}={info.distribution} to allow this one"
    return replace(info, state="blocked", reason=reason) if reason else info


def _unless_claimed_twice(info: PluginInfo, claims: Mapping[str, list[str]]) -> PluginInfo:
    if not info.is_usable or len(claims[info.name]) == 1:
        return info
    twice = f"the name is claimed by {' and '.join(claims[info.name])}; uninstall all but one"
    return replace(info, state="broken", reason=twice)


def _normal(distribution: str) -> str:
    """Return a distribution's name as installers compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _names(value: str | None) -> set[str]:
    return {name.strip() for name in (value or "").split(",") if name.strip()}
