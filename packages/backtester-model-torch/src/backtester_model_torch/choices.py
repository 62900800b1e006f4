"""What the names in a training configuration stand for: optimizers, losses, schedules and callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from backtester_model_core.config import Named, TrainingConfig
from backtester_model_core.config.training import (
    SHARED_LOSSES,
    SHARED_SCHEDULES,
    AbsoluteLoss,
    CrossEntropyLoss,
    HuberLoss,
    PlateauSchedule,
    QuantileLoss,
    SquaredLoss,
)
from backtester_model_core.exceptions import ConfigError
from backtester_model_torch.registered import CALLBACKS, LOSSES, OPTIMIZERS

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From (output, target) to one number a row."""

UNUSABLE: Mapping[str, str] = {
    "lbfgs": "it evaluates each batch several times, which the training loop does not",
    "sparseadam": "it takes sparse gradients, and no layer makes any",
}
SET_ELSEWHERE: Mapping[str, str] = {
    "lr": "training_config.learning_rate sets it",
    "weight_decay": "training_config.weight_decay sets it, for every optimizer alike",
}


# -- optimizers ----------------------------------------------------------------------------------------------------


@cache
def torch_optimizers() -> Mapping[str, type[torch.optim.Optimizer]]:
    """Return torch's optimizers by their names in lower case."""
    found = {name: thing for name, thing in vars(torch.optim).items() if inspect.isclass(thing)}
    return {
        name.lower(): thing
        for name, thing in found.items()
        if issubclass(thing, torch.optim.Optimizer) and thing is not torch.optim.Optimizer
    }


