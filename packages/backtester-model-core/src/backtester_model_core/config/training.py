"""How a network is trained, in one vocabulary for every framework."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pydantic

from backtester_model_core.config.groups import Group
from backtester_model_core.config.named import Named, name_as_table
from backtester_model_core.exceptions import ConfigError
from backtester_model_core.typing import FloatArray, IntArray

# -- losses --------------------------------------------------------------------------------------------------------


class CrossEntropyLoss(Group):
    """Minus the log probability of the class that came true."""

    name: Literal["cross_entropy"] = pydantic.Field(default="cross_entropy", description="Name of the loss.")
    label_smoothing: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Share of each target that is spread evenly over all classes."
    )


class SquaredLoss(Group):
    """The squared error; its best forecast is the mean."""

    name: Literal["mse"] = pydantic.Field(default="mse", description="Name of the loss.")


class AbsoluteLoss(Group):
    """The absolute error; its best forecast is the median."""

    name: Literal["mae"] = pydantic.Field(default="mae", description="Name of the loss.")


class HuberLoss(Group):
    """Half the squared error up to ``delta``, linear beyond (Huber 1964)."""

    name: Literal["huber"] = pydantic.Field(default="huber", description="Name of the loss.")
    delta: float = pydantic.Field(
        default=1.0,
        gt=0,
        le=1e6,
        description="Error, in deviations of the target, from which it grows linearly.",
    )


class QuantileLoss(Group):
    """The pinball loss; its best forecast is a quantile (Koenker & Bassett 1978)."""

    name: Literal["quantile"] = pydantic.Field(default="quantile", description="Name of the loss.")
    quantile: float = pydantic.Field(
        default=0.5, gt=0, lt=1, description="Share of outcomes below the forecast."
    )


# -- schedules of the learning rate --------------------------------------------------------------------------------


class StepSchedule(Group):
    """The learning rate times ``factor`` after every ``every`` epochs."""

    name: Literal["step"] = pydantic.Field(default="step", description="Name of the schedule.")
    every: int = pydantic.Field(default=10, ge=1, le=100_000, description="Epochs from one drop to the next.")
    factor: float = pydantic.Field(default=0.5, gt=0, le=1, description="What each drop leaves.")

    def share(self, epoch: int, epochs: int) -> float:  # noqa: ARG002 - all schedules are asked alike
        """Return the share of the learning rate in an epoch, counted from 0."""
        return float(self.factor ** (epoch // self.every))


class ExponentialSchedule(Group):
    """The learning rate times ``factor`` after every epoch."""

    name: Literal["exponential"] = pydantic.Field(default="exponential", description="Name of the schedule.")
    factor: float = pydantic.Field(default=0.95, gt=0, le=1, description="What each epoch leaves.")

    def share(self, epoch: int, epochs: int) -> float:  # noqa: ARG002 - all schedules are asked alike
        """Return the share of the learning rate in an epoch, counted from 0."""
        return float(self.factor**epoch)


class CosineSchedule(Group):
    """A linear rise over the first epochs, then half a cosine down to ``minimum`` (Loshchilov & Hutter 2017, eq. 5)."""

    name: Literal["cosine"] = pydantic.Field(default="cosine", description="Name of the schedule.")
    warmup_epochs: int = pydantic.Field(default=0, ge=0, le=100_000, description="Epochs of the rise.")
    minimum: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Share of the learning rate at the end."
    )

    def share(self, epoch: int, epochs: int) -> float:
        """Return the share of the learning rate in an epoch, counted from 0."""
        if epoch < self.warmup_epochs:
            return (epoch + 1) / (self.warmup_epochs + 1)
        progress = (epoch - self.warmup_epochs) / max(1, epochs - self.warmup_epochs)
        return self.minimum + (1 - self.minimum) * (1 + math.cos(math.pi * progress)) / 2


class PlateauSchedule(Group):
    """The learning rate times ``factor`` when the loss has not fallen for more than ``patience`` epochs.

    The loss is that of the validation rows, or that of training where none are held back.
    """

    name: Literal["plateau"] = pydantic.Field(default="plateau", description="Name of the schedule.")
    factor: float = pydantic.Field(default=0.5, gt=0, lt=1, description="What each drop leaves.")
    patience: int = pydantic.Field(
        default=5, ge=0, le=100_000, description="Epochs without a fall that pass without a drop."
    )
    min_delta: float = pydantic.Field(
        default=1e-4, ge=0, le=1e6, description="Fall of the loss that counts as one."
    )
    minimum: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Share of the learning rate below which it never falls."
    )


SHARED_LOSSES: Mapping[str, tuple[str, ...]] = {
    "classification": ("cross_entropy",),
    "regression": ("mse", "mae", "huber", "quantile"),
}
"""Losses that every framework has, by task; the first is the default."""

SHARED_SCHEDULES = ("step", "exponential", "cosine", "plateau")


def _tag_among(shared: tuple[str, ...]) -> pydantic.Discriminator:
    """Tell a shared name from one of the framework's own."""

    def tag(value: Any) -> str:
        table = name_as_table(value)
        name = table.get("name") if isinstance(table, Mapping) else getattr(table, "name", None)
        return str(name) if name in shared else "framework"

    return pydantic.Discriminator(tag)


