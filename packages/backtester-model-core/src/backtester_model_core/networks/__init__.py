"""Trained networks of the shared layers as fast answers to one row, whatever framework trained them."""

from backtester_model_core.networks.layers import LayerArrays
from backtester_model_core.networks.network_step import NetworkWeights, network_step

__all__ = ["LayerArrays", "NetworkWeights", "network_step"]
