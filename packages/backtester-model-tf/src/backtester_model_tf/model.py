"""A trained network as it travels: weights and what belongs to them, asked in batches of one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from backtester_model_core.exceptions import ModelError
from backtester_model_core.probabilities import softmax
from backtester_model_core.scaling import Scaling
from backtester_model_core.typing import BoolArray, FloatArray, IntArray
from backtester_model_tf.backend import keras, own_settings, tf
from backtester_model_tf.config import TensorFlowModelConfig
from backtester_model_tf.layers import build_network
from backtester_model_tf.windows import Windows

ANSWERED_ROWS = 256
"""Rows of a batch of answers. Each batch has exactly as many, since a matrix product of another size may round
otherwise: so a row's answer does not depend on the rows that are asked about with it. It also is traced only once."""


@dataclass(frozen=True, eq=False)
class TensorFlowModel:
    """The weights of a network, and what belongs to them; plain data, so that it travels to any process.

    Attributes:
        config: What it is.
        weights: Arrays in the order of the network's variables; empty before training.
        features: How features are standardised.
        target: How the target of a regression is.
        classes: The classes' values in their fixed order; ``None`` for regression.
        seen: (n_classes,) which classes a training row had; ``None`` for regression.
        notes: What is worth knowing about the training.
    """

    config: TensorFlowModelConfig
    weights: tuple[Any, ...] = ()
    features: Scaling | None = None
    target: Scaling | None = None
    classes: tuple[float, ...] | None = None
    seen: BoolArray | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Numbers that the network answers a row with."""
        return 1 if self.classes is None else len(self.classes)

    @property
    def scaling(self) -> Scaling:
        """How features are standardised.

        Raises:
            ModelError: When the model is not trained.
        """
        if self.features is None:
            raise ModelError("The network is not built yet. Train it first.")
        return self.features

    def build(
        self, *, seed: int | None = None, network_class: Any = keras.Model, policy: str = "float32"
    ) -> Any:
        """Build the network with its weights, or with those of the seed where there are none yet."""
        with own_settings(seed=seed, policy=policy):
            network = build_network(
                self.config, len(self.scaling.centre), n_outputs=self.n_outputs, network_class=network_class
            )
        if self.weights:
            network.set_weights(self.weights)
        return network

    @cached_property
    def answer(self) -> Callable[[Any], Any]:
        """The network as one compiled function of a batch of ``ANSWERED_ROWS``; built when it is first asked."""
        network = self.build()
        shape = (ANSWERED_ROWS, *network.input_shape[1:])
        compiled: Callable[[Any], Any] = tf.function(
            lambda inputs: network(inputs, training=False)
        ).get_concrete_function(tf.TensorSpec(shape, tf.float32))
        return compiled

    def __getstate__(self) -> dict[str, Any]:
        """Leave the compiled function behind: it belongs to its process."""
        return {name: value for name, value in self.__dict__.items() if name != "answer"}

    def windows(self, features: FloatArray, ends: IntArray | None) -> Windows:
        """Take rows or windows, as the architecture does.

        Raises:
            ModelError: When windows are wanted, and nobody says where they end.
        """
        return Windows.of(features, steps=self.config.window_rows(ends), ends=ends)

    def forecast(self, features: FloatArray, ends: IntArray | None) -> FloatArray:
        """Return (m,) values, or (m, n_classes) probabilities with 0 for a class that no training row had."""
        scaling, windows = self.scaling, self.windows(features, ends)
        output = np.empty((len(windows), self.n_outputs))
        for first in range(0, len(windows), ANSWERED_ROWS):
            inputs = tf.constant(scaling.apply(windows.batch(first, ANSWERED_ROWS)))
            output[first : first + ANSWERED_ROWS] = self.answer(inputs).numpy()[: len(windows) - first]
        if self.target is not None:
            return np.asarray(output[:, 0] * self.target.width[0] + self.target.centre[0], dtype=np.float64)
        return softmax(output, seen=self.seen)
