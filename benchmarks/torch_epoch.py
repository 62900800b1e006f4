"""Time one epoch of an LSTM against a loop written by hand on the same tensors, and measure memory on a large panel.

``python benchmarks/torch_epoch.py`` prints the median, over runs taken in turn, of the ratio of both times. The loop
by hand does what a careful researcher would write for windows that lie ready in one tensor: shuffle, slice, forward,
backward, step. Then a child process trains a small LSTM for an epoch on 500 symbols of 2,520 bars and 20 features,
with a look-back of 60, and reports by how much its memory rose above the panel's own; the windows laid out would
take sixty panels.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from backtester_model_core.adapter import HeldBack
from backtester_model_core.testing.watch import peak_bytes
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_torch import PyTorchModelConfig
from backtester_model_torch.adapter import PyTorchAdapter, build_network
from backtester_model_torch.choices import build_loss
from backtester_model_torch.training import Sample, Trainer
from backtester_model_torch.windows import Inputs

N_ROWS, N_FEATURES, STEPS = 12_000, 20, 60
N_SYMBOLS, N_BARS = 500, 2520
CPU = torch.device("cpu")


def configured(batch_size: int, *, units: int = 32) -> PyTorchModelConfig:
    return PyTorchModelConfig.model_validate(
        {
            "lookback_period": STEPS,
            "device": "cpu",
            "model_architecture": {"layers": [{"type": "lstm", "units": units}]},
            "training_config": {"epochs": 1, "batch_size": batch_size},
        }
    )


def epoch_by_hand(network: nn.Module, windows: torch.Tensor, target: torch.Tensor, batch_size: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    network.train()
    for chosen in torch.randperm(len(target)).split(batch_size):
        optimizer.zero_grad()
        functional.cross_entropy(network(windows[chosen]), target[chosen]).backward()
        optimizer.step()


def compare(n_runs: int, batch_size: int) -> None:
    config = configured(batch_size)
    rows = torch.randn(N_ROWS + STEPS - 1, N_FEATURES)
    target = torch.randint(0, 2, (N_ROWS,))
    inputs = Inputs.of(rows, steps=STEPS, ends=np.arange(STEPS - 1, len(rows)))
    windows = inputs.windows.contiguous()
    trainer = Trainer(
        config.training_config, build_loss(config.training_config, "classification"), CPU, seed=0
    )
    ours, theirs = [], []
    for run in range(n_runs + 1):
        network = build_network(config, N_FEATURES, n_outputs=2)
        started = time.perf_counter()
        trainer.train(network, Sample(inputs, target), None)
        between = time.perf_counter()
        epoch_by_hand(build_network(config, N_FEATURES, n_outputs=2), windows, target, batch_size)
        if run:  # the first warms up
            ours.append(between - started)
            theirs.append(time.perf_counter() - between)
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
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
    adapter = PyTorchAdapter()
    native = adapter.initialize_model(configured(batch_size, units=8))
    small = HeldBack(features[: 4 * STEPS], target[:STEPS], ends[:STEPS])
    adapter.train_model(
        native, *small[:2], classes=(0.0, 1.0), seed=0, ends=small.ends
    )  # loads torch's kernels
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
    parser.add_argument("--runs", type=int, default=5, help="epochs timed on each side")
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
