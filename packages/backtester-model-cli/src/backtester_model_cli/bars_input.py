"""From a command's options to the bars it works on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from backtester_model_core.bars import BarsReport
    from backtester_model_core.config import ModelConfig


def load_with_bars(
    config: Path, *, bars: Path | None, symbol: str | None, sample: bool = False
) -> ModelConfig:
    """Read a configuration's file, and put the bars in force that the options name.

    Where the file's own bars are does not matter when an option names others.
    """
    from backtester_model_core.config import read_config_file
    from backtester_model_core.factory import load_config

    settings = load_config(config if bars is None and not sample else read_config_file(config))
    return with_bars(settings, bars=bars, symbol=symbol, sample=sample)


def with_bars(
    settings: ModelConfig, *, bars: Path | None, symbol: str | None, sample: bool = False
) -> ModelConfig:
    """Return the configuration with the bars that the options name, so that what is recorded repeats the run.

    Args:
        settings: A configuration; its ``data_config`` says where bars are when ``bars`` does not.
        bars: A file, or a folder of files.
        symbol: The one symbol to use.
        sample: Whether to use the shipped bars.

    Raises:
        typer.BadParameter: When neither an option nor the configuration names bars, or both options do.
    """
    data = settings.data_config
    if bars is not None and sample:
        raise typer.BadParameter("Bars twice: give --bars or --sample.")
    if bars is None and not sample and data.path is None and data.source == "auto":
        raise typer.BadParameter(
            "No bars: give --bars or --sample, or set data_config.path in the configuration."
        )
    changes: dict[str, Any] = {}
    if sample:
        from backtester_model_cli.sample_source import SAMPLE

        changes |= {"source": SAMPLE, "path": None}
    if bars is not None:
        changes |= {"source": "auto", "path": str(bars)}
    if symbol is not None:
        changes["symbols"] = (symbol,)
    return settings.model_copy(update={"data_config": data.model_copy(update=changes)})


def examine_file(file: Path, *, symbol: str | None) -> BarsReport:
    """Check the bars of a file or folder, and report their faults instead of raising them.

    Raises:
        DataSourceError: When nothing can be read.
    """
    from backtester_model_core.bars import examine_bars
    from backtester_model_core.config import DataConfig
    from backtester_model_core.sources import DATA_SOURCES

    data = DataConfig(path=str(file), symbols=None if symbol is None else (symbol,))
    return examine_bars(DATA_SOURCES[data.source](data), symbol=symbol)
