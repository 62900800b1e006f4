"""A walk-forward whose trainings are decided as it goes: who serves when, on what was known, and what is said."""

import pandas as pd
import pytest

from backtester_model_core.config import parse_config
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward


def retrained(config, **fields):
    """Return a configuration with another ``retraining``, checked; other groups by their name."""
    values = config.model_dump()
    others = {name: fields.pop(name) for name in list(fields) if name in values}
    for name, value in others.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return parse_config(type(config), {**values, "retraining": fields})


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def lived_events(result, *kinds):
    return result.events[result.events["kind"].isin(kinds)]


@pytest.mark.parametrize("bars", [random_bars(300, seed=8), random_panel(3, 260, lives={"S001": (20, 200)})])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prediction_horizon": 5, "model_type": "regression"},
        {"pooling": "per_symbol", "validation": {"scheme": "rolling"}},
        {"validation": {"retrain_delay": "3D"}, "gate": {"mode": "warn"}},
    ],
)
def test_a_schedule_that_is_lived_is_the_schedule_that_is_planned(linear_config, bars, fields):
    planned = walk_forward(retrained(linear_config, **fields), bars)

    lived = walk_forward(retrained(linear_config, policy={"any": ["schedule"]}, **fields), bars)

    pd.testing.assert_frame_equal(lived.predictions, planned.predictions)
    pd.testing.assert_frame_equal(lived.signals, planned.signals)
    pd.testing.assert_frame_equal(lived.windows, planned.windows)
