"""Configurations and expressions that try to run code, open files or take for ever, and a process that watches them."""

from hostile_configurations.strings import STRINGS
from hostile_configurations.watching import Report, run_watched

__all__ = ["STRINGS", "Report", "run_watched"]
