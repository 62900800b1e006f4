"""The training loop: epochs over seeded batches, later rows to stop by, and the best weights when it goes wrong."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from backtester_model_core.config import TrainingConfig
from backtester_model_core.notes import stopped_early, went_back
from backtester_model_torch.choices import Loss, build_callbacks, build_optimizer, build_schedule
from backtester_model_torch.windows import Inputs

LOGGER = logging.getLogger(__name__)

MEASURED_ROWS = 1024
"""Rows of a batch when only the loss is wanted."""


@dataclass(frozen=True)
class Sample:
    """Inputs with what came true.

    Attributes:
        inputs: Rows or windows.
        target: (m,) class positions, or standardised values.
        weight: (m,) what each row counts, one on average; ``None`` where all count the same.
    """

    inputs: Inputs
    target: Tensor
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass
class TrainingState:
    """Where a training stands, as callbacks see it; setting ``stop`` ends it after the epoch.

    Attributes:
        network: What is trained.
        optimizer: What changes its weights.
        epochs: Epochs there are at most.
        epoch: The epoch, counted from 1; 0 before the first.
        train_loss: Mean loss over the epoch's batches, while the weights changed.
        validation_loss: Mean loss of the later rows after the epoch; ``None`` where none are held back.
        stop: Whether the training ends after this epoch.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: int
    epoch: int = 0
    train_loss: float = math.nan
    validation_loss: float | None = None
    stop: bool = False

    @property
    def watched(self) -> float:
        """The loss to judge by: that of the later rows, or of training where there are none."""
        return self.train_loss if self.validation_loss is None else self.validation_loss

    @property
    def learning_rate(self) -> float:
        """The optimizer's learning rate now."""
        return float(self.optimizer.param_groups[0]["lr"])


class Callback:
    """Called as a training goes on; subclass it, fill in what is wanted, and register it under a name."""

    def on_train_begin(self, state: TrainingState) -> None:
        """Act before the first epoch."""

    def on_epoch_begin(self, state: TrainingState) -> None:
        """Act before an epoch."""

    def on_epoch_end(self, state: TrainingState) -> None:
        """Act after an epoch, whose losses are known."""

    def on_train_end(self, state: TrainingState) -> None:
        """Act after the last epoch, when the weights are those that stay."""


@dataclass
class Best:
    """The best epoch so far, with its weights.

    Attributes:
        min_delta: Fall of the loss that counts as one.
        epoch: The epoch; 0 before there is one.
        loss: Its loss.
        weights: Its weights.
    """

    min_delta: float
    epoch: int = 0
    loss: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)

    def take(self, state: TrainingState) -> None:
        """Keep the weights of an epoch that is better."""
        if state.watched < self.loss - self.min_delta:
            self.epoch, self.loss = state.epoch, state.watched
            self.weights = {name: value.clone() for name, value in state.network.state_dict().items()}


