"""For authors: an adapter that shows how, bars that repeat, checks against look-ahead, and contracts to keep."""

from backtester_model_core.testing.checks import CHECKS
from backtester_model_core.testing.checks.features import (
    feature_values,
    find_order_leaks,
    find_stream_leaks,
    find_symbol_leaks,
    find_warm_up_leaks,
    memory_of,
)
from backtester_model_core.testing.checks.fitting import (
    find_fit_leaks,
    find_fit_time_leaks,
    fit_model,
    recording_fits,
)
from backtester_model_core.testing.checks.labels import find_label_leaks, label_values
from backtester_model_core.testing.checks.retraining import find_retraining_leaks
from backtester_model_core.testing.checks.splits import find_fold_leaks, find_window_leaks
from backtester_model_core.testing.checks.statistics import (
    coin_toss_score,
    find_blind_checks,
    find_missed_edge,
    find_skill_on_noise,
    random_walk_score,
)
from backtester_model_core.testing.checks.target import find_target_leaks
from backtester_model_core.testing.checks.trading import (
    find_early_fills,
    find_monitoring_leaks,
    follow_weights,
)
from backtester_model_core.testing.checks.universe import find_survivorship
from backtester_model_core.testing.contract.adapters import AdapterContract, ModelContract, check_adapter
from backtester_model_core.testing.contract.contract import Contract, check_contract
from backtester_model_core.testing.contract.extensions import ExtensionContract, check_extension_contract
from backtester_model_core.testing.contract.features import FeatureContract, check_features
from backtester_model_core.testing.contract.labels import LabelContract, check_labels
from backtester_model_core.testing.contract.outcomes import CheckResult, ContractReport
from backtester_model_core.testing.contract.sources import DataSourceContract, check_data_source
from backtester_model_core.testing.echo import EchoAdapter, EchoModelConfig
from backtester_model_core.testing.leak import Leak
from backtester_model_core.testing.lookahead import (
    find_future_leaks,
    find_truncation_leaks,
    find_walk_forward_leaks,
)
from backtester_model_core.testing.samples import random_bars, random_panel, random_signals, synthetic_rows
from backtester_model_core.testing.verdict import (
    LookAheadVerdict,
    Outcome,
    check_config,
    check_expressions,
    check_extension,
    check_framework,
    check_function,
    forgetting,
)

__all__ = [
    "CHECKS",
    "AdapterContract",
    "CheckResult",
    "Contract",
    "ContractReport",
    "DataSourceContract",
    "EchoAdapter",
    "EchoModelConfig",
    "ExtensionContract",
    "FeatureContract",
    "LabelContract",
    "Leak",
    "LookAheadVerdict",
    "ModelContract",
    "Outcome",
    "check_adapter",
    "check_config",
    "check_contract",
    "check_data_source",
    "check_expressions",
    "check_extension",
    "check_extension_contract",
    "check_features",
    "check_framework",
    "check_function",
    "check_labels",
    "coin_toss_score",
    "feature_values",
    "find_blind_checks",
    "find_early_fills",
    "find_fit_leaks",
    "find_fit_time_leaks",
    "find_fold_leaks",
    "find_future_leaks",
    "find_label_leaks",
    "find_missed_edge",
    "find_monitoring_leaks",
    "find_order_leaks",
    "find_retraining_leaks",
    "find_skill_on_noise",
    "find_stream_leaks",
    "find_survivorship",
    "find_symbol_leaks",
    "find_target_leaks",
    "find_truncation_leaks",
    "find_walk_forward_leaks",
    "find_warm_up_leaks",
    "find_window_leaks",
    "fit_model",
    "follow_weights",
    "forgetting",
    "label_values",
    "memory_of",
    "random_bars",
    "random_panel",
    "random_signals",
    "random_walk_score",
    "recording_fits",
    "synthetic_rows",
]
