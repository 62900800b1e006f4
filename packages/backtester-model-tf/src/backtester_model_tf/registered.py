"""Layers, losses, optimizers, callbacks and training steps of a user's own, under names that a configuration may use.

A configuration never holds an import path: what it names was registered by code that ran before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backtester_model_core.catalog import Catalog, Thing, registering

LAYERS: Catalog[Callable[..., Any]] = Catalog("layer")
LOSSES: Catalog[Callable[..., Any]] = Catalog("loss")
OPTIMIZERS: Catalog[Callable[..., Any]] = Catalog("optimizer")
CALLBACKS: Catalog[Callable[..., Any]] = Catalog("callback")
TRAIN_STEPS: Catalog[Callable[..., Any]] = Catalog("training step")


def register_layer(name: str) -> Callable[[Thing], Thing]:
    """Register a ``keras.layers.Layer`` subclass under a name; use it as a decorator.

    A layer ``{type = "framework", name = "...", arguments = {...}}`` is built with its arguments by name. It is called
    with a batch of rows, (n, features), or of sequences, (n, steps, features), and answers one or the other.

    Raises:
        DuplicatePluginError: When the name belongs to another class already.
    """
    return registering(LAYERS, name)


def register_loss(name: str) -> Callable[[Thing], Thing]:
    """Register a loss under a name: a function of (target, output) to one number a row, and of its arguments by name.

    The output of a classifier is (n, n_classes) scores before the softmax, its target (n,) class positions; that of a
    regression is (n,), and like its target in deviations of the training target.

    Raises:
        DuplicatePluginError: When the name belongs to another loss already.
    """
    return registering(LOSSES, name)


def register_optimizer(name: str) -> Callable[[Thing], Thing]:
    """Register a ``keras.optimizers.Optimizer`` subclass under a name; use it as a decorator.

    Raises:
        DuplicatePluginError: When the name belongs to another class already.
    """
    return registering(OPTIMIZERS, name)


def register_callback(name: str) -> Callable[[Thing], Thing]:
    """Register a ``keras.callbacks.Callback`` subclass under a name; use it as a decorator.

    Raises:
        DuplicatePluginError: When the name belongs to another class already.
    """
    return registering(CALLBACKS, name)


def register_train_step(name: str) -> Callable[[Thing], Thing]:
    """Register a training step under a name: a function of (network, inputs, target, weight) to the batch's loss.

    It changes the weights: it computes the loss, as ``network.compute_loss`` does, takes its gradients, and hands
    them to ``network.optimizer``. ``weight`` is (n,), or ``None`` where all rows count the same. ``fit`` calls it
    for each batch as a compiled graph.

    Raises:
        DuplicatePluginError: When the name belongs to another function already.
    """
    return registering(TRAIN_STEPS, name)
