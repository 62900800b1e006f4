"""From a configuration to the features it means."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from backtester_model_core.config import FeaturesConfig
from backtester_model_core.exceptions import ConfigError, ExpressionError
from backtester_model_core.features.expansion import expand
from backtester_model_core.features.expression import Column, Expression
from backtester_model_core.features.parse import parse_expression
from backtester_model_core.features.sets import feature_set

logger = logging.getLogger(__name__)


def resolve_features(
    config: FeaturesConfig, *, bar_columns: Iterable[str], feature_columns: Sequence[str] | None = None
) -> dict[str, Expression]:
    """Return the features that a configuration means, in order, each with its name.

    Without ``feature_columns`` these are the columns of the sets, then the expressions. With it they are the
    columns it names: of the sets, the expressions or the bars. Anchored ones are named in a log line.

    Args:
        config: The sets and the expressions.
        bar_columns: Columns of the bars.
        feature_columns: Names of the columns to keep.

    Raises:
        ConfigError: For a name that is unknown, or means two things; for an expression that cannot be read or
            that needs a column the bars do not have; and when nothing is left.
        ExpressionError: When a registered set holds an expression that cannot be read.
    """
    available = tuple(bar_columns)
    features = _defined(config, available)
    if feature_columns is not None:
        features = _picked(features, available, feature_columns)
    if not features:
        raise ConfigError(
            "No features: features.sets and features.expressions are empty. Name a set such as 'basic'."
        )
    for name, expression in features.items():
        for column in sorted(expression.columns().difference(available)):
            unknown = ConfigError.unknown("column", column, available)
            raise ConfigError(f"The feature {name!r} = {expression}: {unknown}")
    anchored = [name for name, expression in features.items() if expression.anchored]
    if anchored:
        logger.warning(
            "These features depend on the first bar for ever, so live bars must begin where the backtest's do: %s",
            ", ".join(anchored),
        )
    return features


def _defined(config: FeaturesConfig, bar_columns: Sequence[str]) -> dict[str, Expression]:
    """Return all columns of the sets and expressions."""
    features: dict[str, Expression] = {}
    owners: dict[str, str] = {}
    for name in config.sets:
        columns = feature_set(name)
        _claim(owners, columns, f"the feature set {name!r}")
        features |= columns
    try:
        expressions = expand(config.expressions)
    except ExpressionError as error:
        raise ConfigError(f"features.expressions: {error}") from error
    _claim(owners, expressions, "features.expressions")
    for name, text in expressions.items():
        try:
            features[name] = parse_expression(text, columns=bar_columns)
        except ExpressionError as error:
            raise ConfigError(f"features.expressions.{name}: {error}") from error
    return features


def _claim(owners: dict[str, str], names: Iterable[str], owner: str) -> None:
    for name in names:
        if name in owners:
            raise ConfigError(f"The feature {name!r} is in {owners[name]} and again in {owner}. Rename one.")
        owners[name] = owner


def _picked(
    features: dict[str, Expression], bar_columns: Sequence[str], names: Sequence[str]
) -> dict[str, Expression]:
    """Return the named columns, in the order named."""
    picked: dict[str, Expression] = {}
    for name in names:
        if name in picked:
            raise ConfigError(f"feature_columns names {name!r} twice. Name it once.")
        if name not in features and name not in bar_columns:
            raise ConfigError.unknown("feature column", name, {*features, *bar_columns})
        raw = Column(name)
        if name in bar_columns and features.get(name, raw) != raw:
            raise ConfigError(
                f"feature_columns names {name!r}, which is both a feature and a column of the bars. Rename one."
            )
        picked[name] = features.get(name, raw)
    return picked
