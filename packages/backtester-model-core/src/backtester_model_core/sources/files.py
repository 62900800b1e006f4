"""Read bars from CSV and Parquet files, and from folders that hold one such file for each symbol.

Only local files are read, whatever a configuration says, and nothing in them is run. What is read is raw:
``check_bars`` says whether it is fit to be used.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import pandas as pd

from backtester_model_core.bars.names import SYMBOL_NAMES, TIME_NAMES, is_unnamed, plain_name
from backtester_model_core.config import DataConfig
from backtester_model_core.exceptions import DataSourceError, MissingExtraError, nearest

Reader: TypeAlias = Callable[[str | Path], pd.DataFrame]

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|:)")

CORNERS = {"", "price", "ticker", "attributes", "symbols"}
"""What stands before the first field and the first ticker, by the program and release that wrote them."""

EXACT_DEFAULT_SINCE = (3, 1)
"""The pandas whose ``read_csv`` reads every float exactly without being asked to."""


def read_csv_bars(path: str | Path) -> pd.DataFrame:
    """Read one CSV file: a header row, or the three of yfinance; commas between the cells; ISO dates.

    Numbers are read exactly, and a number with thousands separators stays text. So do timestamps and symbols.

    Raises:
        DataSourceError: When there is no such file, it is empty, or it is not a table.
    """
    file = _existing_file(path, ".csv")
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            head = list(islice(csv.reader(text), 2))
            text.seek(0)
            if _has_two_headers(head):
                return _read_two_headers(text)
            return _read_table(text, head[0] if head else [], file)
    except UnicodeDecodeError as error:
        raise DataSourceError(f"{file}: not UTF-8 text. Save it as UTF-8.") from error
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataSourceError(f"{file}: not a table of comma-separated cells: {error}") from error
    except PermissionError as error:
        raise DataSourceError(f"{file}: may not be read. Check its permissions.") from error


def read_parquet_bars(path: str | Path) -> pd.DataFrame:
    """Read one Parquet file.

    Raises:
        DataSourceError: When there is no such file, it is empty, or it is not a Parquet file.
        MissingExtraError: Without the ``parquet`` extra.
    """
    file = _existing_file(path, ".parquet")
    if find_spec("pyarrow") is None:
        raise MissingExtraError.needs("Reading bars from Parquet", "parquet")
    try:
        with file.open("rb") as content:
            return pd.read_parquet(content)
    except (OSError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        raise DataSourceError(f"{file}: not a Parquet file that can be read: {error}") from error


@dataclass(frozen=True)
class FileSource:
    """A data source that reads ``data_config.path``: a file, or a folder with a file for each symbol.

    Attributes:
        readers: What reads a file, by its ending.
    """

    readers: Mapping[str, Reader]

    def __call__(self, config: DataConfig) -> pd.DataFrame | Mapping[str, pd.DataFrame]:
        """Read the file, or the folder's files of the symbols asked for.

        Raises:
            DataSourceError: When there is nothing that can be read.
        """
        if config.path is None:
            raise DataSourceError(
                f"The data source {config.source!r} reads a file, and none is named. Set data_config.path."
            )
        path = _local_path(config.path)
        if path.is_dir():
            return self._read_folder(path, config.symbols)
        return self._reader(path)(path)

    def _reader(self, path: Path) -> Reader:
        ending = path.suffix.lower()
        if ending not in self.readers:
            known = " or ".join(sorted(self.readers))
            raise DataSourceError(
                f"{path}: ends in {ending or 'nothing'!r}; bars are read from {known} files."
            )
        return self.readers[ending]

    def _read_folder(self, folder: Path, symbols: Iterable[str] | None) -> dict[str, pd.DataFrame]:
        """Read one file for each symbol; its name without the ending is the symbol's."""
        files: dict[str, Path] = {}
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() not in self.readers or file.name.startswith("."):
                continue
            if file.stem in files:
                raise DataSourceError(f"{folder}: both {files[file.stem].name} and {file.name}. Remove one.")
            files[file.stem] = file
        if not files:
            raise DataSourceError(f"{folder}: no {' or '.join(sorted(self.readers))} file in this folder.")
        wanted = files if symbols is None else symbols
        missing = [symbol for symbol in wanted if symbol not in files]
        if missing:
            raise DataSourceError(f"{folder}: no file for {', '.join(missing)}. {nearest(missing[0], files)}")
        return {symbol: self._reader(files[symbol])(files[symbol]) for symbol in wanted}


CSV_FILES = FileSource({".csv": read_csv_bars})
PARQUET_FILES = FileSource({".parquet": read_parquet_bars})
ANY_FILES = FileSource({**CSV_FILES.readers, **PARQUET_FILES.readers})


def _local_path(path: str | Path) -> Path:
    """Return a path, but not an address: nothing is fetched from a network."""
    if isinstance(path, str) and ADDRESS.match(path):
        raise DataSourceError(f"{path}: an address, and only local files are read. Download it first.")
    return Path(path)


def _existing_file(path: str | Path, ending: str) -> Path:
    file = _local_path(path)
    if not file.exists():
        raise DataSourceError(f"{file}: no such file in {file.absolute().parent}. Check the path.")
    if not file.is_file():
        raise DataSourceError(f"{file}: not a file. Name a file, or set data_config.path to the folder.")
    if file.suffix.lower() != ending:
        raise DataSourceError(f"{file}: ends in {file.suffix or 'nothing'!r}, not in {ending!r}.")
    if file.stat().st_size == 0:
        raise DataSourceError(f"{file}: an empty file.")
    return file


def _csv_options() -> dict[str, Any]:
    """Read floats exactly, and take nothing but an empty cell for a missing value."""
    release = tuple(int(part) for part in pd.__version__.split(".")[:2])
    precision = {} if release >= EXACT_DEFAULT_SINCE else {"float_precision": "round_trip"}
    return {"keep_default_na": False, "na_values": [""], "low_memory": False, **precision}


def _has_two_headers(head: list[list[str]]) -> bool:
    """Whether the first two rows are the levels of a frame with fields and tickers, as yfinance has them."""
    return len(head) == 2 and all(plain_name("".join(row[:1])) in CORNERS for row in head)


def _read_two_headers(text: TextIO) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(text, header=[0, 1], index_col=0, **_csv_options())
    return frame


def _read_table(text: TextIO, header: list[str], file: Path) -> pd.DataFrame:
    """Read a table under one header row, whose names stay as they are, twins included."""
    if len(header) < 2:
        raise DataSourceError(
            f"{file}: one column only. Cells are separated by commas; for another separator read the file "
            "yourself, pd.read_csv(path, sep=';'), and pass the frame on."
        )
    as_text = {
        k: str
        for k, name in enumerate(map(plain_name, header))
        if name in TIME_NAMES or name in SYMBOL_NAMES or is_unnamed(name)
    }
    frame: pd.DataFrame = pd.read_csv(
        text, header=0, names=list(range(len(header))), dtype=as_text, **_csv_options()
    )
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataSourceError(f"{file}: rows have more cells than the header has names.")
    return frame.set_axis(pd.Index(header), axis=1)
