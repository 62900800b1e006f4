"""What a model is and how it is judged, as frozen data.

A configuration never runs code: names are keys of registries, and every field is bounded. ``parse_config``
turns a mapping into a configuration or into one :class:`ConfigError` that names every key at fault.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pandas as pd
import pydantic
from pydantic import Field

from backtester_model_core.exceptions import ConfigError, MissingExtraError, nearest

MAX_CONFIG_BYTES = 1_000_000

ConfigT = TypeVar("ConfigT", bound="ModelConfig")


def _check_span(value: int | str | None) -> int | str | None:
    """Accept a positive count of sessions or a positive pandas time span such as ``365D``."""
    if isinstance(value, int) and value < 1:
        raise ValueError("a size is a positive number of sessions or a time span such as '365D'")
    if isinstance(value, str):
        try:
            positive = pd.Timedelta(value) > pd.Timedelta(0)
        except ValueError as error:
            raise ValueError(f"{value!r} is not a time span; write for example '365D' or '12h'") from error
        if not positive:
            raise ValueError(f"the time span {value!r} is not positive")
    return value


Span = Annotated[int | str, pydantic.AfterValidator(_check_span)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class Group(pydantic.BaseModel):
    """A frozen group of fields that refuses unknown keys."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataConfig(Group):
    """Where bars come from and how their stamps are to be read."""

    source: Name = Field(
        default="auto", description="Name of a registered data source; 'auto' goes by the file's ending."
    )
    path: str | None = Field(default=None, description="File to read, for the sources that read one.")
    symbols: tuple[Name, ...] | None = Field(default=None, description="Symbols to keep; all when not given.")
    start: str | None = Field(default=None, description="First bar to keep, as an ISO date or timestamp.")
    end: str | None = Field(
        default=None, description="Last bar to keep, inclusive, as an ISO date or timestamp."
    )
    frequency: str | None = Field(
        default=None,
        description="Spacing of the bars as a time span ('1D', '1h'); found from the bars when not given.",
    )
    bar_stamp: Literal["open", "close"] = Field(
        default="close",
        description="Whether a bar's stamp marks its open or its close. A row is known at its bar's close.",
    )

    @pydantic.field_validator("start", "end")
    @classmethod
    def _check_timestamp(cls, value: str | None) -> str | None:
        if value is not None and pd.isna(pd.to_datetime(value, errors="coerce", format="ISO8601")):
            raise ValueError(f"{value!r} is not an ISO date or timestamp such as '2020-01-31'")
        return value

    @pydantic.field_validator("frequency")
    @classmethod
    def _check_frequency(cls, value: str | None) -> str | None:
        _check_span(value)
        return value


class FeaturesConfig(Group):
    """Which columns the model learns from."""

    sets: tuple[Name, ...] = Field(
        default=("basic",), max_length=20, description="Names of registered feature sets."
    )
    expressions: dict[Name, Annotated[str, Field(min_length=1, max_length=2000)]] = Field(
        default_factory=dict,
        max_length=1000,
        description="Further columns: name to expression over bars, such as 'close / rolling_mean(close, 20) - 1'.",
    )


class LabelConfig(Group):
    """What the model learns to foresee, and when that becomes known."""

    kind: Name | None = Field(
        default=None,
        description="Name of a registered label; by default 'direction' for classification and 'forward_return' for regression.",
    )
    entry: Literal["open", "close"] = Field(
        default="open",
        description="Price at which the position is entered: the next bar's open, or the decision bar's close.",
    )
    exit: Literal["open", "close"] = Field(
        default="open",
        description="Price at which it is left: the open after the horizon, or the close of the horizon's last bar.",
    )
    delisted_after: int = Field(
        default=5,
        ge=1,
        le=250,
        description="Sessions without a bar, while the panel goes on, after which a symbol counts as delisted.",
    )
    delisting_return: float = Field(
        default=0.0,
        ge=-1.0,
        le=1.0,
        description="Return from the last close at which a delisted symbol is sold.",
    )

    @pydantic.model_validator(mode="after")
    def _check_legs(self) -> LabelConfig:
        if self.entry == "close" and self.exit == "open":
            raise ValueError(
                "entry = 'close' goes with exit = 'close': a position entered at a close is left at a close"
            )
        return self


