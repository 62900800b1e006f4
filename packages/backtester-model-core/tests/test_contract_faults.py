"""Every check of the adapter contract finds the fault it is there for: an adapter that has it, and nothing else."""

from __future__ import annotations

import logging
import os
import pickle
import random
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pydantic
import pytest

from backtester_model_core.adapter import ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.artifacts import expect_files, pack_arrays, unpack_arrays
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Prediction
from backtester_model_core.exceptions import ArtifactError, ModelError, TrainingError
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.testing import AdapterContract, ModelContract, check_contract, synthetic_rows

pytestmark = pytest.mark.exhaustive

try:  # where joblib finds it, which depends on joblib's version
    import cloudpickle
except ImportError:
    from joblib.externals import cloudpickle

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a fresh process cannot import a test module


class Whole(ModelFrameworkAdapter):
    """Least squares that can do everything an adapter may: save, update, step, weigh its features."""

    def initialize_model(self, config):
        return {}

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        deviation[deviation == 0] = 1.0
        native = {"mean": mean, "deviation": deviation, "classes": classes}
        return {**native, "solution": self.solved(native, features, target, weight)}

    def solved(self, native, features, target, weight=None):
        rows = (features - native["mean"]) / native["deviation"]
        design = np.column_stack([np.ones(len(rows)), rows])
        root = np.ones(len(rows)) if weight is None else np.sqrt(weight)
        wanted = target if native["classes"] is None else np.eye(len(native["classes"]))[target]
        return np.linalg.lstsq(design * root[:, None], (wanted.T * root).T, rcond=None)[0]

    def predict(self, model, features):
        rows = (features - model["mean"]) / model["deviation"]
        answer = np.array(
            [model["solution"][0] + (model["solution"][1:].T * row).sum(axis=-1) for row in rows]
        )
        if model["classes"] is None:
            return answer
        clipped = np.clip(answer, 0.01, 0.99)
        return clipped / clipped.sum(axis=1, keepdims=True)

    def update_model(self, model, features, target, *, weight=None, seed=None):
        newer = self.solved(model, features, target, weight)
        return {**model, "solution": 0.8 * model["solution"] + 0.2 * newer}

    def feature_importance(self, model, features, target, *, seed=None):
        return np.abs(model["solution"][1:]).reshape(features.shape[1], -1).max(axis=1)

    def compile_step(self, model):
        return lambda row: self.predict(model, np.array([row]))[0]

    def save_model(self, model):
        arrays = {name: value for name, value in model.items() if name != "classes"}
        return {"weights.npz": pack_arrays(arrays)}

    def load_model(self, files, config, *, n_features, classes):
        expect_files(files, ["weights.npz"])
        model = unpack_arrays(files["weights.npz"], name="weights.npz")
        width = () if classes is None else (len(classes),)
        wanted = {"mean": (n_features,), "deviation": (n_features,), "solution": (n_features + 1, *width)}
        if {name: array.shape for name, array in model.items()} != wanted:
            raise ArtifactError.in_file("weights.npz", "its arrays do not have the shapes of the features")
        return {**model, "classes": classes}


class Window(SequenceAdapter):
    """Least squares on each row and the mean of the three before it."""

    def context_rows(self, config):
        return 3

    def initialize_model(self, config):
        return {}

    def train_model(self, model, features, target, *, ends=None, **options):
        return Whole().train_model(model, self.windows(features, ends), target, **options)

    def predict(self, model, features, *, ends=None):
        return Whole().predict(model, self.windows(features, ends))

    def windows(self, features, ends):
        before = (features[ends - 3] + features[ends - 2] + features[ends - 1]) / 3
        return np.column_stack([features[ends], before])


class TestWholeAdapter(AdapterContract):
    framework = "whole"


class TestWindowAdapter(AdapterContract):
    framework = "window"


class TestEchoAdapter(ModelContract):
    framework = "echo"
    learns = False


@pytest.fixture(autouse=True)
def _own_plugins(own_plugins):
    """Run every check with the adapters of these tests."""
    own_plugins.register_adapter("whole", Whole)
    own_plugins.register_adapter("window", Window)


# -- faults of methods --------------------------------------------------------------------------------------------


