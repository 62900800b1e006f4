"""The shipped bars as a data source: ``data_config.source = "sample"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtester_model_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import pandas as pd

    from backtester_model_core.config import DataConfig
    from backtester_model_core.plugins import Registry

SAMPLE = "sample"


@hookimpl
def backtester_register(registry: Registry) -> None:
    """Offer the shipped bars by name."""
    registry.add_data_source(SAMPLE, read_sample)


def read_sample(config: DataConfig) -> pd.DataFrame:
    """Return the shipped bars of the symbols asked for, all of them by default."""
    from backtester_model_cli.sample_data import sample_bars

    return sample_bars(config.symbols)
