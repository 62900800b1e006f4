"""Whether what was backtested is what would run live: a finished run, replayed bar by bar and compared."""

from backtester_model_core.replay.diff import replay_diff
from backtester_model_core.replay.report import Difference, ReplayReport

__all__ = ["Difference", "ReplayReport", "replay_diff"]
