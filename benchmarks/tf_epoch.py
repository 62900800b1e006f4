"""Time one epoch of an LSTM against a loop written by hand on the same tensors, and measure memory on a large panel.

``python benchmarks/tf_epoch.py`` prints the median, over runs taken in turn, of the ratio of both times. The loop by
hand does what a careful researcher would write for windows that lie ready in one tensor: shuffle, gather, and one
compiled function a step. Both run three epochs at a time, once their graphs are traced. Then a child process trains a
small LSTM for an epoch on 500 symbols of 2,520 bars and 20 features, with a look-back of 60, and reports by how much
its memory rose above the panel's own; the windows laid out would take sixty panels.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from backtester_model_core.scaling import Scaling
from backtester_model_core.testing.watch import peak_bytes
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_tf import TensorFlowModelConfig
from backtester_model_tf.adapter import TensorFlowAdapter
from backtester_model_tf.backend import keras, tf
from backtester_model_tf.layers import build_network
from backtester_model_tf.training import Trainer
from backtester_model_tf.windows import Windows, batches

N_ROWS, N_FEATURES, STEPS = 12_000, 20, 60
N_SYMBOLS, N_BARS = 500, 2520
EPOCHS = 3


def configured(batch_size: int, *, units: int = 32, epochs: int = 1) -> TensorFlowModelConfig:
    return TensorFlowModelConfig.model_validate(
        {
            "lookback_period": STEPS,
            "model_architecture": {"layers": [{"type": "lstm", "units": units}]},
            "training_config": {"epochs": epochs, "batch_size": batch_size},
        }
    )


def loop_by_hand(network: Any) -> Any:
    """Return a function that trains a network for an epoch on windows that lie ready."""
    optimizer = keras.optimizers.Adam(1e-3)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(reduce_retracing=True)
    def step(inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(target, network(inputs, training=True))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables, strict=True)
        )
        return loss

    def epoch(windows: Any, target: Any, batch_size: int) -> None:
        order = tf.random.shuffle(tf.range(len(target)))
        for first in range(0, len(target), batch_size):
            chosen = order[first : first + batch_size]
            step(tf.gather(windows, chosen), tf.gather(target, chosen))

    return epoch


def compare(n_runs: int, batch_size: int) -> None:
    config = configured(batch_size, epochs=EPOCHS)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N_ROWS + STEPS - 1, N_FEATURES))
    target = rng.integers(0, 2, N_ROWS)
    views = np.lib.stride_tricks.sliding_window_view(rows, STEPS, axis=0).transpose(0, 2, 1)
    windows, told = tf.constant(views.astype(np.float32)), tf.constant(target)
    trainer = Trainer(config.training_config, "classification")
    network, other = (
        build_network(config, N_FEATURES, n_outputs=2, network_class=keras.Model) for _ in range(2)
    )
    trainer.prepare(network)
    by_hand = loop_by_hand(other)
    inputs = Windows.of(rows, steps=STEPS, ends=np.arange(STEPS - 1, len(rows)))
    ours, theirs = [], []
    for run in range(n_runs + 1):
        started = time.perf_counter()
        order = np.random.default_rng(run)
        sample = batches(
            inputs, Scaling.none(N_FEATURES), target, None, size=batch_size, order=order, endless=True
        )
        trainer.train(network, sample, None)
        between = time.perf_counter()
        for _ in range(EPOCHS):
            by_hand(windows, told, batch_size)
        if run:  # the first traces the graphs
            ours.append((between - started) / EPOCHS)
            theirs.append((time.perf_counter() - between) / EPOCHS)
    ratio = statistics.median(one / two for one, two in zip(ours, theirs, strict=True))
    print(
        f"one epoch, {N_ROWS:,} windows of {STEPS} x {N_FEATURES}, LSTM of 32, batches of {batch_size}: "
        f"{statistics.median(ours):.2f} s, by hand {statistics.median(theirs):.2f} s, ratio {ratio:.3f}"
    )


def panel() -> tuple[FloatArray, IntArray, IntArray]:
    """Return rows symbol by symbol, and targets for those with a whole window behind them."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N_SYMBOLS * N_BARS, N_FEATURES))
    ends = np.flatnonzero(np.arange(len(features)) % N_BARS >= STEPS - 1)
    return features, rng.integers(0, 2, len(ends)), ends


def train_panel(batch_size: int) -> None:
    """Train one epoch and print how far memory rose above what it was with the panel at hand."""
    features, target, ends = panel()
    adapter = TensorFlowAdapter()
    native = adapter.initialize_model(configured(batch_size, units=8))
    few = slice(0, 4 * STEPS)
    adapter.train_model(  # traces the graph
        native, features[: 5 * STEPS], target[few], classes=(0.0, 1.0), seed=0, ends=ends[few]
    )
    before = peak_bytes()
    started = time.perf_counter()
    adapter.train_model(native, features, target, classes=(0.0, 1.0), seed=0, ends=ends)
    rise = (peak_bytes() - before) / features.nbytes
    print(
        f"panel of {features.nbytes / 1e6:.0f} MB, {len(ends):,} windows: memory rose by {rise:.2f} panels "
        f"in {time.perf_counter() - started:.0f} s (windows laid out in single precision: {STEPS / 2:.0f} panels)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="times that three epochs are timed on each side")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--panel", action="store_true", help="train on the panel in this process")
    chosen = parser.parse_args()
    if chosen.panel:
        train_panel(chosen.batch_size)
        return
    compare(chosen.runs, chosen.batch_size)
    subprocess.run([sys.executable, __file__, "--panel", "--batch-size", "1024"], check=True)


if __name__ == "__main__":
    main()