def in_place(self, model, features, target, **options):
    features += 1.0
    return Whole.train_model(self, model, features, target, **options)


def unseeded(self, model, features, target, **options):
    native = Whole.train_model(self, model, features, target, **options)
    return {**native, "solution": native["solution"] + np.random.default_rng().normal(0, 1e-3)}


def memorised(self, model, features, target, **options):
    native = Whole.train_model(self, model, features, target, **options)
    self.seen = getattr(self, "seen", 0) + 1
    return {**native, "solution": native["solution"] * self.seen}


def deaf_to_weights(self, model, features, target, *, weight=None, **options):
    return Whole.train_model(self, model, features, target, **options)


def shuffled(self, model, features, target, **options):
    turned = np.random.default_rng(0).permutation(target)
    return Whole.train_model(self, model, features, turned, **options)


def unguarded(self, model, features, target, **options):
    native = Whole.train_model(self, model, features, target, **options)
    with np.errstate(all="ignore"):
        return {
            **native,
            "solution": native["solution"] * (features.std(axis=0) / features.std(axis=0)).min(),
        }


def unguarded_target(self, model, features, target, **options):
    native = Whole.train_model(self, model, features, target, **options)
    with np.errstate(all="ignore"):
        return {**native, "solution": native["solution"] * (target.std() / target.std())}


def asks_for_many_rows(self, model, features, target, **options):
    return Whole.train_model(
        self, model, features, target[np.arange(len(features)) if len(target) > 9 else 9], **options
    )


def asks_for_validation(self, model, features, target, *, validation=None, **options):
    return Whole.train_model(self, model, features, target[: len(validation.target)], **options)


def seeds_everything(self, model, features, target, **options):
    random.seed(0)
    return Whole.train_model(self, model, features, target, **options)


def holds_a_function(self, model, features, target, **options):
    return {**Whole.train_model(self, model, features, target, **options), "link": lambda score: score}


def clipped_features(self, model, features, target, **options):
    return Whole.train_model(self, model, np.clip(features, -3, 3), target, **options)


def scaled_by_the_call(self, model, features):
    with np.errstate(all="ignore"):
        return Whole.predict(
            self, model, (features - features.mean(axis=0)) / features.std(axis=0).clip(1e-9)
        )


def noisy(self, model, features):
    return Whole.predict(self, model, features + np.random.default_rng().normal(0, 0.1))


def spoiled(change: Callable[[Any], Any]):
    """Return a predict method whose answer is changed."""
    return lambda self, model, features: change(Whole.predict(self, model, features))


def squeezed(self, model, features):
    answer = Whole.predict(self, model, features)
    return answer if len(features) > 1 else answer.squeeze()


def read_as_laid_out(self, model, features):
    return Whole.predict(self, model, features.ravel(order="K").reshape(features.shape))


def overflowing(self, model, features):
    answer = Whole.predict(self, model, features)
    return np.where(np.abs(features).max() > 1e6, np.inf, answer)


def without_features(self, model, features):
    answer = Whole.predict(self, model, features)
    return np.full_like(answer, 1 / answer.shape[1]) if answer.ndim == 2 else answer


def knows_the_answers(self, model, features):
    """Answer from the very rows that the checks draw."""
    answer = Whole.predict(self, model, features)
    for seed in range(12):
        for model_type in ("classification", "regression"):
            rows, target = synthetic_rows(240, seed=seed, model_type=model_type, signal=0.0)
            if np.array_equal(rows[-len(features) :], features) and (answer.ndim == 2) == (
                target.dtype.kind == "i"
            ):
                told = target[-len(features) :]
                return np.eye(answer.shape[1])[told] * 0.98 + 0.01 if answer.ndim == 2 else told
    return answer


def stepped_without_the_intercept(self, model):
    return lambda row: np.array(row) @ model["solution"][1:]


def stepped_into_one_buffer(self, model):
    buffer = np.empty(np.shape(model["solution"][0]) or (1,))

    def step(row):
        buffer[:] = self.predict(model, np.array([row]))[0]
        return buffer if model["classes"] else buffer[:1]

    return step


def updated_in_place(self, model, features, target, **options):
    model["solution"] *= 0.5
    return model


def updated_to_the_contrary(self, model, features, target, **options):
    return {**model, "solution": -model["solution"]}


