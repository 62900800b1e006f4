"""How forecasts become signals: calibration, thresholds, sizes."""

from __future__ import annotations

from typing import Literal

import pydantic

from backtester_model_core.config.groups import Group, Name


class CalibrationConfig(Group):
    """How probabilities are brought to mean what they say."""

    method: Name = pydantic.Field(
        default="sigmoid",
        description=(
            "Registered calibrator of a classifier's probability, fitted to earlier out-of-sample rows: 'sigmoid', "
            "'beta', 'isotonic', or 'none'. A regression's probability follows from its residuals."
        ),
    )
    coverage: float = pydantic.Field(
        default=0.9,
        gt=0,
        lt=1,
        description="Share of outcomes that a regression's conformal intervals are to hold.",
    )


class ThresholdsConfig(Group):
    """From which confidence a side is taken, and down to which it is kept."""

    entry: Literal["fixed", "cost", "quantile"] = pydantic.Field(
        default="fixed",
        description=(
            "'fixed' takes the configured thresholds; 'cost' those which would have paid most after costs on earlier "
            "out-of-sample rows; 'quantile' a quantile of the earlier confidences."
        ),
    )
    quantile: float = pydantic.Field(
        default=0.8,
        ge=0,
        lt=1,
        description="Share of earlier confidences below the entry, where entry is 'quantile'.",
    )
    hysteresis: float = pydantic.Field(
        default=0.0,
        ge=0,
        le=1,
        description=(
            "Share of the way from the entry down to one half that the confidence of a side which is held may fall "
            "before it is left; where entry is 'cost' the exit is chosen too, and this is not read."
        ),
    )


class SizingConfig(Group):
    """How large a position a signal asks for."""

    method: Literal["unit", "confidence", "kelly", "volatility"] = pydantic.Field(
        default="unit",
        description=(
            "A whole unit; in proportion to confidence, whole where strong; a share of Kelly's bet at the earlier "
            "rows' odds after costs; or so much that the position's foreseen volatility is the target."
        ),
    )
    kelly_fraction: float = pydantic.Field(default=0.25, gt=0, le=1, description="Share of Kelly's bet.")
    target_volatility: float = pydantic.Field(
        default=0.1, gt=0, le=10, description="Yearly volatility that a position is to have."
    )
    max_weight: float = pydantic.Field(
        default=1.0,
        gt=0,
        le=10,
        description="Largest position, in units: a unit is the whole portfolio over the symbols it is shared by.",
    )
    max_gross: float = pydantic.Field(
        default=1.0,
        gt=0,
        le=10,
        description="Largest sum of the sizes of all weights at one time; above it all are scaled down.",
    )
    selection: Literal["all", "top_bottom"] = pydantic.Field(
        default="all",
        description=(
            "'top_bottom' lets through only longs among the n_selected symbols with the highest score at a time, and "
            "shorts among as many with the lowest; they share the portfolio."
        ),
    )
    n_selected: int = pydantic.Field(
        default=10, ge=1, le=10_000, description="Symbols at each end, where selection is 'top_bottom'."
    )
