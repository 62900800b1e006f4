"""What a label is, and the kinds of label by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from backtester_model_core.bars import Panel
from backtester_model_core.catalog import Catalog
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import LabelError
from backtester_model_core.typing import FloatArray, TimeArray


@dataclass(frozen=True, eq=False)
class Label:
    """A label for each row of a panel, symbol-major.

    Attributes:
        target: (n,) class or number; NaN where unknown.
        label_end: (n,) UTC instant at which the label is known; NaT where it is not.
        forward_return: (n,) return of the position that a signal at the row would open; NaN where unknown.
        settled_at: (n,) UTC instant from which the label may be used, where that is later than its end: an
            outcome that can come early is held back until the late ones beside it are known too, or the latest
            rows would hold the early ones alone. ``None`` when it is the label's end.
        notes: What the label counted and a reader should know.
        return_end: (n,) UTC instant at which the forward return is known, where that may be later than the label's
            end, NaT where it is not; ``None`` when it never is.
    """

    target: FloatArray
    label_end: TimeArray
    forward_return: FloatArray
    settled_at: TimeArray | None = None
    notes: tuple[str, ...] = ()
    return_end: TimeArray | None = None


@dataclass(frozen=True)
class LabelKind:
    """A way to label rows, by name in :data:`LABELS`.

    Attributes:
        compute: From a panel and a configuration to the labels.
        model_type: The kind of model that learns it.
        classes: Classes in ascending order, those above zero for a rise; ``None`` for regression.
        is_meta: Whether the class above zero stands for a gain on the primary side, not for a rise.

    Raises:
        LabelError: When the classes are not what a model of that kind can learn and a signal can follow.
    """

    compute: Callable[[Panel, ModelConfig], Label]
    model_type: Literal["classification", "regression"]
    classes: tuple[float, ...] | None = None
    is_meta: bool = False

    def __post_init__(self) -> None:
        if (self.classes is None) != (self.model_type == "regression"):
            raise LabelError(f"A label for {self.model_type} cannot have the classes {self.classes}.")
        if self.classes is not None:
            ascending = all(lower < upper for lower, upper in pairwise(self.classes))
            if not ascending or not self.classes or not self.classes[0] <= 0 < self.classes[-1]:
                raise LabelError(
                    f"The classes {self.classes} are not ascending numbers from at most zero, for a fall, to above "
                    "zero, for a rise."
                )


LABELS: Catalog[LabelKind] = Catalog("label kind")


def label_kind(config: ModelConfig) -> LabelKind:
    """Return the label kind that a configuration names.

    Raises:
        ConfigError: When no label has that name.
        LabelError: When the label is for the other kind of model, or thresholds are configured that it cannot have.
    """
    kind = LABELS[config.label_kind]
    if kind.model_type != config.model_type:
        raise LabelError(
            f"The label {config.label_kind!r} is for {kind.model_type}, but model_type is {config.model_type!r}. "
            "Change label.kind or model_type."
        )
    if kind.is_meta and (config.thresholds.entry == "cost" or config.thresholds.hysteresis > 0):
        raise LabelError(
            f"The label {config.label_kind!r} judges whether to act and holds no side of its own, so no side can be "
            "kept or chosen by cost. Put the cost of a round trip in label.pays_above, and leave thresholds.entry "
            "and thresholds.hysteresis out."
        )
    return kind


def compute_label(panel: Panel, config: ModelConfig) -> Label:
    """Label every row of a panel as the configuration says.

    Raises:
        LabelError: When these bars cannot be labelled so, or the label kind answers with other rows.
    """
    label = label_kind(config).compute(panel, config)
    columns = [label.target, label.label_end, label.forward_return]
    columns += [each for each in (label.settled_at, label.return_end) if each is not None]
    lengths = [len(column) for column in columns]
    if set(lengths) != {panel.n_rows}:
        raise LabelError(f"The label {config.label_kind!r} gave {lengths} rows for {panel.n_rows} bars.")
    if (label.label_end < panel.known_at).any():
        row = int(np.flatnonzero(label.label_end < panel.known_at)[0])
        raise LabelError(
            f"The label {config.label_kind!r} of {panel.known_at[row]} ends before, at {label.label_end[row]}."
        )
    if (
        label.settled_at is not None
        and not (label.settled_at >= label.label_end)[~np.isnat(label.label_end)].all()
    ):
        raise LabelError(
            f"The label {config.label_kind!r} is settled before it ends. Give settled_at no earlier than label_end."
        )
    return label
