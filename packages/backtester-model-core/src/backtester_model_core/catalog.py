"""Named things that extensions may add to: operators, feature sets, labels, data sources, models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from backtester_model_core.exceptions import ConfigError, DuplicatePluginError

T = TypeVar("T")
Thing = TypeVar("Thing", bound=Callable[..., Any])

CORE = "backtester-model-core"


class Catalog(Generic[T]):
    """A mapping from a name to a thing of one kind, each with the distribution that added it.

    A configuration refers to things by these names and never by an import path.

    Attributes:
        kind: What the things are, for messages.
        late: Asked before a name is called unknown: the plugins, which bring theirs when first asked for.
    """

    late: ClassVar[Callable[[], object] | None] = None

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}
        self._sources: dict[str, str] = {}

    def add(self, name: str, thing: T, *, source: str = CORE) -> bool:
        """Add one thing under its name and say whether it is new; the same thing again changes nothing.

        Raises:
            DuplicatePluginError: When the name belongs to another thing already.
        """
        if name in self._things and self._things[name] is not thing and self._things[name] != thing:
            raise DuplicatePluginError.between(name, [self._sources[name], source])
        is_new = name not in self._things
        self._things.setdefault(name, thing)
        self._sources.setdefault(name, source)
        return is_new

    def __getitem__(self, name: str) -> T:
        """Return the thing of that name.

        Raises:
            ConfigError: When there is none, with the nearest name.
        """
        if name not in self:
            raise ConfigError.unknown(self.kind, name, self._things)
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._things and Catalog.late is not None:
            Catalog.late()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def source(self, name: str) -> str:
        """Return the distribution that added the name."""
        return self._sources[name]

    def discard(self, name: str) -> None:
        """Remove a name, if it is there."""
        self._things.pop(name, None)
        self._sources.pop(name, None)


def registering(catalog: Catalog[Callable[..., Any]], name: str) -> Callable[[Thing], Thing]:
    """Return a decorator that adds a class or function of a user's own under a name, and says where it is from.

    Raises:
        DuplicatePluginError: When the name belongs to another thing already.
    """

    def register(thing: Thing) -> Thing:
        source = f"{getattr(thing, '__module__', '')}:{getattr(thing, '__qualname__', '')}"
        catalog.add(name, thing, source=source)
        return thing

    return register