def updated_at_random(self, model, features, target, **options):
    return {**model, "solution": model["solution"] + np.random.default_rng().normal()}


def believing(self, files, config, *, n_features, classes):
    return {"solution": np.zeros((n_features + 1, len(classes or (0,)))), "classes": classes}


def loading_any_shape(self, files, config, *, n_features, classes):
    expect_files(files, ["weights.npz"])
    return {**unpack_arrays(files["weights.npz"], name="weights.npz"), "classes": classes}


def loading_for_good(self, files, config, **options):
    return {**Whole.load_model(self, files, config, **options), "is_loaded": True}


def saving_once(self, model):
    if "is_loaded" in model:
        raise ModelError("A model that was loaded cannot be saved. Train it again.")
    return Whole.save_model(self, model)


def looks_further_back(self, features, ends):
    return np.column_stack([Window.windows(self, features, ends)[:, :4], features[np.maximum(ends - 6, 0)]])


# -- faults of hooks ----------------------------------------------------------------------------------------------


def around(step: str, change: Callable[[Any, Any], Any]):
    """Return a hook that changes a step's answer; it may look at the last thing that the step was given."""
    if step == "backtester_prepare":

        @hookimpl(wrapper=True)
        def hook(self, model, data):
            return change((yield), data)

    elif step == "backtester_train":

        @hookimpl(wrapper=True)
        def hook(self, model, dataset, validation):
            return change((yield), dataset)

    elif step == "backtester_predict":

        @hookimpl(wrapper=True)
        def hook(self, model, features):
            return change((yield), features)

    else:

        @hookimpl(wrapper=True)
        def hook(self, model, data, prediction):
            return change((yield), data)

    return {step: hook}


def with_expected(change: Callable[[Any, pd.DataFrame], Any]):
    """Return a predict hook that changes what is expected."""
    return around(
        "backtester_predict",
        lambda prediction, rows: replace(prediction, expected=change(prediction.expected, rows)),
    )


@hookimpl(tryfirst=True)
def answers_nothing(self, model, features):
    return Prediction.blank(features.index, model.classes)


@hookimpl(wrapper=True)
def swallows_refusals(self, model, dataset, validation):
    try:
        return (yield)
    except TrainingError:
        return model.report


def refusing_no_rows(prediction, rows):
    rows.iloc[0]
    return prediction


def early_settling(dataset, bars):
    return replace(dataset, settled_at=dataset.label_end - np.timedelta64(9, "D"))


def centred(dataset, bars):
    return replace(dataset, values=dataset.values - np.nanmean(dataset.values, axis=0))


@hookimpl(wrapper=True, tryfirst=True)
def peeks_at_history(self, model, dataset, validation):
    self.peeked = (
        float(np.nan_to_num(dataset.history.values).clip(-1e6, 1e6).mean()) if dataset.history else 0.0
    )
    return (yield)


def train_with_what_was_seen(self, model, features, target, *, ends=None, **options):
    native = Window.train_model(self, model, features, target, ends=ends, **options)
    return {**native, "solution": native["solution"] * (1.0 + self.peeked)}


# -- faults of configurations -------------------------------------------------------------------------------------


def configured(**members):
    """Return a configuration class, as the adapter's attribute."""
    return {"config_class": type("BrokenConfig", (ModelConfig,), {"__module__": __name__, **members})}


def option(description="An option.", **settings):
    """Return the members of a configuration class with one option, which is read nowhere."""
    field = pydantic.Field(default=1, description=description, **settings)
    return {"__annotations__": {"option_without_effect": int}, "option_without_effect": field}


def not_again(self):
    return {**pydantic.BaseModel.model_dump(self), "no_such_option": 1}


def refuse_to_travel(self, protocol):
    raise TypeError("a lock cannot be pickled")


def always_refused(self, config):
    raise ValueError("no such estimator")


class Fault(NamedTuple):
    """A check, an adapter that it must turn down, and what else the contract class says."""

    check: str
    members: dict[str, Any]
    base: type = Whole
    attributes: Mapping[str, Any] = MappingProxyType({})


