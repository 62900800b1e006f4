"""Numbers and instants as a table shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "-"


def format_number(value: Any, *, digits: int = 4) -> str:
    """Show a count with thousands separated, another number with a few digits, and nothing as a dash."""
    if value is None or value != value:  # noqa: PLR0124 - NaN is the one number that is not itself
        return NOTHING
    if isinstance(value, Integral):
        return f"{value:,}"
    return f"{value:.{digits}f}" if abs(value) >= 10**-digits or value == 0 else f"{value:.{digits}g}"


def format_share(value: Any, *, digits: int = 2) -> str:
    """Show a share in per cent."""
    return NOTHING if value is None or value != value else f"{value:.{digits}%}"  # noqa: PLR0124


def format_stamps(stamps: Iterable[pd.Timestamp]) -> Sequence[str]:
    """Show instants as dates, or to the minute where one of them is not at midnight."""
    known = list(stamps)
    daily = all(stamp == stamp.normalize() for stamp in known)
    return [f"{stamp:%Y-%m-%d}" if daily else f"{stamp:%Y-%m-%d %H:%M}" for stamp in known]
