"""The adapter contract passes for honest adapters, and each kind of dishonest one is caught by the right check."""

import numpy as np
import pytest

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.testing import AdapterContract, EchoAdapter


@pytest.fixture(autouse=True)
def _own_plugins(own_plugins):
    """Run every check with the adapters of these tests."""


class TestEchoAdapter(AdapterContract):
    framework = "echo"
    learns = False


class TestLeastSquaresAdapter(AdapterContract):
    framework = "least_squares"


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


@pytest.mark.parametrize(
    ("check", "methods"),
    [
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