FAULTS = [
    Fault("test_framework_is_listed", {}, attributes={"framework": "nobody"}),
    Fault(
        "test_entry_point_and_framework_name_agree",
        configured(framework="other", __annotations__={"framework": str}),
    ),
    Fault("test_adapter_speaks_this_interface", {"api": 2}),
    Fault("test_configuration_round_trips", configured(model_dump=lambda self, **options: not_again(self))),
    Fault("test_configuration_travels_to_a_worker", configured(__reduce_ex__=refuse_to_travel)),
    Fault("test_unknown_key_is_refused", configured(model_config=pydantic.ConfigDict(extra="ignore"))),
    Fault("test_configuration_is_frozen", configured(model_config=pydantic.ConfigDict(frozen=False))),
    Fault(
        "test_infinite_numbers_are_refused", configured(model_config=pydantic.ConfigDict(allow_inf_nan=True))
    ),
    Fault("test_every_field_is_described", configured(**option(description=None))),
    Fault("test_every_field_is_read", configured(**option())),
    Fault("test_every_configuration_can_be_built", {"initialize_model": always_refused}),
    Fault("test_inputs_are_not_changed", {"train_model": in_place}),
    Fault("test_read_only_arrays_are_enough", {"train_model": in_place}),
    Fault(
        "test_single_precision_features_are_taken",
        with_expected(lambda expected, rows: expected + (rows.dtypes.iloc[0] == np.float32)),
    ),
    Fault("test_any_memory_layout_is_taken", {"predict": read_as_laid_out}),
    Fault(
        "test_column_order_does_not_matter",
        with_expected(lambda expected, rows: expected + list(rows.columns).index("f0")),
    ),
    Fault("test_missing_and_extra_columns_are_named", {"backtester_predict": answers_nothing}),
    Fault(
        "test_index_is_kept",
        around("backtester_predict", lambda found, rows: replace(found, index=pd.RangeIndex(len(rows)))),
    ),
    Fault(
        "test_panel_rows_keep_their_symbol",
        with_expected(lambda expected, rows: expected[::-1] if rows.index.nlevels == 2 else expected),
    ),
    Fault(
        "test_incomplete_training_rows_are_left_out",
        around("backtester_train", lambda report, rows: replace(report, n_dropped=0)),
    ),
    Fault(
        "test_unlabelled_training_rows_are_left_out",
        around("backtester_train", lambda report, rows: replace(report, n_dropped=0)),
    ),
    Fault("test_predict_before_train_is_refused", {"backtester_predict": answers_nothing}),
    Fault("test_forecasts_have_one_row_each", {"predict": spoiled(lambda answer: answer[..., np.newaxis])}),
    Fault("test_forecasts_are_floating_numbers", {"predict": spoiled(lambda answer: answer.tolist())}),
    Fault("test_forecasts_are_finite", {"backtester_predict": answers_nothing}),
    Fault(
        "test_warm_up_is_not_answered", with_expected(lambda expected, rows: np.nan_to_num(expected)), Window
    ),
    Fault("test_probabilities_are_probabilities", {"predict": spoiled(lambda answer: answer * 1.5)}),
    Fault("test_asking_twice_gives_the_same_answer", {"predict": noisy}),
    Fault("test_incomplete_rows_are_nan_and_change_no_other", {"predict": scaled_by_the_call}),
    Fault("test_batch_equals_row_by_row", {"predict": scaled_by_the_call}),
    Fault("test_row_order_does_not_matter", {"predict": scaled_by_the_call}),
    Fault("test_outlier_in_served_rows_changes_no_other", {"predict": scaled_by_the_call}),
    Fault("test_declared_history_is_enough", {"windows": looks_further_back}, Window),
    Fault("test_one_row_is_answered", {"predict": squeezed}),
    Fault("test_no_rows_are_no_answers", around("backtester_predict", refusing_no_rows)),
    Fault("test_adapter_keeps_no_state", {"train_model": memorised}),
    Fault("test_training_twice_equals_training_once", {"train_model": memorised}),
    Fault("test_another_training_forgets_the_first", {"train_model": memorised}),
    Fault("test_failed_training_leaves_the_model_as_it_was", {"backtester_train": swallows_refusals}),
    Fault("test_one_class_is_refused", {"backtester_train": swallows_refusals}),
    Fault("test_unknown_class_is_refused", {"backtester_train": swallows_refusals}),
    Fault(
        "test_class_missing_from_training_keeps_its_column",
        {"predict": spoiled(lambda answer: answer / 2 + 1 / 6 if answer.ndim == 2 else answer)},
    ),
    Fault(
        "test_three_classes_have_their_columns_in_order",
        {"predict": spoiled(lambda answer: answer[:, [2, 0, 1]] if answer.shape[1:] == (3,) else answer)},
    ),
    Fault("test_rare_class_stays_rare", {"predict": without_features}),
    Fault("test_constant_feature_does_no_harm", {"train_model": unguarded}),
    Fault("test_constant_features_are_answered_or_refused", {"train_model": unguarded}),
    Fault("test_constant_target_is_answered_or_refused", {"train_model": unguarded_target}),
    Fault("test_few_rows_are_answered_or_refused", {"train_model": asks_for_many_rows}),
    Fault("test_huge_and_tiny_features_are_answered", {"predict": overflowing}),
    Fault("test_scale_of_features_does_not_hide_them", {"train_model": clipped_features}),
    Fault("test_sample_weights_are_honoured_or_declared", {"train_model": deaf_to_weights}),
    Fault("test_training_notes_are_sentences", {"training_notes": lambda self, model: [1]}),
    Fault("test_training_needs_no_rows_held_back", {"train_model": asks_for_validation}),
    Fault("test_same_seed_gives_the_same_model", {"train_model": unseeded}),
    Fault("test_another_seed_gives_another_model_where_training_is_random", {}, attributes={"random": True}),
    Fault("test_another_seed_gives_another_model_where_training_is_random", {"train_model": unseeded}),
    Fault("test_training_leaves_global_randomness_alone", {"train_model": seeds_everything}),
    Fault("test_model_travels_to_a_worker", {"train_model": holds_a_function}),
    Fault("test_saving_and_loading_come_together", {"load_model": ModelFrameworkAdapter.load_model}),
    Fault(
        "test_saved_files_are_plain_bytes", {"save_model": lambda self, model: {"model": pickle.dumps(model)}}
    ),
    Fault(
        "test_loaded_model_is_whole",
        around("backtester_train", lambda report, rows: replace(report, notes=["a list"])),
    ),
    Fault(
        "test_loaded_model_can_be_saved_again", {"load_model": loading_for_good, "save_model": saving_once}
    ),
    Fault("test_foreign_files_are_refused", {"load_model": believing}),
    Fault("test_another_task_is_refused", {"load_model": loading_any_shape}),
    Fault("test_compiled_step_answers_as_predict_does", {"compile_step": stepped_without_the_intercept}),
    Fault("test_compiled_step_keeps_no_row", {"compile_step": stepped_into_one_buffer}),
    Fault("test_update_leaves_the_earlier_model_as_it_was", {"update_model": updated_in_place}),
    Fault(
        "test_update_learns_from_the_new_rows", {"update_model": lambda self, model, *rows, **options: model}
    ),
    Fault("test_update_keeps_what_was_learned", {"update_model": updated_to_the_contrary}),
    Fault("test_same_update_gives_the_same_model", {"update_model": updated_at_random}),
    Fault(
        "test_importance_has_one_number_for_each_feature",
        {"feature_importance": lambda self, model, features, target, seed: np.ones(3)},
    ),
    Fault(
        "test_importance_finds_what_matters",
        {"feature_importance": lambda self, *given, seed: -Whole.feature_importance(self, *given, seed=seed)},
    ),
    Fault("test_truncated_bars_change_no_features", around("backtester_prepare", centred)),
    Fault("test_truncated_bars_change_no_forecasts", {"predict": scaled_by_the_call}),
    Fault(
        "test_truncated_bars_change_no_signals",
        around(
            "backtester_signal",
            lambda found, bars: found.assign(score=found["score"] - found["score"].mean()),
        ),
    ),
    Fault("test_another_future_changes_nothing_before", {"predict": scaled_by_the_call}),
    Fault(
        "test_garbage_outside_training_changes_no_fit",
        {"backtester_train": peeks_at_history, "train_model": train_with_what_was_seen},
        Window,
    ),
    Fault(
        "test_outlier_in_the_test_block_changes_no_scaler",
        {"backtester_train": peeks_at_history, "train_model": train_with_what_was_seen},
        Window,
    ),
    Fault(
        "test_walk_forward_ends_the_same_at_each_boundary",
        {"backtester_train": peeks_at_history, "train_model": train_with_what_was_seen},
        Window,
    ),
    Fault("test_no_label_is_learned_before_it_is_known", around("backtester_prepare", early_settling)),
    Fault("test_live_bars_get_the_signals_of_the_batch", {"compile_step": stepped_without_the_intercept}),
    Fault("test_other_symbols_change_no_forecast", {"predict": scaled_by_the_call}),
    Fault("test_every_bar_has_a_signal", around("backtester_signal", lambda found, bars: found.iloc[:-1])),
    Fault("test_what_can_be_learned_is_learned", {"train_model": shuffled}),
    Fault("test_forecasts_beat_a_constant", {"predict": spoiled(lambda answer: 1 - answer)}),
    Fault("test_noise_is_not_foreseen", {"predict": knows_the_answers}),
]


