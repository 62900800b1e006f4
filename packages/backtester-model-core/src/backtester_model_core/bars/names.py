"""What columns are called: one spelling for each name, and which ticker a wide frame's column belongs to."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import NamedTuple

import pandas as pd

from backtester_model_core.bars.findings import Findings
from backtester_model_core.bars.values import BARS_COLUMNS, PRICE_COLUMNS

TIME_NAMES = ("timestamp", "datetime", "date", "time")
SYMBOL_NAMES = ("symbol", "ticker")
ADJUSTED_NAMES = frozenset({"adj_close", "adjclose", "adjusted_close"})

TARGET_LIKE = re.compile(
    r"y|y_true|outcome|(.*_)?(target|label)s?|(target|label|future|forward|fwd|next|lead)_.*|.*_(forward|fwd|ahead|future)"
)
MANGLED = re.compile(rf"({'|'.join(BARS_COLUMNS)})\.\d+")
"""What ``pd.read_csv`` makes of a second column of the same name."""


class Label(NamedTuple):
    """A column's name in the one spelling, and its ticker where the frame keeps tickers in its columns."""

    name: str
    ticker: str | None = None


def plain_name(label: Hashable) -> str:
    """Return a column's name in lower case, with underscores for blanks and hyphens."""
    return re.sub(r"[\s-]+", "_", str(label).strip().lower())


def is_target_like(name: str) -> bool:
    """Whether a column's name says that it holds what is to be foreseen."""
    return TARGET_LIKE.fullmatch(name) is not None


def is_unnamed(name: str) -> bool:
    """Whether a column is what a file or ``reset_index`` keeps of an index without a name."""
    return name in {"", "index", "level_0"} or name.startswith("unnamed:")


def read_labels(columns: pd.Index, findings: Findings) -> list[Label] | None:
    """Return each column's name and ticker, or add a fault and return ``None``."""
    if isinstance(columns, pd.MultiIndex):
        return _read_levels(columns, findings)
    names = [plain_name(label) for label in columns]
    if not set(names).intersection(PRICE_COLUMNS):
        dotted = [str(label).strip().rpartition(".") for label in columns]
        tickers = {ticker for ticker, _, field in dotted if ticker and plain_name(field) in BARS_COLUMNS}
        return [
            Label(plain_name(field), ticker) if ticker in tickers else Label(name)
            for name, (ticker, _, field) in zip(names, dotted, strict=True)
        ]
    return [Label(MANGLED.sub(r"\1", name)) for name in names]


def _read_levels(columns: pd.MultiIndex, findings: Findings) -> list[Label] | None:
    """Tell fields from tickers by which level holds more of the bars' column names."""
    known = [
        sum(plain_name(value) in BARS_COLUMNS for value in columns.unique(level))
        for level in range(columns.nlevels)
    ]
    if columns.nlevels != 2 or max(known) == 0:
        hint = (
            "Column levels are (field, ticker) or (ticker, field), with open high low close volume as fields."
        )
        findings.refuse("unreadable_columns", hint, count=len(columns), value=columns[0])
        return None
    field = 0 if known[0] >= known[1] else 1
    return [
        Label(plain_name(label[field]), str(label[1 - field]).strip() or None)
        if str(label[field]).strip()
        else Label(plain_name(label[1 - field]))
        for label in columns
    ]
