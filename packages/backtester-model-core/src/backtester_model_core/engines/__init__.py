"""What a bridge hands to a backtesting engine: orders at opens, made of whatever says what to hold."""

from backtester_model_core.engines.decided import SignalSource
from backtester_model_core.engines.orders import Mark, Orders, orders_of

__all__ = ["Mark", "Orders", "SignalSource", "orders_of"]
