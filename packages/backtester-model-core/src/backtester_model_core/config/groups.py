"""The groups of fields that a model configuration nests."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import pandas as pd
import pydantic

SPAN = re.compile(r"\d{1,9}(\.\d{1,9})? ?(W|D|h|min|s)")


def _check_size(value: Any) -> Any:
    """Accept a positive count of sessions, or a time span."""
    if isinstance(value, str):
        return _check_span(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("a size is a positive number of sessions or a time span such as '365D'")
    return value


def _check_span(value: Any) -> Any:
    """Accept a positive time span: a number and a unit that always means the same length."""
    if isinstance(value, str):
        if not SPAN.fullmatch(value):
            raise ValueError("a time span is a number and a unit, W, D, h, min or s, such as '365D' or '12h'")
        if not pd.Timedelta(0) < pd.Timedelta(value):
            raise ValueError("a time span is positive")
    return value


def _date_as_text(value: Any) -> Any:
    """Take a date as TOML and YAML have them for its ISO text."""
    return value.isoformat() if isinstance(value, date) else value


@cache
def _time_zones() -> frozenset[str]:
    """Return every time zone's name. Asked for a name, zoneinfo would look for files and packages of that name."""
    return frozenset(available_timezones())


Size = Annotated[int | str, pydantic.BeforeValidator(_check_size)]
Span = Annotated[str, pydantic.BeforeValidator(_check_span)]
Moment = Annotated[str, pydantic.BeforeValidator(_date_as_text), pydantic.Field(max_length=64)]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=100)]


