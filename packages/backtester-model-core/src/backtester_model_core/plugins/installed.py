"""What is installed, from package metadata alone: nothing here imports a plugin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

ADAPTERS_GROUP = "backtester_model.adapters"
EXTENSIONS_GROUP = "backtester_model.extensions"
DISABLE = "BACKTESTER_MODEL_DISABLE"
ONLY = "BACKTESTER_MODEL_ONLY"
ALLOW = "BACKTESTER_MODEL_ALLOW"
UNKNOWN = "unknown"

FIRST_PARTY = {
    "sklearn": "backtester-model-sklearn",
    "tensorflow": "backtester-model-tf",
    "pytorch": "backtester-model-torch",
    "scipy": "backtester-model-scipy",
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


def installed_plugins(
    kind: Literal["adapter", "extension"], *, environ: Mapping[str, str]
) -> list[tuple[PluginInfo, EntryPoint]]:
    """List the installed plugins of one kind in order of their names, with what speaks against each.

    A name that several distributions claim is nobody's: which one came first on the path decides nothing.

    Args:
        kind: What to list.
        environ: Where the block and allow lists are read from.
    """
    group = ADAPTERS_GROUP if kind == "adapter" else EXTENSIONS_GROUP
    listed = [(_unless_blocked(info, environ), entry) for info, entry in _found(group, kind)]
    claims: dict[str, list[str]] = {}
    for info, _ in listed:
        if info.is_usable:
            claims.setdefault(info.name, []).append(info.distribution)
    return [(_unless_claimed_twice(info, claims), entry) for info, entry in listed]


def _found(group: str, kind: Literal["adapter", "extension"]) -> list[tuple[PluginInfo, EntryPoint]]:
    """Read the entry points of each distribution that names the group, in order of their names.

    Each is read by itself: one file that cannot be read speaks against its own distribution alone.
    """
    from importlib.metadata import (
        EntryPoint,
        distributions,
    )  # here: it takes longer to import than the whole core

    found: list[tuple[PluginInfo, EntryPoint]] = []
    seen: set[str] = set()
    for distribution in distributions():
        text = _text_of(distribution, "entry_points.txt")
        if group not in text:
            continue
        name, version = _facts_of(distribution)
        if name in seen or (name != UNKNOWN and _is_hidden(name, text)):
            continue
        seen.add(name)
        try:
            entries = list(distribution.entry_points.select(group=group))
        except Exception as error:  # noqa: BLE001 - whatever a parser makes of odd text; the plugin is listed as broken
            unread = f"its entry_points.txt cannot be read ({type(error).__name__}: {error})"
            info = PluginInfo(name, kind, name, version, "", "broken", unread)
            found.append((info, EntryPoint(name, "", group)))
            continue
        found += [(PluginInfo(entry.name, kind, name, version, entry.value), entry) for entry in entries]
    return sorted(found, key=lambda each: (each[0].name, each[0].value))


def _text_of(distribution: Distribution, file: str) -> str:
    try:
        return distribution.read_text(file) or ""
    except (OSError, ValueError):  # it is no text, so it names no group
        return ""


def _facts_of(distribution: Distribution) -> tuple[str, str]:
    """Return a distribution's name, as installers compare it, and its version, as far as its metadata tells."""
    from email.parser import HeaderParser

    facts = HeaderParser().parsestr(_text_of(distribution, "METADATA"))
    name, version = (str(facts[key]) if key in facts else "" for key in ("Name", "Version"))
    return _normal(name or UNKNOWN), version


def _is_hidden(name: str, text: str) -> bool:
    """Say whether another distribution of the same name comes first on the path, so that this one is not in force."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return _text_of(distribution(name), "entry_points.txt") != text
    except PackageNotFoundError:  # its folder has another name than its metadata
        return False


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
