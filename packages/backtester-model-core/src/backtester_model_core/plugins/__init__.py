"""Which adapters and extensions are here, and how a hook call reaches the right ones.

Adapters are listed from package metadata alone and imported one at a time, when a configuration names them.
Extensions are light and are loaded together, each in its own try: one that is broken is named and left out.
"""

from backtester_model_core.plugins.installed import ADAPTERS_GROUP, EXTENSIONS_GROUP, FIRST_PARTY, PluginInfo
from backtester_model_core.plugins.manager import Plugins, plugins, use_plugins
from backtester_model_core.plugins.names import config_class, registered_model, versions_of
from backtester_model_core.plugins.registry import MODELS, Registry

__all__ = [
    "ADAPTERS_GROUP",
    "EXTENSIONS_GROUP",
    "FIRST_PARTY",
    "MODELS",
    "PluginInfo",
    "Plugins",
    "Registry",
    "config_class",
    "plugins",
    "registered_model",
    "use_plugins",
    "versions_of",
]