LossConfig: TypeAlias = Annotated[
    Annotated[CrossEntropyLoss, pydantic.Tag("cross_entropy")]
    | Annotated[SquaredLoss, pydantic.Tag("mse")]
    | Annotated[AbsoluteLoss, pydantic.Tag("mae")]
    | Annotated[HuberLoss, pydantic.Tag("huber")]
    | Annotated[QuantileLoss, pydantic.Tag("quantile")]
    | Annotated[Named, pydantic.Tag("framework")],
    _tag_among(tuple(name for names in SHARED_LOSSES.values() for name in names)),
]

ScheduleConfig: TypeAlias = Annotated[
    Annotated[StepSchedule, pydantic.Tag("step")]
    | Annotated[ExponentialSchedule, pydantic.Tag("exponential")]
    | Annotated[CosineSchedule, pydantic.Tag("cosine")]
    | Annotated[PlateauSchedule, pydantic.Tag("plateau")]
    | Annotated[Named, pydantic.Tag("framework")],
    _tag_among(SHARED_SCHEDULES),
]


# -- training ------------------------------------------------------------------------------------------------------


class EarlyStopping(Group):
    """When to stop by the loss of later, purged rows."""

    patience: int = pydantic.Field(
        default=5, ge=1, le=100_000, description="Epochs without a fall of the validation loss until the end."
    )
    min_delta: float = pydantic.Field(
        default=0.0, ge=0, le=1e6, description="Fall of the validation loss that counts as one."
    )
    restore_best: bool = pydantic.Field(
        default=True, description="Whether the weights of the best epoch are the ones that stay."
    )


ClassWeight: TypeAlias = Annotated[float, pydantic.Field(gt=0, le=1e6)]


