"""Two models in a row: the second judges the first one's out-of-sample sides, and nothing else of it."""

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.evaluation import deflated_sharpe_ratio
from backtester_model_core.exceptions import LabelError
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward, walk_forward_meta
from backtester_model_core.walkforward.composed import primary_sides


@pytest.fixture
def configs(linear_config):
    """A first model that acts on half of its rows, and a second that judges it from 200 sessions on."""
    fields = linear_config.model_dump()
    first = ModelConfig.model_validate({**fields, "thresholds": {"entry": "quantile", "quantile": 0.5}})
    second = ModelConfig.model_validate(
        {
            **fields,
            "label": {"kind": "meta", "side_column": "side"},
            "validation": {"train_size": 200, "test_size": 40},
        }
    )
    return first, second


def test_the_second_model_acts_on_the_firsts_sides_or_not_at_all(configs):
    result = walk_forward_meta(*configs, random_bars(500, seed=3, momentum=0.3))
    first, both = (np.sign(each.signals["target_weight"]) for each in (result.primary, result.meta))

    assert ((both == first) | (both == 0)).all()
    assert 0 < (both != 0).sum() < (first[200:] != 0).sum()
    assert result.signals is result.meta.signals


def test_the_second_model_learns_from_out_of_sample_sides_alone(configs):
    bars = random_bars(500, seed=3, momentum=0.3)

    both = walk_forward_meta(*configs, bars)
    alone = walk_forward(configs[1], bars.assign(side=primary_sides(both.primary.signals)))

    sides = primary_sides(both.primary.signals)
    assert np.isnan(sides[:120]).all()
    assert set(sides[120:]) == {-1.0, 0.0, 1.0}
    acted = np.abs(sides[120:198]) == 1  # served, and known when the second model is first fitted
    assert both.meta.windows["n_train"].iloc[0] == acted.sum()
    pd.testing.assert_frame_equal(alone.signals, both.meta.signals)


def test_a_panel_is_composed_symbol_by_symbol(configs):
    result = walk_forward_meta(*configs, random_panel(3, 300, seed=1, momentum=0.3))
    first, both = (np.sign(each.signals["target_weight"]) for each in (result.primary, result.meta))

    assert ((both == first) | (both == 0)).all()


def test_the_two_are_kept_side_by_side_and_resume(configs, tmp_path):
    bars = random_bars(400, seed=3, momentum=0.3)

    one = walk_forward_meta(*configs, bars, out=tmp_path)
    entries = {name: set((tmp_path / name / "entries").iterdir()) for name in ("primary", "meta")}
    two = walk_forward_meta(*configs, bars, out=tmp_path)

    assert {name: set((tmp_path / name / "entries").iterdir()) for name in entries} == entries
    pd.testing.assert_frame_equal(one.signals, two.signals)


def test_the_pairs_that_were_ever_started_in_a_folder_are_its_trials(configs, tmp_path):
    """The second model's trials are pairs: other sides to act on are another trial of what comes of it."""
    bars = random_bars(400, seed=3, momentum=0.3)
    first, second = configs
    other = first.model_copy(update={"thresholds": first.thresholds.model_copy(update={"quantile": 0.4})})
    walk_forward_meta(first, second, bars, out=tmp_path)

    result = walk_forward_meta(other, second, bars, out=tmp_path)
    again = walk_forward_meta(other, second, bars, out=tmp_path)

    for part in (result.primary, result.meta):
        net = part.returns["signals"].to_numpy()
        figures = part.return_metrics["signals"]
        assert figures["deflated_sharpe"] == pytest.approx(deflated_sharpe_ratio(net, n_trials=2))
    assert again.meta.return_metrics == result.meta.return_metrics


def test_trials_of_a_pair_that_are_named_are_those_of_both(configs):
    result = walk_forward_meta(*configs, random_bars(400, seed=3, momentum=0.3), n_trials=7)

    for part in (result.primary, result.meta):
        net = part.returns["signals"].to_numpy()
        figures = part.return_metrics["signals"]
        assert figures["deflated_sharpe"] == pytest.approx(deflated_sharpe_ratio(net, n_trials=7))


def test_sides_do_not_change_when_the_future_does(configs):
    bars = random_bars(500, seed=3, momentum=0.3)

    whole, cut = (walk_forward_meta(*configs, part).signals for part in (bars, bars.iloc[:441]))

    pd.testing.assert_frame_equal(whole.iloc[:441], cut, check_freq=False)


def test_a_second_model_that_judges_no_side_is_refused(configs):
    with pytest.raises(LabelError, match="judges no side"):
        walk_forward_meta(configs[0], configs[0], random_bars(300))


def test_sides_do_not_replace_a_column_of_the_bars(configs):
    bars = random_bars(300).assign(side=1.0)

    with pytest.raises(LabelError, match="among the bars' columns already"):
        walk_forward_meta(*configs, bars)
