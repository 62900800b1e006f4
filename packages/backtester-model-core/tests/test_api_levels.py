"""Adapters of another interface level: the one before this core's is used as it is, later and older ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from backtester_model_core import adapter as interface
from backtester_model_core.adapter import API_LEVEL, OLDEST_API_LEVEL, ModelFrameworkAdapter, level_fault
from backtester_model_core.artifacts import expect_files, pack_arrays, unpack_arrays
from backtester_model_core.exceptions import PluginError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.row_steps import linear_step, value_link
from backtester_model_core.testing import random_bars
from backtester_model_core.walkforward import walk_forward


class SaysNoLevel(ModelFrameworkAdapter):
    """A linear model, written for level 1. Later levels must go on using it: never bring it up to date."""

    def initialize_model(self, config):
        return None

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        design = np.column_stack([np.ones(len(features)), features])
        return np.linalg.lstsq(design, target, rcond=None)[0]

    def predict(self, model, features):
        return model[0] + (features * model[1:]).sum(axis=1)

    def compile_step(self, model):
        return linear_step(model[None, 1:], model[:1], value_link)

    def save_model(self, model):
        return {"weights.npz": pack_arrays({"weights": model})}

    def load_model(self, files, config, *, n_features, classes):
        expect_files(files, ["weights.npz"])
        return unpack_arrays(files["weights.npz"], name="weights.npz")["weights"]


class OfLevelOne(SaysNoLevel):
    """The same, by an author who says so."""

    api = 1


FIELDS = {"framework": "early", "model_type": "regression"}


@pytest.fixture
def later_core(monkeypatch):
    """Be the core that comes after a change of the interface."""
    monkeypatch.setattr(interface, "API_LEVEL", 2)


def walked(adapter_class):
    own = Plugins(discover=False)
    with use_plugins(own):
        own.register_adapter("early", adapter_class)
        return walk_forward(FIELDS, random_bars(700, seed=3, momentum=0.3))


@pytest.mark.parametrize("adapter_class", [OfLevelOne, SaysNoLevel])
def test_an_adapter_of_the_level_before_walks_forward_as_it_always_did(adapter_class, monkeypatch):
    before = walked(adapter_class)
    monkeypatch.setattr(interface, "API_LEVEL", 2)

    after = walked(adapter_class)

    assert after.predictions["expected"].notna().sum() > 100
    assert after.signals.equals(before.signals)
    assert after.predictions.equals(before.predictions)


def test_a_model_of_the_level_before_is_saved_loaded_and_asked_row_by_row(later_core, tmp_path):
    own = Plugins(discover=False)
    with use_plugins(own):
        own.register_adapter("early", OfLevelOne)
        model = create_model(load_config(FIELDS))
        bars = random_bars(400, seed=3)
        features, target = model.prepare_data(bars)
        model.train(features, target)
        model.save(tmp_path / "early")

        loaded = BaseModel.load(tmp_path / "early")

        assert (loaded.predict(features) == model.predict(features)).all()
        step = own.adapter("early").compile_step(loaded.native)
        assert step(features.iloc[5].tolist()) == pytest.approx(model.predict(features)[5], abs=1e-6)


def test_an_adapter_of_the_level_after_is_refused_with_what_to_upgrade():
    class FromTheFuture(OfLevelOne):
        api = API_LEVEL + 1

    with pytest.raises(PluginError, match="pip install --upgrade backtester-model-core"):
        Plugins(discover=False).register_adapter("early", FromTheFuture)


def test_an_adapter_of_a_level_that_is_no_longer_spoken_is_refused(monkeypatch):
    monkeypatch.setattr(interface, "API_LEVEL", 3)
    monkeypatch.setattr(interface, "OLDEST_API_LEVEL", 2)

    with pytest.raises(PluginError, match=r"level 1, this core 2 to 3\. Upgrade the package"):
        Plugins(discover=False).register_adapter("early", OfLevelOne)


def test_the_level_before_this_core_s_is_never_dropped():
    assert max(1, API_LEVEL - 1) >= OLDEST_API_LEVEL
    assert level_fault(API_LEVEL) is None


def test_an_extension_that_names_fewer_arguments_than_a_hook_has_is_called_with_those():
    class Old:
        seen = 0

        @hookimpl(wrapper=True)
        def backtester_train(self, model):
            Old.seen += 1
            return (yield)

    own = Plugins(discover=False)
    with use_plugins(own):
        own.register_adapter("early", OfLevelOne)
        own.register_extension("old", Old())
        model = create_model(load_config(FIELDS))
        model.train(*model.prepare_data(random_bars(300, seed=3)))

    assert Old.seen == 1
