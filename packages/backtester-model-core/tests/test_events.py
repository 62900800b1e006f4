from __future__ import annotations

import json

import numpy as np
import pytest

from backtester_model_core.events import EVENT_COLUMNS, Event, EventKind, event_frame

EARLY, LATE = np.datetime64("2024-01-02", "ns"), np.datetime64("2024-03-01", "ns")


def test_events_are_listed_in_order_of_time():
    frame = event_frame([Event(LATE, EventKind.REFUSED, "no"), Event(EARLY, EventKind.TRAINED, "yes", 0)])

    assert list(frame["kind"]) == ["trained", "refused"]
    assert list(frame["window"].isna()) == [False, True]


def test_an_empty_frame_has_the_columns():
    assert tuple(event_frame([]).columns) == EVENT_COLUMNS


def test_figures_are_json_also_where_one_is_not_known():
    event = Event(EARLY, EventKind.GATE_CLOSED, "shut", figures={"t_g": float("nan"), "n": 3.0})

    assert json.loads(event_frame([event])["figures"][0]) == {"t_g": None, "n": 3.0}


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (4, "2024-01-02T00:00:00.000000000 window 4 trained: ok"),
        (None, "2024-01-02T00:00:00.000000000 trained: ok"),
    ],
)
def test_an_event_reads_as_a_line_of_a_log(window, said):
    assert str(Event(EARLY, EventKind.TRAINED, "ok", window)) == said
