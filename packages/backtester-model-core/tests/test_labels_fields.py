"""Every field of a label's configuration changes what a model is trained on: no option is read by nobody."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pydantic
import pytest

from backtester_model_core.config import LabelConfig, parse_config
from backtester_model_core.config.model import ModelConfig
from backtester_model_core.factory import create_model
from backtester_model_core.steps import learnable_rows, weighted_rows
from backtester_model_core.testing import random_bars, random_panel

BARRIER = {"kind": "triple_barrier", "barrier_width": 1.0}
TREND = {"kind": "trend_scanning"}


def days():
    return random_bars(120, seed=4).assign(side=np.tile([1.0, -1.0, 0.0], 40), other=1.0)


def panel():
    return random_panel(3, 120, seed=4, lives={"S001": (0, 90)})


def hours():
    return random_bars(120, seed=4, frequency="h")


class Scenario(NamedTuple):
    """Two values of a field that make other targets, ends or weights."""

    one: Any
    other: Any
    given: Mapping[str, Any] = MappingProxyType({})
    bars: Any = days
    model_type: str = "classification"


SCENARIOS = {
    "kind": Scenario("direction", "three_way"),
    "entry": Scenario("open", "close", {"exit": "close"}, model_type="regression"),
    "exit": Scenario("open", "close", model_type="regression"),
    "delisted_after": Scenario(5, 10, bars=panel),
    "delisting_return": Scenario(0.0, -0.3, bars=panel, model_type="regression"),
    "form": Scenario("simple", "log", model_type="regression"),
    "excess_over": Scenario(None, "cross_section", bars=panel, model_type="regression"),
    "session": Scenario("any", "within", bars=hours),
    "session_timezone": Scenario(None, "Asia/Tokyo", {"session": "within"}, bars=hours),
    "volatility_window": Scenario(20, 5, BARRIER),
    "band": Scenario(0.2, 1.0, {"kind": "three_way"}),
    "band_unit": Scenario("volatility", "return", {"kind": "three_way", "band": 0.02}),
    "barrier_width": Scenario(0.5, 3.0, {"kind": "triple_barrier"}),
    "ambiguous": Scenario("lower", "nan", {"kind": "triple_barrier", "barrier_width": 0.1}),
    "trend_min_span": Scenario(2, 8, TREND),
    "side_column": Scenario("side", "other", {"kind": "meta"}),
    "pays_above": Scenario(0.0, 0.02, {"kind": "meta", "side_column": "side"}),
    "weighting.basis": Scenario("uniqueness", "return_attribution", BARRIER),
    "weighting.time_decay": Scenario(1.0, 0.5),
    "weighting.class_balance": Scenario(False, True),
}


def fields_of(group, above=""):
    for name, info in group.model_fields.items():
        kind = info.annotation
        nested = isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)
        yield from fields_of(kind, f"{name}.") if nested else [above + name]


def trained_on(path, value, scenario):
    """Targets, ends and weights of the rows that a model would learn from."""
    *group, name = path.split(".")
    change = {group[0]: {name: value}} if group else {name: value}
    config = parse_config(
        ModelConfig,
        {
            "framework": "least_squares",
            "model_type": scenario.model_type,
            "prediction_horizon": 8,
            "lookback_period": 5,
            "features": {"sets": [], "expressions": {"r1": "close / ref(close, 1) - 1"}},
            "label": {**scenario.given, **change},
        },
    )
    rows = weighted_rows(learnable_rows(create_model(config).prepare(scenario.bars())), config)
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    return pd.DataFrame({"target": rows.target, "end": rows.label_end, "weight": weight}, index=rows.index)


def test_every_field_has_a_scenario():
    assert set(fields_of(LabelConfig)) == set(SCENARIOS)


@pytest.mark.parametrize("path", SCENARIOS)
def test_a_field_of_the_label_changes_what_is_learned(path, own_plugins):
    scenario = SCENARIOS[path]

    one, again, other = (
        trained_on(path, value, scenario) for value in (scenario.one, scenario.one, scenario.other)
    )

    assert one.equals(again)
    assert not one.equals(other)