class Group(pydantic.BaseModel):
    """A frozen group of fields that refuses unknown keys."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )


class DataConfig(Group):
    """Where bars come from and how their stamps are to be read."""

    source: Name = pydantic.Field(
        default="auto", description="Name of a registered data source; 'auto' goes by the file's ending."
    )
    path: Annotated[str, pydantic.Field(min_length=1, max_length=4096)] | None = pydantic.Field(
        default=None, description="File to read, for the sources that read one."
    )
    symbols: Annotated[tuple[Name, ...], pydantic.Field(min_length=1, max_length=100_000)] | None = (
        pydantic.Field(default=None, description="Symbols to keep; all when not given.")
    )
    start: Moment | None = pydantic.Field(
        default=None, description="First bar to keep, as an ISO date or timestamp."
    )
    end: Moment | None = pydantic.Field(
        default=None, description="Last bar to keep, inclusive, as an ISO date or timestamp."
    )
    frequency: Span | None = pydantic.Field(
        default=None,
        description="Spacing of the bars as a time span ('1D', '1h'); found from the bars when not given.",
    )
    bar_stamp: Literal["open", "close"] = pydantic.Field(
        default="close",
        description="Whether a bar's stamp marks its open or its close. A row is known at its bar's close.",
    )

    @pydantic.field_validator("start", "end")
    @classmethod
    def _check_timestamp(cls, value: str | None) -> str | None:
        if value is not None and pd.isna(pd.to_datetime(value, errors="coerce", format="ISO8601")):
            raise ValueError(f"{value!r} is not an ISO date or timestamp such as '2020-01-31'")
        return value


class FeaturesConfig(Group):
    """Which columns the model learns from."""

    sets: tuple[Name, ...] = pydantic.Field(
        default=("basic",), max_length=20, description="Names of registered feature sets."
    )
    expressions: dict[Name, Annotated[str, pydantic.Field(min_length=1, max_length=2000)]] = pydantic.Field(
        default_factory=dict,
        max_length=1000,
        description=(
            "Further columns: name to expression over bars, such as 'close / rolling_mean(close, 20) - 1'; "
            "'ma_{n in 5, 10, 20}' is one line for several, with {n} in its expression."
        ),
    )
    engine: Literal["auto", "python", "compiled"] = pydantic.Field(
        default="auto",
        description=(
            "How features are computed: 'compiled' by numba (the extra 'fast'), in plain 'python', or by 'auto' "
            "compiled where numba is installed and the bars are many enough to repay it. The values are the same."
        ),
    )
    n_threads: int = pydantic.Field(
        default=1,
        ge=1,
        le=256,
        description="Symbols whose features are computed at the same time, where they are compiled.",
    )


class WeightConfig(Group):
    """How much each training row counts; computed from the rows of each training alone."""

    basis: Literal["equal", "uniqueness", "return_attribution"] = pydantic.Field(
        default="equal",
        description=(
            "Count rows alike, by how little their labels overlap others, or by the size of the return that "
            "their labels' spans share in."
        ),
    )
    time_decay: float = pydantic.Field(
        default=1.0,
        gt=-1,
        le=1,
        description=(
            "Factor towards which the oldest rows fall, linearly in gathered uniqueness; 1 does not decay, and a "
            "negative number leaves that share of the oldest without weight."
        ),
    )
    class_balance: bool = pydantic.Field(
        default=False,
        description="Give every class the same total weight; probabilities then no longer follow frequencies.",
    )


class LabelConfig(Group):
    """What the model learns to foresee, and when that becomes known."""

    kind: Name | None = pydantic.Field(
        default=None,
        description=(
            "Name of a registered label; by default 'direction' for classification and "
            "'forward_return' for regression."
        ),
    )
    entry: Literal["open", "close"] = pydantic.Field(
        default="open",
        description=(
            "Price at which the position is entered: the next bar's open, or the decision bar's close."
        ),
    )
    exit: Literal["open", "close"] = pydantic.Field(
        default="open",
        description=(
            "Price at which it is left: the open after the horizon, or the close of the horizon's last bar. "
            "A triple barrier that is not touched is always left at that close."
        ),
    )
    delisted_after: int = pydantic.Field(
        default=5,
        ge=1,
        le=250,
        description=(
            "Trading days without a bar, while the panel goes on, after which a symbol counts as delisted."
        ),
    )
    delisting_return: float = pydantic.Field(
        default=0.0,
        ge=-1.0,
        le=1.0,
        description="Return from the last close at which a delisted symbol is sold.",
    )

    form: Literal["simple", "log"] = pydantic.Field(
        default="simple", description="Whether a forward return is simple or the logarithm of one plus it."
    )
    excess_over: Name | None = pydantic.Field(
        default=None,
        description=(
            "What is taken off a forward return: 'cross_section' for the mean of all symbols at the same "
            "decision time, or a bars column that holds a benchmark's price; nothing when not given."
        ),
    )
    session: Literal["any", "within"] = pydantic.Field(
        default="any",
        description=(
            "'within' leaves rows without a label whose entry or last exit is on another trading day; by "
            "default a label spans nights."
        ),
    )
    session_timezone: Name | None = pydantic.Field(
        default=None,
        description=(
            "Time zone whose midnight parts trading days, such as 'America/New_York'; that of the bars' stamps "
            "when not given."
        ),
    )
    volatility_window: int = pydantic.Field(
        default=20,
        ge=2,
        le=10_000,
        description="One-bar returns over which the volatility of bands and barriers is measured.",
    )
    band: float = pydantic.Field(
        default=0.5,
        ge=0,
        le=100,
        description="Half-width of the band around zero that is class 0 of 'three_way'.",
    )
    band_unit: Literal["volatility", "return"] = pydantic.Field(
        default="volatility",
        description="Whether band counts one-bar volatilities known at the row, or is itself a return.",
    )
    barrier_width: float = pydantic.Field(
        default=2.0,
        gt=0,
        le=100,
        description="Distance of a triple barrier's sides from the entry, in one-bar volatilities.",
    )
    ambiguous: Literal["lower", "nan"] = pydantic.Field(
        default="lower",
        description=(
            "When one bar touches both barriers: count the lower as touched first, or leave the row unlabelled."
        ),
    )
    trend_min_span: int = pydantic.Field(
        default=5,
        ge=2,
        le=10_000,
        description="Shortest span, in bars, over which 'trend_scanning' fits a line; the longest is the horizon.",
    )
    side_column: Name | None = pydantic.Field(
        default=None,
        description=(
            "Bars column with the primary side that a meta-label judges: above zero long, below short, zero none."
        ),
    )
    pays_above: float = pydantic.Field(
        default=0.0,
        ge=-1,
        le=1,
        description="Return on the primary side above which acting pays, such as the cost of a round trip.",
    )

    weighting: WeightConfig = pydantic.Field(
        default_factory=WeightConfig, description="How much each training row counts."
    )

    @pydantic.field_validator("session_timezone")
    @classmethod
    def _check_timezone(cls, value: str | None) -> str | None:
        if value is not None and value not in _time_zones():
            raise ValueError(f"{value!r} is not a time zone such as 'America/New_York'")
        return value

    @pydantic.model_validator(mode="after")
    def _check_legs(self) -> LabelConfig:
        if self.entry == "close" and self.exit == "open":
            raise ValueError(
                "entry = 'close' goes with exit = 'close': a position entered at a close is left at a close"
            )
        if self.form == "log" and self.delisting_return == -1:
            raise ValueError("form = 'log' has no number for delisting_return = -1: name a loss below it")
        return self


class ValidationConfig(Group):
    """How the walk-forward moves: window sizes in sessions (distinct bar times) or time spans."""

    scheme: Literal["expanding", "anchored", "rolling"] = pydantic.Field(
        default="expanding",
        description="Whether a training window keeps its first row (expanding, or anchored) or its length (rolling).",
    )
    train_size: Size | None = pydantic.Field(
        default=None,
        description=(
            "Length of the first training window, and of each one when rolling; by default "
            "train_test_split's share of the sessions."
        ),
    )
    test_size: Size = pydantic.Field(
        default=63, description="Length of the block that one trained model serves."
    )
    retrain_delay: Span | None = pydantic.Field(
        default=None,
        description=(
            "Time between the fit and the first decision of the new model; the old one serves meanwhile."
        ),
    )
    embargo: int = pydantic.Field(
        default=0,
        ge=0,
        le=1000,
        description="Sessions after a cross-validation test fold whose rows do not train.",
    )


class CostsConfig(Group):
    """What trading costs, and how the simple after-cost return is kept."""

    commission_bps: float = pydantic.Field(
        default=0.5, ge=0, le=1000, description="Commission, one way, in basis points of the traded value."
    )
    half_spread_bps: float = pydantic.Field(
        default=0.5, ge=0, le=1000, description="Half the bid-ask spread, in basis points."
    )
    slippage_bps: float = pydantic.Field(
        default=1.0, ge=0, le=1000, description="Slippage, one way, in basis points."
    )
    borrow_rate: float = pydantic.Field(
        default=0.0, ge=0, le=10, description="Yearly rate paid on short positions."
    )
    risk_free_rate: float = pydantic.Field(
        default=0.0, ge=-1, le=10, description="Yearly rate earned on cash."
    )
    bars_per_year: float | None = pydantic.Field(
        default=None,
        gt=0,
        le=1e7,
        description=(
            "Bars in a year, for yearly rates and ratios; a walk-forward counts its bars' sessions when not given, "
            "and 252 holds elsewhere."
        ),
    )
    rebalance: Literal["every_bar", "on_change"] = pydantic.Field(
        default="on_change",
        description="Whether weights are restored at every bar or only when the decision changes.",
    )
    holding: Literal["latest", "tranches"] = pydantic.Field(
        default="latest",
        description=(
            "For horizons above one bar: follow the latest signal, or hold the average of as many "
            "overlapping tranches."
        ),
    )

    @property
    def year(self) -> float:
        """Bars in a year."""
        return 252.0 if self.bars_per_year is None else self.bars_per_year

    @property
    def one_way(self) -> float:
        """Cost of trading one unit of value, one way, as a fraction."""
        return (self.commission_bps + self.half_spread_bps + self.slippage_bps) / 1e4


class GateConfig(Group):
    """Whether a model may trade before it has shown skill out of sample."""

    mode: Literal["off", "warn", "block"] = pydantic.Field(
        default="block",
        description=(
            "'block' makes signals NEUTRAL with reason no_skill until the gate opens; 'warn' only "
            "says so; 'off' does not look."
        ),
    )
    planned_windows: int = pydantic.Field(
        default=20,
        ge=1,
        le=10_000,
        description=(
            "Number of windows over which noise may open the gate in at most five per cent of "
            "runs. It is planned, not counted, so that a longer backtest does not change earlier "
            "signals."
        ),
    )
