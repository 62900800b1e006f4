"""Plugins that do what they must not, as wheels that are really installed, and what is left of a process after them.

The tests and the table of ``nox -s ecosystem`` share them.
"""

from hostile_plugins.cases import ADAPTERS, EXTENSIONS, Hostile
from hostile_plugins.environment import Environment, flock, make_environment
from hostile_plugins.trial import Outcome, faults_of, try_adapters, try_extensions

__all__ = [
    "ADAPTERS",
    "EXTENSIONS",
    "Environment",
    "Hostile",
    "Outcome",
    "faults_of",
    "flock",
    "make_environment",
    "try_adapters",
    "try_extensions",
]
