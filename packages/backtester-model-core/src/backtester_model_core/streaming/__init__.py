"""One live bar at a time: the same features, forecasts and signals as in a backtest, in time that does not grow."""

from backtester_model_core.streaming.stream import SignalStream

__all__ = ["SignalStream"]
