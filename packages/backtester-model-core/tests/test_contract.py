"""The adapter contract passes for honest adapters, and each kind of dishonest one is caught by the right check."""

import numpy as np
import pytest

from backtester_model_core.adapter import ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.plugins import plugins
from backtester_model_core.testing import AdapterContract, EchoAdapter


@pytest.fixture(autouse=True)
def _own_plugins(own_plugins):
    """Run every check with the adapters of these tests."""
    own_plugins.register_adapter("window", WindowAdapter)


class TestEchoAdapter(AdapterContract):
    framework = "echo"
    learns = False


class TestLeastSquaresAdapter(AdapterContract):
    framework = "least_squares"


class TestWindowAdapter(AdapterContract):
    framework = "window"


class WindowAdapter(SequenceAdapter):
    """Least squares on each row and the mean of the three before it."""

    def context_rows(self, config):
        return 3

    def initialize_model(self, config):
        return {}

    def train_model(self, model, features, target, *, ends=None, **options):
        return (
            plugins().adapter("least_squares").train_model(model, windows(features, ends), target, **options)
        )

    def predict(self, model, features, *, ends=None):
        return plugins().adapter("least_squares").predict(model, windows(features, ends))


def windows(features, ends):
    before = (features[ends - 3] + features[ends - 2] + features[ends - 1]) / 3
    return np.column_stack([features[ends], before])


def reads_ahead(self, model, features, *, ends=None):
    later = np.minimum(ends + 1, len(features) - 1)
    return WindowAdapter.predict(self, model, features, ends=later)


def scaled_by_all_it_is_given(self, model, features, *, ends=None):
    return WindowAdapter.predict(self, model, features - features.mean(axis=0), ends=ends)


@pytest.mark.parametrize(
    ("check", "predict"),
    [
        ("test_batch_equals_row_by_row", reads_ahead),
        ("test_batch_equals_row_by_row", scaled_by_all_it_is_given),
        ("test_outlier_in_served_rows_changes_no_other", scaled_by_all_it_is_given),
        ("test_incomplete_rows_are_nan_and_change_no_other", reads_ahead),
        ("test_truncated_bars_change_nothing_before", reads_ahead),
        ("test_another_future_changes_nothing_before", scaled_by_all_it_is_given),
    ],
)
def test_what_a_window_must_not_see_is_caught(own_plugins, check, predict):
    contract = contract_for(own_plugins, broken_copy(WindowAdapter, predict=predict))

    with pytest.raises(AssertionError):
        getattr(contract, check)()


def broken_copy(adapter_class, **methods):
    """Return a subclass with some methods replaced by dishonest ones."""
    return type("Broken", (adapter_class,), methods)


def contract_for(own_plugins, adapter_class):
    own_plugins.register_adapter("broken", adapter_class)
    contract = AdapterContract()
    contract.framework = "broken"
    return contract


def scaled_by_the_call(self, model, features):
    return self.honest(model, (features - features.mean(axis=0)) / features.std(axis=0).clip(1e-9))


def spoiled_in_place(self, model, features, target, **options):
    features *= 1.0
    return type(self).__bases__[0].train_model(self, model, features, target, **options)


def unseeded(self, model, features, target, **options):
    native = type(self).__bases__[0].train_model(self, model, features, target, **options)
    return {**native, "solution": native["solution"] + np.random.default_rng().normal(0, 1e-3)}


def memorised(self, model, features, target, **options):
    native = type(self).__bases__[0].train_model(self, model, features, target, **options)
    self.seen = getattr(self, "seen", 0) + 1
    return {**native, "solution": native["solution"] * self.seen}


def deaf_to_weights(self, model, features, target, *, weight=None, **options):
    return type(self).__bases__[0].train_model(self, model, features, target, **options)


def shuffled(self, model, features, target, **options):
    turned = np.random.default_rng(0).permutation(target)
    return type(self).__bases__[0].train_model(self, model, features, turned, **options)


def odd_probabilities(self, model, features):
    return type(self).__bases__[0].predict(self, model, features) * 1.5


def stepped_without_the_intercept(self, model):
    return lambda row: np.array(row) @ model["solution"][1:]


@pytest.mark.parametrize(
    ("check", "methods"),
    [
        ("test_compiled_step_answers_as_predict_does", {"compile_step": stepped_without_the_intercept}),
        ("test_batch_equals_row_by_row", {"predict": scaled_by_the_call}),
        ("test_outlier_in_served_rows_changes_no_other", {"predict": scaled_by_the_call}),
        ("test_incomplete_rows_are_nan_and_change_no_other", {"predict": scaled_by_the_call}),
        ("test_truncated_bars_change_nothing_before", {"predict": scaled_by_the_call}),
        ("test_another_future_changes_nothing_before", {"predict": scaled_by_the_call}),
        ("test_read_only_arrays_are_enough", {"train_model": spoiled_in_place}),
        ("test_same_seed_gives_the_same_model", {"train_model": unseeded}),
        ("test_training_twice_equals_training_once", {"train_model": memorised}),
        ("test_sample_weights_are_honoured_or_declared", {"train_model": deaf_to_weights}),
        ("test_what_can_be_learned_is_learned", {"train_model": shuffled}),
        ("test_probabilities_are_probabilities", {"predict": odd_probabilities}),
    ],
)
def test_dishonest_adapter_is_caught(own_plugins, check, methods):
    honest = type(own_plugins.adapter("least_squares"))
    broken = broken_copy(honest, honest=honest.predict, **methods)
    contract = contract_for(own_plugins, broken)

    with pytest.raises((AssertionError, ValueError)):
        getattr(contract, check)()


def test_framework_nobody_registered_is_caught():
    contract = AdapterContract()
    contract.framework = "nobody"

    with pytest.raises(AssertionError):
        contract.test_framework_is_listed()


def test_adapter_of_another_interface_level_is_caught(own_plugins):
    contract = contract_for(own_plugins, broken_copy(EchoAdapter))
    type(contract.adapter).api = 2

    with pytest.raises(AssertionError):
        contract.test_adapter_speaks_this_interface()


def test_contract_checks_what_an_adapter_base_class_asks_for():
    assert issubclass(EchoAdapter, ModelFrameworkAdapter)
    assert sum(name.startswith("test_") for name in dir(AdapterContract)) >= 24
