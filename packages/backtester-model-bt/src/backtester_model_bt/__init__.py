"""backtester-model signals in bt: a decision at one close is filled at the next open."""

from importlib.metadata import version

from backtester_model_bt.bridge import run_backtest

__version__ = version("backtester-model-bt")

__all__ = ["run_backtest"]
