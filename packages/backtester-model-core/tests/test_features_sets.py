"""Feature sets, and what a configuration's features resolve to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.bars import Panel
from backtester_model_core.config import FeaturesConfig
from backtester_model_core.exceptions import ConfigError, ExpressionError
from backtester_model_core.features import (
    FEATURE_SETS,
    FeatureSet,
    col,
    evaluate,
    feature_set,
    parse_expression,
    resolve_features,
    return_volatility,
)

OHLCV = ("open", "high", "low", "close", "volume")
BASIC = FeaturesConfig(sets=("basic",))


def frame(**columns: list[float]) -> pd.DataFrame:
    n_rows = len(next(iter(columns.values())))
    return pd.DataFrame(
        columns, index=pd.date_range("2020-01-01", periods=n_rows, name="timestamp"), dtype=float
    )


def basic_features(bars: pd.DataFrame) -> pd.DataFrame:
    expressions = feature_set("basic")
    return pd.DataFrame(evaluate(expressions, Panel.of(bars)), columns=list(expressions))


# -- the basic set ------------------------------------------------------------------------------------------------


def test_the_columns_of_one_bar_worked_out_by_hand() -> None:
    rise = [100.0 + 2 * row for row in range(40)]
    bars = frame(
        open=rise,
        high=[p + 3 for p in rise],
        low=[p - 1 for p in rise],
        close=[p + 1 for p in rise],
        volume=rise,
    )

    last = basic_features(bars).iloc[-1]

    close, before = 179.0, 177.0  # a rise of two at each bar
    assert last["return_1"] == pytest.approx(close / before - 1)
    assert last["return_20"] == pytest.approx(close / 139 - 1)
    assert last["mean_ratio_5"] == pytest.approx(close / 175 - 1)
    assert last["rsi_14"] == 100.0
    assert last["atr_14"] == pytest.approx(4 / close)
    # deviations of 20 equally spaced values: divisor n gives spacing * sqrt((20² - 1) / 12)
    assert last["bollinger_b_20"] == pytest.approx(0.5 + 19 / (4 * 2 * np.sqrt(399 / 12)))
    assert last["volume_zscore_20"] == pytest.approx(19 / (2 * np.sqrt(20 * 21 / 12)))
    assert last["overnight_gap"] == pytest.approx(178 / before - 1)
    assert last["intraday_range"] == pytest.approx(np.log(181 / 177))
    assert last["close_position"] == pytest.approx((2 * 179 - 181 - 177) / 4)


def test_volatilities_from_the_range_are_those_of_the_published_formulas() -> None:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 60)))
    open_ = close * np.exp(rng.normal(0, 0.005, 60))
    high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.997
    bars = frame(open=open_, high=high, low=low, close=close, volume=close)

    last = basic_features(bars).iloc[-1]

    squared_range = np.log(high[-20:] / low[-20:]) ** 2
    squared_body = np.log(close[-20:] / open_[-20:]) ** 2
    assert last["parkinson_20"] == pytest.approx(np.sqrt(np.mean(squared_range) / (4 * np.log(2))), rel=1e-12)
    garman_klass = np.mean(0.5 * squared_range - (2 * np.log(2) - 1) * squared_body)
    assert last["garman_klass_20"] == pytest.approx(np.sqrt(garman_klass), rel=1e-12)
    returns = close[1:] / close[:-1] - 1
    assert last["volatility_20"] == pytest.approx(np.std(returns[-20:], ddof=1), rel=1e-12)
    assert last["return_zscore_20"] == pytest.approx(
        (returns[-1] - returns[-20:].mean()) / np.std(returns[-20:], ddof=1), rel=1e-12
    )
    assert last["momentum_20"] == pytest.approx(
        (close[-1] / close[-21] - 1) / (np.sqrt(20) * np.std(returns[-20:], ddof=1)), rel=1e-12
    )


@pytest.mark.parametrize("volume", [0.0, 0.1, 1000.0])
def test_a_constant_volume_says_nothing_and_leaves_the_rows_complete(volume: float) -> None:
    price = np.random.default_rng(2).uniform(1.0, 1.2, 80).tolist()
    bars = frame(open=price, high=price, low=price, close=price, volume=[volume] * 80)

    features = basic_features(bars)

    assert (features["volume_zscore_20"][19:] == 0.0).all()
    assert features[33:].notna().all(axis=None)


def test_a_price_that_never_moves_gives_neutral_values() -> None:
    bars = frame(**{name: [1.1] * 60 for name in OHLCV})

    last = basic_features(bars).iloc[-1]

    assert last["rsi_14"] == 50.0
    assert last["bollinger_b_20"] == 0.5
    assert (last.drop(["rsi_14", "bollinger_b_20"]) == 0.0).all()


def test_the_basic_set_is_free_of_scale() -> None:
    price = np.random.default_rng(3).uniform(90, 110, 80)
    bars = frame(
        open=price, high=price + 2, low=price - 2, close=price[::-1].clip(price - 2, price + 2), volume=price
    )

    np.testing.assert_allclose(basic_features(bars * 1000), basic_features(bars), rtol=1e-9, atol=1e-11)


def test_every_column_of_the_basic_set_names_its_source() -> None:
    text = (Path(str(FEATURE_SETS["basic"].source))).read_text()

    paragraphs = [part for part in text.split("\n\n") if " = " in part]
    assert all(part.startswith("#") for part in paragraphs)
    assert sum(part.count(' = "') for part in paragraphs) == len(feature_set("basic")) == 21


# -- sets ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def mine() -> Iterator[FeatureSet]:
    """Register a set as an extension would."""
    FEATURE_SETS.add("mine", FeatureSet({"body": "close / open - 1"}), source="my-extension")
    yield FEATURE_SETS["mine"]
    FEATURE_SETS.discard("mine")


def test_a_set_may_be_a_mapping(mine: FeatureSet) -> None:
    assert feature_set("mine") == {"body": col("close") / col("open") - 1}


def test_adding_the_same_set_again_changes_nothing(mine: FeatureSet) -> None:
    FEATURE_SETS.add("mine", FeatureSet({"body": "close / open - 1"}))

    assert FEATURE_SETS.source("mine") == "my-extension"


def test_an_unknown_set_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown feature set 'basics'\. Did you mean 'basic'"):
        feature_set("basics")


def test_a_set_is_read_only_when_asked_for(tmp_path: Path) -> None:
    late = FeatureSet(tmp_path / "late.toml")
    (tmp_path / "late.toml").write_text('body = "close / open - 1"')

    assert list(late.expressions()) == ["body"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'body = "close / "', "The feature 'body': invalid syntax"),
        (b'body = "clos(e)"', "The feature 'body': Unknown operator 'clos'"),
        (b"body = 3", "no expression at 'body': 3"),
        (b"body =", "cannot be read: Invalid value"),
        (b"\xff", "cannot be read: 'utf-8'"),
    ],
)
def test_a_faulty_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.toml").write_bytes(content)

    with pytest.raises(ExpressionError, match=message):
        FeatureSet(tmp_path / "faulty.toml").expressions()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExpressionError, match=r"missing\.toml cannot be read"):
        FeatureSet(tmp_path / "missing.toml").expressions()


def test_the_shared_volatility_is_that_of_the_basic_set() -> None:
    assert return_volatility() == feature_set("basic")["volatility_20"]
    assert return_volatility("adj close").columns() == {"adj close"}


# -- resolving ----------------------------------------------------------------------------------------------------


def test_sets_come_first_and_expressions_after_them() -> None:
    config = FeaturesConfig(sets=("basic",), expressions={"body": "close / open - 1"})

    features = resolve_features(config, bar_columns=OHLCV)

    assert features == {**feature_set("basic"), "body": parse_expression("close / open - 1")}
    assert list(features)[-1] == "body"


def test_feature_columns_pick_from_sets_expressions_and_bars_in_their_order() -> None:
    config = FeaturesConfig(sets=("basic",), expressions={"body": "close / open - 1"})

    features = resolve_features(config, bar_columns=OHLCV, feature_columns=["volume", "body", "rsi_14"])

    assert list(features) == ["volume", "body", "rsi_14"]
    assert features["volume"] == col("volume")


def test_raw_columns_alone_are_enough() -> None:
    config = FeaturesConfig(sets=())

    assert resolve_features(config, bar_columns=OHLCV, feature_columns=["open"]) == {"open": col("open")}


@pytest.mark.parametrize(
    ("config", "picked", "message"),
    [
        (FeaturesConfig(sets=("basics",)), None, "Unknown feature set 'basics'. Did you mean 'basic'"),
        (BASIC, ["rsi_15"], "Unknown feature column 'rsi_15'. Did you mean 'rsi_14'"),
        (BASIC, ["rsi_14", "rsi_14"], "names 'rsi_14' twice"),
        (
            FeaturesConfig(sets=("basic", "basic")),
            None,
            "is in the feature set 'basic' and again in the feature set",
        ),
        (
            FeaturesConfig(expressions={"rsi_14": "close"}),
            None,
            "'rsi_14' is in the feature set 'basic' and again in features.expressions",
        ),
        (
            FeaturesConfig(sets=(), expressions={"x": "clse"}),
            None,
            "expressions.x: Unknown column 'clse'. Did you mean 'close'",
        ),
        (
            FeaturesConfig(sets=(), expressions={"x": "ref(close, -1)"}),
            None,
            "expressions.x: .*would look ahead",
        ),
        (
            FeaturesConfig(sets=(), expressions={"close": "1 / close"}),
            ["close"],
            "both a feature and a column",
        ),
        (FeaturesConfig(sets=()), None, "No features"),
    ],
)
def test_a_configuration_that_means_no_features_is_refused(
    config: FeaturesConfig, picked: list[str] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_features(config, bar_columns=OHLCV, feature_columns=picked)


def test_a_set_that_needs_a_column_the_bars_lack_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"The feature 'volume_zscore_20' = zscore\(volume, 20\): Unknown column"
    ):
        resolve_features(BASIC, bar_columns=OHLCV[:4])


def test_a_set_is_usable_without_a_column_that_only_others_need() -> None:
    features = resolve_features(BASIC, bar_columns=["close"], feature_columns=["return_1", "rsi_14"])

    assert list(features) == ["return_1", "rsi_14"]


def test_an_expression_may_give_a_bar_column_its_own_name() -> None:
    config = FeaturesConfig(sets=(), expressions={"close": "close"})

    assert resolve_features(config, bar_columns=OHLCV, feature_columns=["close"]) == {"close": col("close")}


def test_evaluating_over_bars_without_a_column_names_the_nearest() -> None:
    with pytest.raises(ExpressionError, match=r"Unknown column 'clse'\. Did you mean 'close'"):
        evaluate({"x": col("clse")}, Panel.of(frame(close=[1.0], open=[2.0])))


def test_features_that_depend_on_the_first_bar_are_named(caplog: pytest.LogCaptureFixture) -> None:
    config = FeaturesConfig(sets=(), expressions={"flow": "cumulative_sum(volume)", "body": "close / open"})

    resolve_features(config, bar_columns=OHLCV)

    assert caplog.messages == [
        "These features depend on the first bar for ever, so live bars must begin where the backtest's do: flow"
    ]