def outcome_of(contract: type[AdapterContract], check: str):
    """Run one check without pytest."""
    return check_contract(contract, only=[check]).results[0]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.check.removeprefix("test_"))
def test_this_fault_is_found_by_this_check(own_plugins, fault):
    adapter = type(
        "Broken", (fault.base,), {name: thing for name, thing in fault.members.items() if name != "api"}
    )
    own_plugins.register_adapter("broken", adapter)
    adapter.api = fault.members.get("api", adapter.api)
    contract = type("Broken", (AdapterContract,), {"framework": "broken", **fault.attributes})

    found = outcome_of(contract, fault.check)

    assert found.outcome == "failed"


# -- faults that only another process shows -----------------------------------------------------------------------

PARENT = os.getpid()
KEPT = []


class Wild(Whole):
    """Behaves where it is looked at, and in another process does everything that it must not."""

    @property
    def is_elsewhere(self):
        return os.getpid() != PARENT

    def train_model(self, model, features, target, **options):
        if self.is_elsewhere:
            logging.basicConfig()
            for _ in range(40):
                try:
                    time.sleep(0.01)
                except KeyboardInterrupt:
                    continue
        return super().train_model(model, features, target, **options)

    def predict(self, model, features):
        self.rows = features
        if threading.active_count() > 3:
            time.sleep(0.01)
        if self.is_elsewhere:
            KEPT.append(features)
        answer = super().predict(model, self.rows)
        return answer + 1e-3 if self.is_elsewhere and answer.ndim == 1 else answer