@dataclass(frozen=True)
class Trainer:
    """One training: what it learns from, and how.

    Attributes:
        training: How the network is trained.
        loss: From (output, target) to one number a row.
        device: What computes.
        seed: Seed of the order of rows; ``None`` for any.
    """

    training: TrainingConfig
    loss: Loss
    device: torch.device
    seed: int | None = None

    def train(self, network: nn.Module, sample: Sample, later: Sample | None) -> tuple[str, ...]:
        """Train a network in place and return what is worth knowing.

        Raises:
            TrainingError: When the loss is not finite in the first epoch.
        """
        optimizer = build_optimizer(self.training, network.parameters())
        schedule = build_schedule(self.training, optimizer)
        callbacks = build_callbacks(self.training)
        forward: Any = torch.compile(network) if self.training.compile else network
        state = TrainingState(network, optimizer, self.training.epochs)
        stopping = self.training.early_stopping if later is not None else None
        best = Best(stopping.min_delta if stopping else 0.0)
        order, scaler = self._generator(), self._scaler()
        _tell(callbacks, "on_train_begin", state)
        for epoch in range(1, self.training.epochs + 1):
            state.epoch = epoch
            _tell(callbacks, "on_epoch_begin", state)
            state.train_loss = self._epoch(forward, optimizer, sample, order, scaler)
            state.validation_loss = None if later is None else self.measure(forward, later)
            if not _is_finite(state):
                notes = self._broken_off(state, best)
                _tell(callbacks, "on_train_end", state)
                return notes
            best.take(state)
            if stopping and epoch - best.epoch >= stopping.patience:
                state.stop = True
            _log(state)
            _tell(callbacks, "on_epoch_end", state)
            if state.stop:
                break
            schedule(state.watched)
        if stopping and stopping.restore_best:
            network.load_state_dict(best.weights)
        _tell(callbacks, "on_train_end", state)
        if stopping is None:
            return ()
        return (stopped_early(state.epoch, state.epochs, best=best.epoch, loss=best.loss),)

    @torch.no_grad()
    def measure(self, forward: Any, sample: Sample) -> float:
        """Return the mean loss of a sample, with dropout off and every row counting the same."""
        forward.eval()
        positions: Any = torch.arange(len(sample), device=self.device)
        total = torch.zeros((), device=self.device)
        for chosen in positions.split(MEASURED_ROWS):
            output = self._output(forward, sample, chosen)
            total += self.loss(output, sample.target[chosen]).sum()
        return float(total) / len(sample)

    def _epoch(
        self,
        forward: Any,
        optimizer: torch.optim.Optimizer,
        sample: Sample,
        order: torch.Generator,
        scaler: Any,
    ) -> float:
        """Go once over all rows; return their mean loss."""
        forward.train()
        total = torch.zeros((), device=self.device)
        for chosen in self._batches(len(sample), order):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, enabled=self._is_mixed):
                output = self._output(forward, sample, chosen)
                losses = self.loss(output, sample.target[chosen])
            if sample.weight is not None:
                losses = losses * sample.weight[chosen]
            loss = losses.mean()
            scaler.scale(loss).backward()
            self._step(optimizer, scaler)
            total += loss.detach() * len(chosen)
        return float(total) / len(sample)

    def _output(self, forward: Any, sample: Sample, chosen: Tensor) -> Tensor:
        output: Tensor = forward(sample.inputs.batch(chosen))
        return output if sample.target.dtype == torch.int64 else output.squeeze(1)

    def _step(self, optimizer: torch.optim.Optimizer, scaler: Any) -> None:
        """Clip the gradients, let the weights decay apart from them, and take a step."""
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        if self.training.gradient_clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, self.training.gradient_clip)
        if self.training.decay > 0:
            with torch.no_grad():
                for group in optimizer.param_groups:
                    torch._foreach_mul_(group["params"], 1 - group["lr"] * self.training.decay)
        scaler.step(optimizer)
        scaler.update()

    def _batches(self, n_rows: int, order: torch.Generator) -> Iterator[Tensor]:
        """Yield positions in an order of their own; a last row that would stand alone joins the batch before it."""
        rows: Any = torch.randperm(n_rows, generator=order) if self.training.shuffle else torch.arange(n_rows)
        batches = list(rows.to(self.device).split(self.training.batch_size))
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        yield from batches

    @property
    def _is_mixed(self) -> bool:
        return self.training.mixed_precision and self.device.type == "cuda"

    def _scaler(self) -> Any:
        return torch.amp.GradScaler(self.device.type, enabled=self._is_mixed)

    def _generator(self) -> torch.Generator:
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator

    def _broken_off(self, state: TrainingState, best: Best) -> tuple[str, ...]:
        """Go back to the best weights, when there are any."""
        note = went_back(state.epoch, state.epochs, best=best.epoch)
        state.network.load_state_dict(best.weights)
        LOGGER.warning(note)
        return (note,)


def _tell(callbacks: list[Any], moment: str, state: TrainingState) -> None:
    for callback in callbacks:
        getattr(callback, moment)(state)


def _is_finite(state: TrainingState) -> bool:
    """Look at the losses and, as the last step of an epoch is in neither, at the weights."""
    weights = all(bool(torch.isfinite(one).all()) for one in state.network.parameters())
    return math.isfinite(state.train_loss) and math.isfinite(state.watched) and weights


def _log(state: TrainingState) -> None:
    later = "" if state.validation_loss is None else f", validation loss {state.validation_loss:.6g}"
    LOGGER.info("epoch %d of %d: loss %.6g%s", state.epoch, state.epochs, state.train_loss, later)
