"""Every kind of model keeps the contract of adapters."""

from __future__ import annotations

from typing import ClassVar

from backtester_model_core.testing import AdapterContract


class TestDefaults(AdapterContract):
    framework = "scipy"


class TestElasticNetAndOrdinal(AdapterContract):
    framework = "scipy"
    classification: ClassVar = {"model": "ordinal_logistic"}
    regression: ClassVar = {"model": "elastic_net"}


class TestQuantile(AdapterContract):
    framework = "scipy"
    classification: ClassVar = None
    regression: ClassVar = {"model": "quantile"}


class TestHuber(AdapterContract):
    framework = "scipy"
    classification: ClassVar = None
    regression: ClassVar = {"model": "huber"}


class TestTheilSen(AdapterContract):
    framework = "scipy"
    classification: ClassVar = None
    regression: ClassVar = {"model": "theil_sen"}


class TestRanks(AdapterContract):
    framework = "scipy"
    classification: ClassVar = {"model": "rank_correlation"}
    regression: ClassVar = {"model": "gaussian_copula"}


class TestDensityAndObjective(AdapterContract):
    framework = "scipy"
    classification: ClassVar = {"model": "kernel_density"}
    regression: ClassVar = {"model": "objective"}
