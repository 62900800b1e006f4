"""Qlib's two sets against pandas, column by column, and the expansion that writes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.bars import Panel
from backtester_model_core.config import FeaturesConfig
from backtester_model_core.exceptions import ConfigError, ExpressionError
from backtester_model_core.features import FeatureSet, evaluate, feature_set, resolve_features
from backtester_model_core.features.expansion import MAX_COLUMNS, expand

WINDOWS = (5, 10, 20, 30, 60)
N_ROWS = 150


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    rng = np.random.default_rng(21)
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, N_ROWS) * 0.01))
    open_ = close * np.exp(rng.normal(0, 0.004, N_ROWS))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.004, N_ROWS)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.004, N_ROWS)))
    index = pd.date_range("2020-01-01", periods=N_ROWS, name="timestamp")
    columns = {"open": open_, "high": high, "low": low, "close": close, "vwap": (high + low + close) / 3}
    return pd.DataFrame({**columns, "volume": rng.lognormal(10, 1, N_ROWS)}, index=index)


def computed(name: str, bars: pd.DataFrame) -> pd.DataFrame:
    expressions = feature_set(name)
    return pd.DataFrame(evaluate(expressions, Panel.of(bars)), index=bars.index, columns=list(expressions))


def regression(x: np.ndarray, what: str) -> float:
    places = np.arange(len(x))
    if len(x) < 2:
        return np.nan
    slope, intercept = np.polyfit(places, x, 1)
    explained = np.corrcoef(places, x)[0, 1] ** 2
    return {"BETA": slope, "RSQR": explained, "RESI": x[-1] - slope * places[-1] - intercept}[what]


def alpha158(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute Alpha158 from its definition with pandas alone."""
    o, h, low, c, v = (bars[name] for name in ("open", "high", "low", "close", "volume"))
    top, bottom, spread = np.maximum(o, c), np.minimum(o, c), h - low + 1e-12
    out = {
        "KMID": (c - o) / o,
        "KLEN": (h - low) / o,
        "KMID2": (c - o) / spread,
        "KUP": (h - top) / o,
        "KUP2": (h - top) / spread,
        "KLOW": (bottom - low) / o,
        "KLOW2": (bottom - low) / spread,
        "KSFT": (2 * c - h - low) / o,
        "KSFT2": (2 * c - h - low) / spread,
        "OPEN0": o / c,
        "HIGH0": h / c,
        "LOW0": low / c,
        "VWAP0": bars["vwap"] / c,
    }
    move, flow = c - c.shift(1), v - v.shift(1)
    turnover = (c / c.shift(1) - 1).abs() * v
    for n in WINDOWS:

        def roll(x: pd.Series, n: int = n) -> pd.api.typing.Rolling:
            return x.rolling(n, min_periods=1)

        most, least = roll(h).max(), roll(low).min()
        latest, earliest = (roll(x).apply(f, raw=True) + 1 for x, f in ((h, np.argmax), (low, np.argmin)))
        up, down, size = (roll(x).sum() for x in (move.clip(lower=0), (-move).clip(lower=0), move.abs()))
        more, less, change = (roll(x).sum() for x in (flow.clip(lower=0), (-flow).clip(lower=0), flow.abs()))
        rises, falls = (roll(x.astype(float)).mean() for x in (c > c.shift(1), c < c.shift(1)))
        columns = {
            "ROC": c.shift(n) / c,
            "MA": roll(c).mean() / c,
            "STD": roll(c).std() / c,
            "BETA": roll(c).apply(regression, raw=True, args=("BETA",)) / c,
            "RSQR": roll(c).apply(regression, raw=True, args=("RSQR",)),
            "RESI": roll(c).apply(regression, raw=True, args=("RESI",)) / c,
            "MAX": most / c,
            "MIN": least / c,
            "QTLU": roll(c).quantile(0.8) / c,
            "QTLD": roll(c).quantile(0.2) / c,
            "RANK": roll(c).rank(pct=True),
            "RSV": (c - least) / (most - least + 1e-12),
            "IMAX": latest / n,
            "IMIN": earliest / n,
            "IMXD": (latest - earliest) / n,
            "CORR": roll(c).corr(np.log(v + 1)),
            "CORD": roll(c / c.shift(1)).corr(np.log(v / v.shift(1) + 1)),
            "CNTP": rises,
            "CNTN": falls,
            "CNTD": rises - falls,
            "SUMP": up / (size + 1e-12),
            "SUMN": down / (size + 1e-12),
            "SUMD": (up - down) / (size + 1e-12),
            "VMA": roll(v).mean() / (v + 1e-12),
            "VSTD": roll(v).std() / (v + 1e-12),
            "WVMA": roll(turnover).std() / (roll(turnover).mean() + 1e-12),
            "VSUMP": more / (change + 1e-12),
            "VSUMN": less / (change + 1e-12),
            "VSUMD": (more - less) / (change + 1e-12),
        }
        out |= {f"{name}{n}": column for name, column in columns.items()}
    return pd.DataFrame(out)


