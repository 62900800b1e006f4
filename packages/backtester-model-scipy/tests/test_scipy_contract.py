"""Every kind of model keeps the contract of adapters."""

from __future__ import annotations

from typing import ClassVar

from backtester_model_core.testing import AdapterContract, ModelContract


class TestDefaults(AdapterContract):
    framework = "scipy"


class TestElasticNetAndOrdinal(ModelContract):
    framework = "scipy"
    classification: ClassVar = {"model": "ordinal_logistic"}
    regression: ClassVar = {"model": "elastic_net"}


class TestDensityAndTheilSen(ModelContract):
    framework = "scipy"
    classification: ClassVar = {"model": "kernel_density"}
    regression: ClassVar = {"model": "theil_sen"}
    expected_failures: ClassVar = {
        "test_importance_finds_what_matters": "Theil and Sen fit a line to one feature; the other weighs nothing"
    }


class TestRanksAndQuantile(ModelContract):
    framework = "scipy"
    classification: ClassVar = {"model": "rank_correlation"}
    regression: ClassVar = {"model": "quantile"}


class TestCopulaAndHuber(ModelContract):
    framework = "scipy"
    classification: ClassVar = {"model": "gaussian_copula"}
    regression: ClassVar = {"model": "huber"}


class TestObjectives(ModelContract):
    framework = "scipy"
    classification: ClassVar = {"model": "objective", "parameters": {"objective": "brier", "alpha": 0.1}}
    regression: ClassVar = {"model": "objective"}
    expected_failures: ClassVar = {
        "test_three_classes_have_their_columns_in_order": "an objective tells two classes apart, and says so of a label"
        " with three before anything is trained"
    }


class TestGarch(ModelContract):
    framework = "scipy"
    learns = False  # a volatility does not say what two features decide
    classification: ClassVar = {"model": "garch", "parameters": {"memory": 15}}
    regression: ClassVar = {"model": "gjr_garch", "parameters": {"memory": 15}}


class TestAutoregressionAndTrend(ModelContract):
    framework = "scipy"
    learns = False
    classification: ClassVar = {"model": "ar", "parameters": {"order": 2}}
    regression: ClassVar = {"model": "local_trend", "parameters": {"memory": 15, "foresees": "value"}}


class TestRegimeAndLevel(ModelContract):
    framework = "scipy"
    learns = False
    classification: ClassVar = {"model": "regime", "parameters": {"memory": 12}}
    regression: ClassVar = {"model": "local_level", "parameters": {"memory": 12}}


class TestDistributionAndArma(ModelContract):
    framework = "scipy"
    learns = False
    classification: ClassVar = {"model": "distribution", "parameters": {"link": "fitted"}}
    regression: ClassVar = {"model": "arma", "parameters": {"memory": 12}}
