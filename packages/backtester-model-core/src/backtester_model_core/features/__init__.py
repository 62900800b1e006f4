"""Features: expressions over bars that cannot look ahead, for whole panels and for one live bar at a time.

Every operator is a step function. It receives one bar's values and its own memory, and returns one value; it is
never handed a later bar. A whole panel and a live stream run the same step functions, so they agree in every bit.
"""

from backtester_model_core.features.batch import evaluate
from backtester_model_core.features.expression import Call, Column, Constant, Expression, col
from backtester_model_core.features.functions import (
    delta,
    ema,
    exp,
    log,
    maximum,
    minimum,
    power,
    ratio,
    ref,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    rolling_sum,
    rolling_var,
    sign,
    sqrt,
    wilder,
    zscore,
)
from backtester_model_core.features.operators import OPERATORS, Level, Operator, Parameter
from backtester_model_core.features.parse import parse_expression
from backtester_model_core.features.resolve import resolve_features
from backtester_model_core.features.sets import FEATURE_SETS, FeatureSet, feature_set
from backtester_model_core.features.stream import FeatureStream
from backtester_model_core.features.volatility import VOLATILITY_WINDOW, return_volatility

__all__ = [
    "FEATURE_SETS",
    "OPERATORS",
    "VOLATILITY_WINDOW",
    "Call",
    "Column",
    "Constant",
    "Expression",
    "FeatureSet",
    "FeatureStream",
    "Level",
    "Operator",
    "Parameter",
    "col",
    "delta",
    "ema",
    "evaluate",
    "exp",
    "feature_set",
    "log",
    "maximum",
    "minimum",
    "parse_expression",
    "power",
    "ratio",
    "ref",
    "resolve_features",
    "return_volatility",
    "rolling_max",
    "rolling_mean",
    "rolling_min",
    "rolling_std",
    "rolling_sum",
    "rolling_var",
    "sign",
    "sqrt",
    "wilder",
    "zscore",
]