class ValidationConfig(Group):
    """How the walk-forward moves: window sizes in sessions (distinct bar times) or time spans."""

    scheme: Literal["expanding", "rolling"] = Field(
        default="expanding", description="Whether a training window keeps its first row or its length."
    )
    train_size: Span | None = Field(
        default=None,
        description="Length of the first training window, and of each one when rolling; by default train_test_split's share of the sessions.",
    )
    test_size: Span = Field(default=63, description="Length of the block that one trained model serves.")
    retrain_delay: str | None = Field(
        default=None,
        description="Time between the fit and the first decision of the new model; the old one serves meanwhile.",
    )
    embargo: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Sessions after a cross-validation test fold whose rows do not train.",
    )

    @pydantic.field_validator("retrain_delay")
    @classmethod
    def _check_delay(cls, value: str | None) -> str | None:
        _check_span(value)
        return value


class CostsConfig(Group):
    """What trading costs, and how the simple after-cost return is kept."""

    commission_bps: float = Field(
        default=0.5, ge=0, le=1000, description="Commission, one way, in basis points of the traded value."
    )
    half_spread_bps: float = Field(
        default=0.5, ge=0, le=1000, description="Half the bid-ask spread, in basis points."
    )
    slippage_bps: float = Field(default=1.0, ge=0, le=1000, description="Slippage, one way, in basis points.")
    borrow_rate: float = Field(default=0.0, ge=0, le=10, description="Yearly rate paid on short positions.")
    risk_free_rate: float = Field(default=0.0, ge=-1, le=10, description="Yearly rate earned on cash.")
    bars_per_year: float = Field(
        default=252.0, gt=0, le=1e7, description="Bars in a year, for yearly rates and ratios."
    )
    rebalance: Literal["every_bar", "on_change"] = Field(
        default="on_change",
        description="Whether weights are restored at every bar or only when the decision changes.",
    )
    holding: Literal["latest", "tranches"] = Field(
        default="latest",
        description="For horizons above one bar: follow the latest signal, or hold the average of as many overlapping tranches.",
    )

    @property
    def one_way(self) -> float:
        """Cost of trading one unit of value, one way, as a fraction."""
        return (self.commission_bps + self.half_spread_bps + self.slippage_bps) / 1e4


class GateConfig(Group):
    """Whether a model may trade before it has shown skill out of sample."""

    mode: Literal["off", "warn", "block"] = Field(
        default="block",
        description="'block' makes signals NEUTRAL with reason no_skill until the gate opens; 'warn' only says so; 'off' does not look.",
    )
    planned_windows: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Number of windows over which noise may open the gate in at most five per cent of runs. It is planned, not counted, so that a longer backtest does not change earlier signals.",
    )