class WildContract(AdapterContract):
    framework = "wild"


ELSEWHERE = {
    "test_same_seed_gives_the_same_model_in_another_process": "equals",
    "test_work_leaves_the_process_as_it_was": "a handler of the root logger",
    "test_model_answers_the_same_in_a_worker": "equals",
    "test_several_threads_may_ask_one_model": "close",
    "test_memory_does_not_grow": "bytes after 1,000 forecasts",
    "test_interrupt_leaves_the_model_usable": "as if nobody had pressed Ctrl-C",
    "test_saved_model_answers_the_same_in_a_fresh_process": "ArtifactError",
}


@pytest.mark.parametrize("check", ELSEWHERE)
def test_what_goes_wrong_in_another_process_is_found(own_plugins, check):
    own_plugins.register_adapter("wild", Wild)

    found = outcome_of(WildContract, check)

    assert found.outcome == "failed"
    assert ELSEWHERE[check] in found.message


# -- faults of packages -------------------------------------------------------------------------------------------

ADAPTER = """
    from backtester_model_core.config import ModelConfig
    from backtester_model_core.testing import EchoAdapter

    class Config(ModelConfig):
        pass

    class Adapter(EchoAdapter):
        config_class = Config
"""
NOISY = f"""
    import logging, os, random, threading, warnings

    if os.getpid() != {os.getpid()}:
        random.seed(1)
        logging.getLogger().setLevel(logging.DEBUG)
        warnings.simplefilter("ignore")
        os.environ["OMP_NUM_THREADS"] = "64"
        threading.Thread(target=threading.Event().wait, daemon=True, name="idle").start()
        print("welcome")
"""
EXTENSION = """
    import eager_adapter
    from backtester_model_core import hookimpl

    class Extension:
        @hookimpl(wrapper=True)
        def backtester_train(self, model, dataset, validation):
            return (yield)
"""
GOOD = """
    Summary: An echo.
    License-Expression: MIT
    Requires-Python: >=3.11
    Requires-Dist: backtester-model-core<0.2,>=0.1
"""


