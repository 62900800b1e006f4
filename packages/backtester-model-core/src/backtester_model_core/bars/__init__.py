"""The OHLCV contract: what bars are, and how what people have becomes that."""

from backtester_model_core.bars.check import BarsReport, check_bars, examine_bars
from backtester_model_core.bars.findings import BarsNote
from backtester_model_core.bars.notes import bars_notes
from backtester_model_core.bars.panel import Panel

__all__ = ["BarsNote", "BarsReport", "Panel", "bars_notes", "check_bars", "examine_bars"]
