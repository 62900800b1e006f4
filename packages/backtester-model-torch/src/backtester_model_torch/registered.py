"""Modules, losses, optimizers and callbacks of a user's own, under names that a configuration may use.

A configuration never holds an import path: what it names was registered by code that ran before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backtester_model_core.catalog import Catalog, Thing, registering

MODULES: Catalog[Callable[..., Any]] = Catalog("registered module")
LOSSES: Catalog[Callable[..., Any]] = Catalog("loss")
OPTIMIZERS: Catalog[Callable[..., Any]] = Catalog("optimizer")
CALLBACKS: Catalog[Callable[..., Any]] = Catalog("callback")


def register_module(name: str) -> Callable[[Thing], Thing]:
    """Register a ``torch.nn.Module`` subclass under a name; use it as a decorator.

    A layer ``{type = "framework", name = "...", arguments = {...}}`` calls it with the shape that it is given,
    ``(features,)`` or ``(steps, features)``, and its arguments by name. Its ``forward`` takes a batch of that shape
    and answers a row or a sequence for each.

    Raises:
        DuplicatePluginError: When the name belongs to another class already.
    """
    return registering(MODULES, name)


def register_loss(name: str) -> Callable[[Thing], Thing]:
    """Register a loss under a name: a function of (output, target) to one number a row, and of its arguments by name.

    The output of a classifier is (n, n_classes) scores before the softmax, its target class positions; that of a
    regression is (n,), and like its target in deviations of the training target.

    Raises:
        DuplicatePluginError: When the name belongs to another loss already.
    """
    return registering(LOSSES, name)


def register_optimizer(name: str) -> Callable[[Thing], Thing]:
    """Register a ``torch.optim.Optimizer`` subclass under a name; use it as a decorator.

    Raises:
        DuplicatePluginError: When the name belongs to another class already.
    """
    return registering(OPTIMIZERS, name)


def register_callback(name: str) -> Callable[[Thing], Thing]:
    """Register a :class:`backtester_model_torch.training.Callback` subclass under a name; use it as a decorator.

    Raises:
        DuplicatePluginError: When the name belongs to another class already.
    """
    return registering(CALLBACKS, name)
