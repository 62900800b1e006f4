"""The contract of data sources: bars that may be used, the same twice, and an error where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from backtester_model_core.bars import check_bars
from backtester_model_core.config import DataConfig
from backtester_model_core.exceptions import BacktesterModelError, BarsError, DataSourceError
from backtester_model_core.sources import DATA_SOURCES, DataRetrieval
from backtester_model_core.testing.contract.case import error_of
from backtester_model_core.testing.contract.contract import (
    Contract,
    check,
    check_contract,
    declared,
    not_applicable,
)
from backtester_model_core.testing.contract.outcomes import ContractReport
from backtester_model_core.testing.contract.side_effects import Changes, noting_changes
from backtester_model_core.testing.leak import sessions_of, utc

PRICES = ["open", "high", "low", "close", "volume"]


class DataSourceContract(Contract):
    """Checks that a place where bars come from may be used; each docstring says what to look at when it fails.

    Attributes:
        source: The source's name in ``DATA_SOURCES``.
        config: Fields of ``data_config`` for which it has bars, beside ``source``.
        missing: Fields for which it has none, such as a symbol that nobody knows or a file that is not there.
    """

    source: ClassVar[str]
    config: ClassVar[Mapping[str, Any]] = {}
    missing: ClassVar[Mapping[str, Any] | None] = None
    n_checks: ClassVar[int] = 14

    @classmethod
    def subject(cls) -> str:
        """Name the source."""
        return cls.source

    @check
    def test_source_is_registered(self) -> None:
        """Look at ``registry.add_data_source`` in ``backtester_register``, and at the entry point of the extension."""
        assert self.source in DATA_SOURCES
        assert callable(DATA_SOURCES[self.source])

    @check
    def test_bars_are_accepted(self) -> None:
        """Look at the faults that ``check_bars`` lists: the source hands over what it must not."""
        assert error_of(lambda: check_bars(self.raw(), symbol=self._symbol)) is None

    @check
    def test_there_are_bars(self) -> None:
        """Look at ``config`` of the class: it must name something that the source has bars of."""
        assert len(self.bars()) > 1

    @check
    def test_bars_are_a_frame_or_frames(self) -> None:
        """Look at what the source returns: a frame, or a mapping from symbols to frames."""
        raw = self.raw()
        frames = list(raw.values()) if isinstance(raw, Mapping) else [raw]

        assert [type(each).__name__ for each in frames if not isinstance(each, pd.DataFrame)] == []

    @check
    def test_bars_are_in_order_of_time(self) -> None:
        """Look at bars that the source returns unsorted, or twice: the latest must be the last."""
        raw = self.raw()
        for frame in raw.values() if isinstance(raw, Mapping) else [raw]:
            stamps = frame.index if isinstance(frame.index, pd.DatetimeIndex) else None

            assert stamps is None or stamps.is_monotonic_increasing

    @check
    def test_same_question_gives_the_same_bars(self) -> None:
        """Look at a source that revises, samples or rounds: a backtest must be the same tomorrow."""
        pd.testing.assert_frame_equal(self.bars(), self.bars(), check_exact=True)

    @check
    def test_bars_are_the_askers_own(self) -> None:
        """Look at a cache whose frame is handed out: what one caller changes, the next must not see."""
        before = self.bars()
        raw = self.raw()
        for frame in raw.values() if isinstance(raw, Mapping) else [raw]:
            frame.iloc[:] = np.nan

        pd.testing.assert_frame_equal(self.bars(), before, check_exact=True)

    @check
    def test_no_bar_is_from_the_future(self) -> None:
        """Look at time zones and at bars that are not finished: nothing may be stamped later than now."""
        latest = utc(sessions_of(self.bars())).max()

        assert latest <= np.datetime64(pd.Timestamp.now("UTC").tz_localize(None), "ns")

    @check
    def test_start_and_end_are_kept(self) -> None:
        """Look at a source that answers another span than it was asked: more is cut off, less is a gap."""
        sessions = sessions_of(self.bars())
        first, last = (sessions[len(sessions) * quarter // 4] for quarter in (1, 3))
        part = self.bars(start=first.isoformat(), end=last.isoformat())
        kept = sessions_of(part)

        assert (kept[0], kept[-1]) == (first, last)
        pd.testing.assert_frame_equal(part, self.bars().loc[part.index], check_exact=True)

    @check
    def test_symbols_asked_for_are_there(self) -> None:
        """Look at how the source reads ``data_config.symbols``: each of them has bars, and no other."""
        symbols = self.config.get("symbols")
        if not symbols or len(symbols) < 2:
            not_applicable("config asks for no several symbols")

        assert set(self.bars().index.unique("symbol")) == set(symbols)

    @check
    def test_what_is_missing_is_an_error_of_ours(self) -> None:
        """Look at what the source raises for what it does not have: a DataSourceError that says so, or a BarsError."""
        if self.missing is None:
            not_applicable("missing = None: nothing is named that the source does not have")
        fields = {**self.config, **self.missing}
        error = error_of(lambda: self.retrieved(fields))

        assert isinstance(error, (DataSourceError, BarsError))

    @check
    def test_errors_are_told_in_a_sentence(self) -> None:
        """Look at the message of the error: it names what was asked for, so that a user can mend it."""
        if self.missing is None:
            not_applicable("missing = None: nothing is named that the source does not have")
        error = error_of(lambda: self.retrieved({**self.config, **(self.missing or {})}))
        named = [str(value) for value in _values_of(self.missing or {})]

        assert isinstance(error, BacktesterModelError)
        assert any(value in str(error) for value in named), f"{error} names none of {named}"

    @check
    def test_asking_leaves_the_process_alone(self) -> None:
        """Look at code that seeds global generators, changes warnings, logging or the directory, or prints."""
        changes = Changes()
        with noting_changes(changes):
            self.raw()
        changes.pop("threads", None)  # a client may keep its own

        assert not changes, str(changes)

    # -- what the checks share --------------------------------------------------------------------------------------

    @property
    def _symbol(self) -> str | None:
        symbols = list(self.config.get("symbols") or [])
        return symbols[0] if len(symbols) == 1 else None

    def raw(self) -> Any:
        """Ask the source itself."""
        return DATA_SOURCES[self.source](DataConfig.model_validate({"source": self.source, **self.config}))

    def retrieved(self, fields: Mapping[str, Any]) -> pd.DataFrame:
        """Ask through the core, which checks and cuts."""
        return DataRetrieval(DataConfig.model_validate({"source": self.source, **fields})).get_data()

    def bars(self, **further: Any) -> pd.DataFrame:
        """Return the checked bars."""
        return self.retrieved({**self.config, **further})


def check_data_source(source: str, **attributes: Any) -> ContractReport:
    """Run the data source contract without pytest.

    Args:
        source: The source's name.
        attributes: Of :class:`DataSourceContract`, such as ``config`` or ``expected_failures``.

    Raises:
        ConfigError: When the contract has no attribute of a name, or no check that is expected to fail.
    """
    return check_contract(declared(DataSourceContract, {"source": source, **attributes}))


def _values_of(fields: Mapping[str, Any]) -> list[Any]:
    """Return what the fields name, symbols one by one."""
    values = [value if isinstance(value, (list, tuple)) else [value] for value in fields.values()]
    return [each for value in values for each in value]
