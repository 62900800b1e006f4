"""For authors: an adapter that shows how, bars that repeat, proofs against look-ahead, and the adapter contract."""

from backtester_model_core.testing.contract import AdapterContract
from backtester_model_core.testing.echo import EchoAdapter, EchoModelConfig
from backtester_model_core.testing.lookahead import (
    Leak,
    find_future_leaks,
    find_truncation_leaks,
    find_walk_forward_leaks,
)
from backtester_model_core.testing.samples import random_bars, random_panel, synthetic_rows

__all__ = [
    "AdapterContract",
    "EchoAdapter",
    "EchoModelConfig",
    "Leak",
    "find_future_leaks",
    "find_truncation_leaks",
    "find_walk_forward_leaks",
    "random_bars",
    "random_panel",
    "synthetic_rows",
]
