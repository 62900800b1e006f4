"""Read one column's values as float64, without ever guessing what a text or a category stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionDtype
from pandas.api.types import infer_dtype, is_bool_dtype, is_float_dtype, is_integer_dtype, is_object_dtype

from backtester_model_core.bars.findings import BarsNote, Findings, Rows
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

BARS_COLUMNS = ("open", "high", "low", "close", "volume")
PRICE_COLUMNS = BARS_COLUMNS[:4]

EXACT_INTEGERS = 2**53
"""Up to here every integer has a float64 of its own."""

NUMBER_KINDS = {"floating", "integer", "mixed-integer-float", "decimal", "string", "empty"}


@dataclass(frozen=True)
class Column:
    """One column's values as float64, NaN where there is none.

    Attributes:
        values: (n,) the numbers.
        refused: (n,) the cells that a fault has been added for already; ``None`` when there is none.
    """

    values: FloatArray
    refused: BoolArray | None = None

    def take(self, order: IntArray | BoolArray) -> Column:
        """Return the rows at these positions, or of this mask."""
        return Column(self.values[order], None if self.refused is None else self.refused[order])

    @classmethod
    def join(cls, parts: Sequence[Column]) -> Column:
        """Put columns of several symbols one after the other."""
        values = np.concatenate([part.values for part in parts])
        if all(part.refused is None for part in parts):
            return cls(values)
        masks = [np.zeros(len(p.values), dtype=bool) if p.refused is None else p.refused for p in parts]
        return cls(values, np.concatenate(masks))


def read_column(series: pd.Series, name: str, rows: Rows, findings: Findings) -> Column | None:
    """Return the column as float64 with NaN for nulls, or say why not and return ``None``.

    A column that every bar needs is refused with a fault; an extra one is dropped with a note.
    """
    dtype = series.dtype
    required = name in BARS_COLUMNS
    if is_bool_dtype(dtype) and not required:
        findings.record(BarsNote("coerced", "true and false read as 1 and 0", name, count=rows.n))
        return Column(_to_float(series))
    if is_float_dtype(dtype):
        return Column(_to_float(series))
    if is_integer_dtype(dtype):
        _check_exact(series, name, rows, findings)
        return Column(_to_float(series))
    if _may_hold_numbers(dtype):
        return _read_objects(series, name, rows, findings)
    if required:
        hint = f"{name} holds {dtype}, not numbers. Convert it to floats."
        findings.refuse("not_numeric", hint, column=name, count=rows.n, value=dtype)
    else:
        findings.record(BarsNote("dropped", f"an extra column of {dtype} is not numeric", name))
    return None


def _to_float(series: pd.Series) -> FloatArray:
    if isinstance(series.dtype, (np.dtype, pd.SparseDtype)):
        return series.to_numpy(dtype=np.float64)
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _may_hold_numbers(dtype: np.dtype[Any] | ExtensionDtype) -> bool:
    """Whether a dtype is one of objects, text or Decimals, in which numbers are often kept."""
    if isinstance(dtype, pd.ArrowDtype):
        return dtype.type in {str, Decimal}
    return is_object_dtype(dtype) or isinstance(dtype, pd.StringDtype)


def _check_exact(series: pd.Series, name: str, rows: Rows, findings: Findings) -> None:
    """Refuse prices, and note volumes, that float64 cannot hold exactly."""
    large = (series > EXACT_INTEGERS) | (series < -EXACT_INTEGERS)
    mask: BoolArray = np.asarray(large.fillna(value=False), dtype=bool)
    if not mask.any():
        return
    if name == "volume":
        message = "integers beyond 2**53 rounded to the nearest float64"
        findings.record(BarsNote("rounded_volume", message, name, count=int(mask.sum())))
    else:
        hint = "float64 cannot hold integers beyond 2**53 exactly. Is this an identifier, or the wrong unit?"
        findings.refuse_rows("integer_too_large", hint, mask, rows, column=name, values=series.to_numpy())


def _read_objects(series: pd.Series, name: str, rows: Rows, findings: Findings) -> Column | None:
    """Coerce floats, integers, Decimals and plain number text that pandas keeps as objects."""
    values = series.to_numpy(dtype=object)
    present: BoolArray = ~np.asarray(pd.isna(values))
    kind = infer_dtype(values, skipna=True)
    good = present.copy()
    if kind not in NUMBER_KINDS:
        good[present] = [_is_number_or_text(value) for value in values[present]]
    numeric = pd.to_numeric(pd.Series(np.where(good, values, np.nan), dtype=object), errors="coerce")
    bad: BoolArray = present & np.isnan(numeric.to_numpy(dtype=np.float64))
    if name not in BARS_COLUMNS and bad.any():
        findings.record(BarsNote("dropped", "an extra column is not numeric", name))
        return None
    out = np.full(len(values), np.nan)
    out[good & ~bad] = values[good & ~bad].astype(np.float64)
    if bad.any():
        _refuse_text(bad, values, name, rows, findings)
        return Column(out, bad)
    what = "text" if kind == "string" else "objects"
    findings.record(BarsNote("coerced", f"numbers kept as {what} read as float64", name, count=rows.n))
    if kind in {"integer", "mixed-integer-float"}:
        _check_exact(pd.Series(out), name, rows, findings)
    return Column(out)


def _is_number_or_text(value: object) -> bool:
    return isinstance(value, (int, float, Decimal, str, np.number)) and not isinstance(
        value, (bool, np.complexfloating)
    )


def _refuse_text(bad: BoolArray, values: object, name: str, rows: Rows, findings: Findings) -> None:
    """Refuse what is not a number, with a word on commas when that is all that ails it."""
    comma = np.zeros(len(bad), dtype=bool)
    comma[bad] = [isinstance(value, str) and "," in value for value in np.asarray(values)[bad]]
    if comma.any():
        hint = (
            "1,234 may be a thousand or a decimal comma. Say which when reading the file: "
            "pd.read_csv(..., thousands=',') or decimal=','."
        )
        findings.refuse_rows("number_with_comma", hint, comma, rows, column=name, values=values)
    if (bad & ~comma).any():
        hint = "Not a number. Repair or drop these rows yourself, knowingly."
        findings.refuse_rows("not_a_number", hint, bad & ~comma, rows, column=name, values=values)