def build_optimizer(training: TrainingConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Build an optimizer of torch's or a registered one, without a weight decay of its own.

    Raises:
        ConfigError: When there is none of that name, or it does not take the arguments.
    """
    name, arguments = training.optimizer.name, training.optimizer.arguments
    key, known = name.lower(), torch_optimizers()
    if key in UNUSABLE:
        raise ConfigError(f"training_config.optimizer {name!r} cannot be used: {UNUSABLE[key]}.")
    for argument, reason in SET_ELSEWHERE.items():
        if argument in arguments:
            raise ConfigError(f"training_config.optimizer: {argument} is refused: {reason}.")
    if name not in OPTIMIZERS and key not in known:
        valid = [*(one for one in known if one not in UNUSABLE), *OPTIMIZERS]
        raise ConfigError.unknown("training_config.optimizer", name, valid)
    found = OPTIMIZERS[name] if name in OPTIMIZERS else known[key]
    decays = "weight_decay" in inspect.signature(found).parameters
    given = {"lr": training.learning_rate, **({"weight_decay": 0.0} if decays else {})}
    built: torch.optim.Optimizer = call(
        "training_config.optimizer", name, found, list(parameters), **given, **arguments
    )
    return built


# -- losses --------------------------------------------------------------------------------------------------------


def build_loss(training: TrainingConfig, model_type: str) -> Loss:
    """Return a function of (output, target) to one number a row.

    Raises:
        ConfigError: When no loss of that name is registered.
    """
    chosen = training.loss_for(model_type)
    if isinstance(chosen, Named):
        if chosen.name not in LOSSES:
            valid = [*SHARED_LOSSES[model_type], *LOSSES]
            raise ConfigError.unknown("training_config.loss", chosen.name, valid)
        found = LOSSES[chosen.name]
        _check_arguments("training_config.loss", chosen.name, found, (None, None), chosen.arguments)
        return partial(found, **chosen.arguments)
    if isinstance(chosen, CrossEntropyLoss):
        return partial(functional.cross_entropy, reduction="none", label_smoothing=chosen.label_smoothing)
    if isinstance(chosen, HuberLoss):
        return partial(functional.huber_loss, reduction="none", delta=chosen.delta)
    if isinstance(chosen, QuantileLoss):
        return partial(pinball_loss, quantile=chosen.quantile)
    return _PLAIN_LOSSES[type(chosen)]


_PLAIN_LOSSES: Mapping[type, Loss] = {
    SquaredLoss: partial(functional.mse_loss, reduction="none"),
    AbsoluteLoss: partial(functional.l1_loss, reduction="none"),
}


def pinball_loss(output: Tensor, target: Tensor, *, quantile: float) -> Tensor:
    """Return ``quantile`` times what the target lies above, or ``1 - quantile`` times what it lies below."""
    above = target - output
    return torch.maximum(quantile * above, (quantile - 1) * above)


# -- schedules -----------------------------------------------------------------------------------------------------

Schedule: TypeAlias = Callable[[float], None]
"""Called after each epoch with the loss that is watched; it sets the next epoch's learning rate."""


def build_schedule(training: TrainingConfig, optimizer: torch.optim.Optimizer) -> Schedule:
    """Return what changes the learning rate after each epoch.

    Raises:
        ConfigError: When torch has no schedule of that name, or it does not take the arguments.
    """
    chosen, epochs = training.scheduler, training.epochs
    if chosen is None:
        return lambda _: None
    if isinstance(chosen, PlateauSchedule):
        plateau = lr_scheduler.ReduceLROnPlateau(
            optimizer,
            factor=chosen.factor,
            patience=chosen.patience,
            threshold=chosen.min_delta,
            threshold_mode="abs",
            min_lr=chosen.minimum * training.learning_rate,
        )
        return plateau.step
    if isinstance(chosen, Named):
        found = _torch_schedule(chosen.name)
        schedule = call("training_config.scheduler", chosen.name, found, optimizer, **chosen.arguments)
    else:
        share = chosen.share
        schedule = lr_scheduler.LambdaLR(optimizer, lambda epoch: share(epoch, epochs))
    return lambda _: schedule.step()


def _torch_schedule(name: str) -> Callable[..., Any]:
    schedules = {
        key: thing
        for key, thing in vars(lr_scheduler).items()
        if inspect.isclass(thing) and issubclass(thing, lr_scheduler.LRScheduler) and key[0].isalpha()
    }
    unusable = {"LRScheduler", "ReduceLROnPlateau"}  # the base class, and what the name 'plateau' stands for
    if name not in schedules or name in unusable:
        valid = [*SHARED_SCHEDULES, *(one for one in schedules if one not in unusable)]
        raise ConfigError.unknown("training_config.scheduler", name, valid)
    return schedules[name]


# -- callbacks -----------------------------------------------------------------------------------------------------


def build_callbacks(training: TrainingConfig) -> list[Any]:
    """Build the registered callbacks, in order.

    Raises:
        ConfigError: When one is not registered, or does not take its arguments.
    """
    built = []
    for chosen in training.callbacks:
        if chosen.name not in CALLBACKS:
            raise ConfigError(
                f"{ConfigError.unknown('callback', chosen.name, CALLBACKS)} "
                "Register one with backtester_model_torch.register_callback."
            )
        built.append(
            call("training_config.callbacks", chosen.name, CALLBACKS[chosen.name], **chosen.arguments)
        )
    return built


# -- calls with arguments of a configuration -----------------------------------------------------------------------


def call(option: str, name: str, thing: Callable[..., Any], *given: Any, **arguments: Any) -> Any:
    """Call what a name stands for, and lead every refusal back to the option.

    Raises:
        ConfigError: When it does not have an argument, or refuses its value.
    """
    _check_arguments(option, name, thing, given, arguments)
    try:
        return thing(*given, **arguments)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ConfigError(f"{option} {name!r} refuses its arguments: {error}") from error


def _check_arguments(
    option: str, name: str, thing: Callable[..., Any], given: tuple[Any, ...], arguments: Mapping[str, Any]
) -> None:
    signature = inspect.signature(thing)
    known = [one.name for one in signature.parameters.values()][len(given) :]
    open_ended = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    for argument in arguments:
        if argument not in known and not open_ended:
            raise ConfigError.unknown(f"argument of {option} {name!r}:", argument, known)
    try:
        signature.bind(*given, **arguments)
    except TypeError as error:
        raise ConfigError(f"{option} {name!r}: {error}.") from error
