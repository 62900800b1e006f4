"""Where bars come from: files, folders of files, and what extensions add."""

from backtester_model_core.sources.files import FileSource, read_csv_bars, read_parquet_bars
from backtester_model_core.sources.retrieval import DATA_SOURCES, DataRetrieval, DataSource

__all__ = [
    "DATA_SOURCES",
    "DataRetrieval",
    "DataSource",
    "FileSource",
    "read_csv_bars",
    "read_parquet_bars",
]