def test_alpha158_is_what_pandas_makes_of_its_definition(bars: pd.DataFrame) -> None:
    actual, expected = computed("alpha158", bars), alpha158(bars)

    assert actual.shape[1] == 158
    assert set(actual) == set(expected)
    for name in actual:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-7, atol=1e-9, err_msg=name)


def test_alpha360_is_sixty_bars_over_the_latest(bars: pd.DataFrame) -> None:
    actual = computed("alpha360", bars)

    names = [
        f"{field}{n}"
        for field in ("CLOSE", "OPEN", "HIGH", "LOW", "VWAP", "VOLUME")
        for n in range(59, -1, -1)
    ]
    assert list(actual) == names
    for name in names:
        field, lag = name.rstrip("0123456789").lower(), int(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        latest = bars["volume"] + 1e-12 if field == "volume" else bars["close"]
        np.testing.assert_allclose(actual[name], bars[field].shift(lag) / latest, rtol=1e-14, err_msg=name)


def test_bars_without_a_volume_weighted_price_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"The feature 'VWAP0' = vwap / close: Unknown column 'vwap'"):
        resolve_features(
            FeaturesConfig(sets=("alpha158",)), bar_columns=("open", "high", "low", "close", "volume")
        )


# -- expansion --------------------------------------------------------------------------------------------------------


def test_a_line_is_expanded_over_lists_and_ranges_in_order() -> None:
    texts = {
        "x_{n in 3..1}": "ref(close, {n})",
        "{f in open, high}_{n in 1, 5}": "ref({f}, {n}) / {f}",
        "z": "low",
    }

    assert expand(texts) == {
        "x_3": "ref(close, 3)",
        "x_2": "ref(close, 2)",
        "x_1": "ref(close, 1)",
        "open_1": "ref(open, 1) / open",
        "open_5": "ref(open, 5) / open",
        "high_1": "ref(high, 1) / high",
        "high_5": "ref(high, 5) / high",
        "z": "low",
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a_{n in 1, 2}": "close", "a_2": "open"}, "'a_2' is defined twice"),
        ({"a": "close", "a{n in x..y}": "close"}, "list words or numbers"),
        ({"a{n in }": "close"}, "list words or numbers"),
        ({"a{n in 1, 1}": "close"}, "'a1' is defined twice"),
        ({"a{n}": "close"}, "braces that are no placeholder"),
        ({"a{n in 1}{n in 2}": "close"}, "two placeholders of one name"),
        ({"a{n in 1..99999}": "close"}, "more than 2,000 columns"),
        ({"a{n in 1..50}_{m in 1..41}": "close"}, "more than 2,000 columns"),
    ],
)
def test_a_line_that_cannot_be_expanded_is_refused(texts: dict[str, str], message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        expand(texts)


def test_as_many_columns_as_the_bound_are_expanded() -> None:
    assert len(expand({"a{n in 1..50}_{m in 1..40}": "close"})) == MAX_COLUMNS


def test_a_configuration_expands_lines_as_a_set_does() -> None:
    line = {"ma_{n in 5, 10}": "rolling_mean(close, {n})"}

    features = resolve_features(FeaturesConfig(sets=(), expressions=line), bar_columns=["close"])

    assert features == FeatureSet(line).expressions()
    assert list(features) == ["ma_5", "ma_10"]


def test_a_configuration_that_cannot_be_expanded_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"features\.expressions: The feature 'a\{n\}'"):
        resolve_features(FeaturesConfig(sets=(), expressions={"a{n}": "close"}), bar_columns=["close"])