class TrainingConfig(Group):
    """How a network is trained; a framework's subclass may add options of its own.

    A regression learns its target in deviations from the mean of the training rows, and its forecasts are put
    back: a loss, and what is compared with one, has no unit. A row's weight multiplies its loss, and a step goes
    by the mean over its batch.
    """

    optimizer: Annotated[Named, pydantic.BeforeValidator(name_as_table)] = pydantic.Field(
        default=Named(name="adam"),
        description=(
            "Name of an optimizer, 'adam', 'adamw', 'rmsprop', 'sgd' or any of the framework's own, or a table of "
            "the name and its arguments."
        ),
    )
    learning_rate: float = pydantic.Field(default=1e-3, gt=0, le=100, description="Size of its steps.")
    weight_decay: Annotated[float, pydantic.Field(ge=0, le=1)] | None = pydantic.Field(
        default=None,
        description=(
            "What each step takes from every weight, as a share times the learning rate, apart from the gradient "
            "(Loshchilov & Hutter 2019), whatever the optimizer; by default 0.01 for adamw and 0 for the others."
        ),
    )
    epochs: int = pydantic.Field(default=50, ge=1, le=100_000, description="Passes over the training rows.")
    batch_size: int = pydantic.Field(default=256, ge=1, le=1_000_000, description="Rows of one step.")
    shuffle: bool = pydantic.Field(
        default=True, description="Whether each epoch takes the training rows in another, seeded order."
    )
    loss: Annotated[LossConfig, pydantic.BeforeValidator(name_as_table)] | None = pydantic.Field(
        default=None,
        description=(
            "What training makes small: 'cross_entropy' for classification; 'mse', 'mae', 'huber' or 'quantile' "
            "for regression; or one of the framework's own. By default cross_entropy, or mse."
        ),
    )
    class_weight: (
        Literal["balanced"] | Annotated[dict[float, ClassWeight], pydantic.Field(max_length=100)] | None
    ) = pydantic.Field(
        default=None,
        description=(
            "Weight of each class's rows, by the class's value; 'balanced' gives every class the same total."
        ),
    )
    early_stopping: EarlyStopping | None = pydantic.Field(
        default=None, description="When to stop by the latest validation_split of the rows, if at all."
    )
    scheduler: Annotated[ScheduleConfig, pydantic.BeforeValidator(name_as_table)] | None = pydantic.Field(
        default=None,
        description=(
            "How the learning rate changes from epoch to epoch: 'step', 'exponential', 'cosine', 'plateau' or one "
            "of the framework's own."
        ),
    )
    gradient_clip: float | None = pydantic.Field(
        default=None,
        gt=0,
        le=1e6,
        description="Norm of all gradients together above which they are scaled down.",
    )
    callbacks: tuple[Named, ...] = pydantic.Field(
        default=(),
        max_length=20,
        description="Names of callbacks, each with its arguments where it has some.",
    )
    mixed_precision: bool = pydantic.Field(
        default=False, description="Whether a GPU computes in half precision where that is safe."
    )
    compile: bool = pydantic.Field(
        default=False, description="Whether the framework compiles the network: slow to start, faster after."
    )

    @property
    def decay(self) -> float:
        """The weight decay in force."""
        if self.weight_decay is None:
            return 0.01 if self.optimizer.name.lower() == "adamw" else 0.0
        return self.weight_decay

    @property
    def uses_validation(self) -> bool:
        """Whether training wants later rows."""
        return self.early_stopping is not None or isinstance(self.scheduler, PlateauSchedule)

    def loss_for(self, model_type: str) -> LossConfig:
        """Return the loss in force for a task."""
        if self.loss is not None:
            return self.loss
        return CrossEntropyLoss() if model_type == "classification" else SquaredLoss()

    def check_task(self, model_type: str) -> None:
        """Refuse what belongs to the other task.

        Raises:
            ConfigError: When the loss or the class weights do.
        """
        others = [name for task, names in SHARED_LOSSES.items() if task != model_type for name in names]
        name = self.loss_for(model_type).name
        if name in others:
            valid = ", ".join(SHARED_LOSSES[model_type])
            raise ConfigError(f"training_config.loss {name!r} is not for {model_type}. Valid: {valid}.")
        if self.class_weight is not None and model_type == "regression":
            raise ConfigError(
                "training_config.class_weight is for classification; a regression has no classes."
            )

    def row_weights(
        self, target: FloatArray | IntArray, *, classes: tuple[float, ...] | None, weight: FloatArray | None
    ) -> FloatArray | None:
        """Return (n,) what each training row counts, one on average; ``None`` where all count the same.

        Args:
            target: (n,) class positions, or values.
            classes: The classes' values in their fixed order; ``None`` for regression.
            weight: (n,) sample weights, or ``None``.

        Raises:
            ConfigError: When the class weights do not name the classes there are.
        """
        rows = None if weight is None else weight.astype(np.float64)
        if classes is not None and self.class_weight is not None:
            of_class = self._class_weights(target.astype(np.int64), classes)
            rows = of_class[target.astype(np.int64)] * (1.0 if rows is None else rows)
        return None if rows is None else rows / rows.mean()

    def _class_weights(self, target: IntArray, classes: tuple[float, ...]) -> FloatArray:
        """Return a weight for each class; 'balanced' is n / (classes seen x rows of the class), King & Zeng (2001)."""
        if isinstance(self.class_weight, dict):
            if set(self.class_weight) != set(classes):
                given, there = (
                    ", ".join(f"{one:g}" for one in sorted(some)) for some in (self.class_weight, classes)
                )
                raise ConfigError(
                    f"training_config.class_weight names the classes {given}, but the label has {there}. Give one "
                    "weight for each."
                )
            return np.asarray([self.class_weight[value] for value in classes])
        count = np.bincount(target, minlength=len(classes))
        return len(target) / (np.count_nonzero(count) * np.maximum(count, 1))
