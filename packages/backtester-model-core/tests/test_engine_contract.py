"""The contract of bridges, kept by a plain book of shares and broken by books with one fault each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.engines import Orders, orders_of
from backtester_model_core.testing.engines import PanelEngineContract

pytestmark = pytest.mark.usefixtures("own_plugins")


def book(orders: Orders, *, cash: float, fault: str = "") -> pd.Series:
    """Follow orders in shares and cash, session by session, and return the money at each close."""
    price = (orders.close if fault == "filled at the close" else orders.price).fillna(1.0).to_numpy()
    close, weight = orders.close.fillna(1.0).to_numpy(), orders.weight.to_numpy()
    if fault == "lag forgotten":
        weight = np.roll(weight, -1, axis=0)
    one_way = 0.0 if fault == "costs forgotten" else orders.costs.one_way
    shares, money = np.zeros(weight.shape[1]), []
    for s in range(len(weight)):
        aim = weight[s] * (cash + shares @ price[s]) / price[s]
        if fault == "whole shares":
            aim = np.round(aim)
        bought = np.where(np.isnan(aim), 0.0, aim - shares)
        cash -= bought @ price[s] + one_way * np.abs(bought) @ price[s]
        shares = shares + bought
        money.append(cash + shares @ close[s])
    return pd.Series(money, index=orders.weight.index)


class TestBook(PanelEngineContract):
    framework = "least_squares"
    fault = ""

    def run(self, source, bars, *, costs=None, initial_cash=1e6) -> pd.Series:
        orders = orders_of(source, bars, costs=costs)
        if self.fault != "rates forgotten":
            orders.refuse_rates("a book")
        return book(orders, cash=initial_cash, fault=self.fault)

    def money_of(self, result: pd.Series) -> pd.Series:
        return result


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("lag forgotten", "test_free_trades_earn_what_the_core_says"),
        ("lag forgotten", "test_a_side_does_not_earn_the_bar_that_showed_it"),
        ("filled at the close", "test_free_trades_earn_what_the_core_says"),
        ("whole shares", "test_free_trades_of_a_panel_earn_what_the_core_says"),
        ("whole shares", "test_the_money_at_the_start_is_what_was_given"),
        ("costs forgotten", "test_costs_are_charged_as_the_core_charges_them"),
        ("rates forgotten", "test_a_yearly_rate_is_refused"),
    ],
)
def test_a_book_with_a_fault_is_found_out(fault: str, check: str) -> None:
    contract = TestBook()
    contract.fault = fault

    with pytest.raises(AssertionError):
        getattr(contract, check)()