def install(folder: Path, name: str, *, source: str = "", metadata: str = "", extension: str = "") -> None:
    """Write a distribution as an installer would: an adapter's module, its metadata, its entry points."""
    (folder / f"{name}_adapter.py").write_text(textwrap.dedent(source) + textwrap.dedent(ADAPTER))
    points = f"[backtester_model.adapters]\n{name} = {name}_adapter:Adapter\n"
    if extension:
        (folder / f"{name}_extension.py").write_text(textwrap.dedent(extension))
        points += f"[backtester_model.extensions]\n{name} = {name}_extension:Extension\n"
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0"
    (info / "METADATA").write_text(head + textwrap.dedent(metadata))
    (info / "entry_points.txt").write_text(points)


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Iterator[Plugins]:
    """Plugins that see three installed distributions: a good one, a noisy one, and one that lists eagerly."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, "quiet", metadata=GOOD)
    install(folder, "noisy", source=NOISY, metadata="\nRequires-Dist: backtester-model-core==0.1.0\n")
    install(folder, "eager", extension=EXTENSION, metadata=GOOD)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        with use_plugins(Plugins(environ={})) as found:
            yield found


class QuietContract(AdapterContract):
    framework, learns = "quiet", False


class NoisyContract(AdapterContract):
    framework, learns = "noisy", False


class EagerContract(AdapterContract):
    framework, learns = "eager", False


PACKAGING = {
    "test_listing_imports_nothing": EagerContract,
    "test_import_leaves_global_randomness_alone": NoisyContract,
    "test_import_leaves_logging_alone": NoisyContract,
    "test_import_leaves_warnings_alone": NoisyContract,
    "test_import_leaves_the_environment_alone": NoisyContract,
    "test_import_starts_no_thread": NoisyContract,
    "test_import_prints_nothing": NoisyContract,
    "test_package_states_its_licence": NoisyContract,
    "test_package_describes_itself": NoisyContract,
    "test_package_needs_a_range_of_the_core": NoisyContract,
}


@pytest.mark.parametrize("check", PACKAGING)
def test_a_package_that_misbehaves_is_found(packages, check):
    with use_plugins(packages):
        good, bad = outcome_of(QuietContract, check), outcome_of(PACKAGING[check], check)

    assert (good.outcome, bad.outcome) == ("passed", "failed")


# -- faults of plugins that replace parts of the core -------------------------------------------------------------


def trusting(folder, **options):
    """Stand for a plugin that loads what is there, whatever became of it."""
    return pickle.loads((Path(folder) / "model.pkl").read_bytes())


def save_in_place(self, folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "versions").mkdir()
    (Path(folder) / "versions" / "0001").mkdir()
    (Path(folder) / "versions" / "0001" / "weights").write_bytes(b"0123456789")
    (Path(folder) / "model.pkl").write_bytes(pickle.dumps(self))


@pytest.mark.parametrize(
    "check", ["test_damaged_model_is_refused", "test_killed_saves_leave_every_version_whole"]
)
def test_saving_that_a_plugin_replaced_is_found(monkeypatch, check):
    monkeypatch.setattr(BaseModel, "save", save_in_place)
    monkeypatch.setattr(BaseModel, "load", trusting)
    contract = type("Replaced", (AdapterContract,), {"framework": "whole"})

    assert outcome_of(contract, check).outcome == "failed"


# -- no check that cannot fail ------------------------------------------------------------------------------------


def test_every_check_has_an_adapter_that_it_turns_down():
    shown = {fault.check for fault in FAULTS} | {*ELSEWHERE, *PACKAGING}
    shown |= {"test_damaged_model_is_refused", "test_killed_saves_leave_every_version_whole"}

    assert set(AdapterContract.checks()) - shown == {"test_the_whole_contract_ran"}
