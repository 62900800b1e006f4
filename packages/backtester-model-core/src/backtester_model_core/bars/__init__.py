"""The OHLCV contract: what bars are, and how what people have becomes that."""

from backtester_model_core.bars.panel import Panel

__all__ = ["Panel"]