class ModelConfig(pydantic.BaseModel):
    """What every model has; each adapter's configuration class adds its own fields."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str = Field(
        default="model",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the model in results, signals and run folders.",
    )
    model_type: Literal["classification", "regression"] = Field(
        default="classification", description="Whether the label is a class or a number."
    )
    framework: str = Field(
        min_length=1,
        max_length=64,
        description="Name of the adapter that trains and predicts, such as 'sklearn'.",
    )
    lookback_period: int = Field(
        default=30,
        ge=1,
        le=10_000,
        description="Bars of its symbol's history, itself included, that a row needs before it may be decided on.",
    )
    prediction_horizon: int = Field(default=1, ge=1, le=10_000, description="Bars from entry to exit.")
    train_test_split: float = Field(
        default=0.8,
        gt=0,
        lt=1,
        description="Share of the sessions before the first test session, where validation.train_size does not say.",
    )
    validation_split: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Latest share of the training rows, purged, that is held back to stop early and to measure the first window's residuals.",
    )
    signal_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Probability of a rise (LONG) or fall (SHORT) from which a signal may be given.",
    )
    confidence_threshold: float = Field(
        default=0.6,
        ge=0.5,
        le=1,
        description="Confidence from which a signal is given; at two classes it and signal_threshold act as their maximum.",
    )
    strong_threshold: float | None = Field(
        default=None,
        ge=0.5,
        le=1,
        description="Confidence from which a signal is strong; by default a quarter of the way from confidence_threshold to one.",
    )
    enable_monitoring: bool = Field(
        default=True, description="Record each window's live accuracy and skill as its labels become known."
    )
    retrain_threshold: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Suggest retraining when the upper 95 % bound of live skill falls below this share of its reference.",
    )
    target_column: Name = Field(
        default="close",
        description="What is foreseen: 'close' is the traded price, entered and left as the label says; any other column is foreseen by its relative change from t to t + horizon.",
    )
    feature_columns: tuple[Name, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=5000,
        description="Columns to learn from, of the feature sets, the expressions and the bars; all of the sets and expressions when not given.",
    )
    normalize_features: bool = Field(
        default=True, description="Standardise features by the training rows' mean and deviation."
    )
    cv_folds: int = Field(default=5, ge=2, le=100, description="Folds of the purged cross-validation.")
    random_state: int | None = Field(
        default=0, ge=0, le=2**32 - 1, description="Seed of everything random; None draws one and records it."
    )
    pooling: Literal["pooled", "per_symbol"] = Field(
        default="pooled", description="One model for all symbols of a panel, or one for each."
    )
    features: FeaturesConfig = Field(
        default_factory=FeaturesConfig, description="Which columns the model learns from."
    )
    label: LabelConfig = Field(default_factory=LabelConfig, description="What the model learns to foresee.")
    validation: ValidationConfig = Field(
        default_factory=ValidationConfig, description="How the walk-forward moves."
    )
    costs: CostsConfig = Field(default_factory=CostsConfig, description="What trading costs.")
    gate: GateConfig = Field(
        default_factory=GateConfig, description="Whether a model may trade before it has shown skill."
    )
    data_config: DataConfig = Field(
        default_factory=DataConfig, description="Where bars come from and how their stamps are read."
    )

    @pydantic.model_validator(mode="after")
    def _check_strong_threshold(self) -> ModelConfig:
        if self.strong_threshold is not None and self.strong_threshold < self.confidence_threshold:
            raise ValueError(
                f"strong_threshold ({self.strong_threshold:g}) is below confidence_threshold "
                f"({self.confidence_threshold:g}): raise the first or lower the second"
            )
        return self

    @property
    def label_kind(self) -> str:
        """Name of the label in force."""
        return self.label.kind or ("direction" if self.model_type == "classification" else "forward_return")

    @property
    def strong_confidence(self) -> float:
        """Confidence from which a signal is strong."""
        if self.strong_threshold is not None:
            return self.strong_threshold
        return self.confidence_threshold + (1 - self.confidence_threshold) / 4


def parse_config(config_class: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Validate a mapping as one configuration class.

    Raises:
        ConfigError: With one line for each key at fault and the nearest valid name.
    """
    try:
        return config_class.model_validate(dict(values))
    except pydantic.ValidationError as error:
        lines = [_explain(config_class, fault) for fault in error.errors(include_url=False)]
        plural = "s" if len(lines) != 1 else ""
        header = f"{len(lines)} fault{plural} in the {config_class.__name__}:"
        raise ConfigError("\n".join([header, *(f"  - {line}" for line in lines)])) from error


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Read a TOML, JSON or YAML file into a mapping, without running anything in it.

    Raises:
        ConfigError: When the file is missing, too large, not a mapping, or cannot be parsed.
        MissingExtraError: For YAML without the ``yaml`` extra.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in {".toml", ".json", ".yaml", ".yml"}:
        raise ConfigError(f"{file}: a configuration ends in .toml, .json, .yaml or .yml")
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). Check the path.") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{file}: {len(raw):,} bytes; a configuration has at most {MAX_CONFIG_BYTES:,}")
    try:
        values = _parse_text(raw.decode("utf-8"), suffix)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid {suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{file}: the top level must be a table of names and values")
    return values


def _parse_text(text: str, suffix: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text)
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError.needs("Reading a YAML configuration", "yaml") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _explain(config_class: type[pydantic.BaseModel], fault: Any) -> str:
    """Write one validation fault as a sentence that names the key and the nearest valid name."""
    location = [part for part in fault["loc"] if isinstance(part, str)]
    where = ".".join(str(part) for part in fault["loc"]) or "the configuration"
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key. {nearest(location[-1], _group_at(config_class, location[:-1]).model_fields)}"
    if fault["type"] == "missing":
        return f"{where}: required, but not given"
    if fault["type"] == "literal_error":
        valid = [part.strip(" '") for part in fault["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"{where}: {fault['input']!r} is not valid. {nearest(str(fault['input']), valid)} Valid: {', '.join(valid)}."
    message = fault["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(fault["input"], (dict, pydantic.BaseModel)) else f" (given {fault['input']!r})"
    return f"{where}: {message[:1].lower()}{message[1:]}{shown}"


def _group_at(config_class: type[pydantic.BaseModel], path: list[str]) -> type[pydantic.BaseModel]:
    """Follow a path of field names down to the group that holds the last of them."""
    group = config_class
    for name in path:
        annotation = group.model_fields[name].annotation if name in group.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            group = annotation
    return group
