"""The bars that a run folder keeps."""

from __future__ import annotations

import pandas as pd
import pytest

from backtester_model_core.bars import check_bars
from backtester_model_core.exceptions import ArtifactError, RunError
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import read_bars
from backtester_model_core.walkforward.kept_bars import BARS, pack_bars


def keep(folder, bars):
    (folder / BARS).write_bytes(pack_bars(bars))
    return read_bars(folder)


@pytest.mark.parametrize("given", [random_bars(60), random_panel(3, 60)])
def test_bars_come_back_as_they_were(tmp_path, given):
    bars = check_bars(given)

    pd.testing.assert_frame_equal(
        keep(tmp_path, bars), bars, check_freq=False, check_index_type=False, check_names=True
    )


def test_the_time_zone_of_the_stamps_comes_back(tmp_path):
    bars = check_bars(random_bars(60).tz_localize("America/New_York"))

    kept = keep(tmp_path, bars)

    assert str(kept.index.tz) == str(bars.index.tz)
    assert (kept.index == bars.index).all()


def test_the_same_bars_give_the_same_bytes():
    bars = check_bars(random_bars(60))

    assert pack_bars(bars) == pack_bars(bars.copy())


def test_a_folder_without_bars_is_refused(tmp_path):
    with pytest.raises(RunError, match="keeps no bars"):
        read_bars(tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / BARS).write_bytes(pack_bars(check_bars(random_bars(60)))[:-40])

    with pytest.raises(ArtifactError, match=BARS):
        read_bars(tmp_path)
