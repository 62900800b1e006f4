"""LightGBM's adapter keeps the contract, and refuses trees that LightGBM could not have grown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.plugins import plugins
from backtester_model_core.testing import AdapterContract, random_bars

import backtester_model_lightgbm.adapter

FIELDS = {"framework": "lightgbm", "num_iterations": 3}


class TestLightGBM(AdapterContract):
    framework = "lightgbm"


def saved() -> tuple[str, int]:
    """Return the text of a small trained model, and how many features it has."""
    model = create_model(load_config(FIELDS))
    features, target = model.prepare_data(random_bars(400, momentum=0.3))
    model.train(features, target)
    adapter = plugins().adapter("lightgbm")
    return adapter.save_model(model.native)["trees.txt"].decode(), features.shape[1]


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"max_feature_idx=\d+", "max_feature_idx=3"),
        (r"num_class=2", "num_class=1"),
        (r"split_feature=\d+", "split_feature=99999"),
        (r"split_feature=\d+", "split_feature=-1"),
        (r"left_child=\S+", "left_child=0"),
        (r"left_child=\S+", "left_child=77"),
        (r"leaf_value=\S+", "leaf_value=nan"),
        (r"threshold=\S+", "threshold=inf"),
        (r"num_leaves=\d+", "num_leaves=100000"),
        (r"num_cat=0", "num_cat=1"),
        (r"is_linear=0", "is_linear=1"),
        (r"decision_type=\d+", "decision_type=3"),
        (r"num_leaves=\d+", "num_leaves=-5"),
        (r"objective=.*", "objective=custom"),
        (r"num_tree_per_iteration=2", "num_tree_per_iteration=9"),
        (r"(?s)\nTree=0.*", ""),
        (r"(?s).*", "tree"),
    ],
)
def test_trees_that_do_not_fit_are_refused_before_lightgbm_reads_them(pattern: str, instead: str) -> None:
    text, n_features = saved()
    changed = re.sub(pattern, instead, text, count=1)

    with pytest.raises(ArtifactError, match=r"trees\.txt"):
        plugins().adapter("lightgbm").load_model(
            {"trees.txt": changed.encode()}, load_config(FIELDS), n_features=n_features, classes=(-1.0, 1.0)
        )

    assert changed != text


def test_sizes_that_lead_out_of_the_text_are_not_followed() -> None:
    text, n_features = saved()
    adapter = plugins().adapter("lightgbm")
    changed = re.sub(r"tree_sizes=.*", "tree_sizes=999999999 5 -7 1 1 1", text)
    rows = np.random.default_rng(0).normal(size=(20, n_features))
    given = {"n_features": n_features, "classes": (-1.0, 1.0)}

    as_saved, as_changed = (
        adapter.load_model({"trees.txt": each.encode()}, load_config(FIELDS), **given)
        for each in (text, changed)
    )

    assert changed != text
    assert np.array_equal(adapter.predict(as_saved, rows), adapter.predict(as_changed, rows))


def test_the_adapter_is_one_file_of_at_most_a_hundred_lines() -> None:
    source = Path(str(backtester_model_lightgbm.adapter.__file__)).read_text()

    assert len(source.splitlines()) <= 100
