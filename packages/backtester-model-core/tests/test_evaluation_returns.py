"""The after-cost return: against arithmetic written out, and against an account of cash and shares."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isnan, nan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backtester_model_core.config import CostsConfig
from backtester_model_core.evaluation import ReturnPath, after_cost_return, return_metrics
from backtester_model_core.exceptions import EvaluationError


def costs_of(**fields: Any) -> CostsConfig:
    """Return costs that are zero but for the given fields, with one bar a year so that rates are per bar."""
    free = {"commission_bps": 0, "half_spread_bps": 0, "slippage_bps": 0, "bars_per_year": 1}
    return CostsConfig.model_validate(free | fields)


def one_symbol(weights: list[float], opens: list[float], **options: Any) -> ReturnPath:
    """Follow one symbol's weights; closes equal opens unless given."""
    closes = options.pop("closes", opens)
    costs = options.pop("costs", costs_of())
    return after_cost_return(
        np.array([weights]).T,
        open_price=np.array([opens]).T,
        close_price=np.array([closes]).T,
        costs=costs,
        **options,
    )


def test_decision_fills_at_the_next_open_and_earns_until_the_one_after():
    path = one_symbol([1.0, 0.0, 0.0, 0.0], [100.0, 110.0, 121.0, 242.0])

    assert path.net == pytest.approx([121 / 110 - 1, 0.0])
    assert path.weight[:, 0].tolist() == [1.0, 0.0]


def test_four_bars_with_costs_and_interest_by_hand():
    costs = costs_of(commission_bps=100, risk_free_rate=0.01, rebalance="every_bar")

    path = one_symbol([0.5, 0.5, -0.5, 0.0, 0.0], [9.0, 10.0, 12.0, 9.0, 9.9], costs=costs)

    first = 0.5 * 0.2 + 0.5 * 0.01 - 0.01 * 0.5
    drifted = 0.5 * 1.2 / (1 + first)
    second = 0.5 * -0.25 + 0.5 * 0.01 - 0.01 * (drifted - 0.5)
    drifted_again = 0.5 * 0.75 / (1 + second)
    third = -0.5 * 0.1 + 1.5 * 0.01 - 0.01 * (drifted_again + 0.5)
    assert path.net == pytest.approx([first, second, third])
    assert path.turnover == pytest.approx([0.5, drifted - 0.5, drifted_again + 0.5])
    assert path.gross - path.cost == pytest.approx(path.net)
    assert path.equity == pytest.approx(np.cumprod([1 + first, 1 + second, 1 + third]))


def test_short_positions_pay_to_borrow():
    path = one_symbol([-0.5, -0.5, 0.0], [10.0, 10.0, 8.0], costs=costs_of(borrow_rate=0.02))

    assert path.net == pytest.approx([0.5 * 0.2 - 0.02 * 0.5])
    assert path.gross == pytest.approx([0.5 * 0.2])
    assert path.cost == pytest.approx([0.02 * 0.5])


def test_yearly_rates_are_divided_by_the_bars_of_a_year():
    costs = costs_of(risk_free_rate=0.0252, borrow_rate=0.0504, bars_per_year=252)

    assert one_symbol([0.0] * 3, [5.0] * 3, costs=costs).net == pytest.approx([0.0001])
    assert one_symbol([-1.0] * 3, [5.0] * 3, costs=costs).net == pytest.approx([2 * 0.0001 - 0.0002])


def test_unchanged_decision_lets_shares_drift_or_is_restored_as_chosen():
    opens = [10.0, 10.0, 20.0, 20.0, 20.0]

    carried = one_symbol([0.5] * 5, opens, costs=costs_of(rebalance="on_change"))
    restored = one_symbol([0.5] * 5, opens, costs=costs_of(rebalance="every_bar"))

    assert carried.weight[:, 0] == pytest.approx([0.5, 1.0 / 1.5, 1.0 / 1.5])
    assert carried.turnover == pytest.approx([0.5, 0.0, 0.0])
    assert restored.weight[:, 0] == pytest.approx([0.5, 0.5, 0.5])
    assert restored.turnover == pytest.approx([0.5, 1.0 / 1.5 - 0.5, 0.0])


def test_missing_open_carries_shares_at_the_last_close_and_the_latest_decision_supersedes():
    opens = [10.0, 10.0, nan, nan, 16.0, 16.0, 8.0]
    closes = [10.0, 12.0, nan, nan, 16.0, 16.0, 8.0]

    path = one_symbol([0.5, 0.0, 1.0, nan, nan, nan, nan], opens, closes=closes)

    # Bought at 10, valued at the close of 12, then at the next open of 16, where 1.0 and not 0.0 is filled.
    carried = 0.5 * 1.2 / 1.1
    gain = carried * (16 / 12 - 1)
    assert path.net == pytest.approx([0.1, 0.0, gain, 0.0, -0.5])
    assert path.weight[:, 0] == pytest.approx([0.5, carried, carried, 1.0, 1.0])
    assert path.turnover == pytest.approx([0.5, 0.0, 0.0, 1.0 - carried * (16 / 12) / (1 + gain), 0.0])


def test_decision_missed_and_taken_back_is_never_traded():
    path = one_symbol([0.5, 1.0, 0.5, 0.5, 0.5], [1.0, 1.0, nan, 1.0, 1.0], closes=[1.0, 1.0, nan, 1.0, 1.0])

    assert path.turnover.tolist() == [0.5, 0.0, 0.0]


@pytest.mark.parametrize("rho", [0.0, -0.3, -1.0])
def test_delisted_symbol_is_sold_at_its_last_close_after_the_wait(rho: float):
    opens = np.array([[10.0, 5.0], [10.0, 5.0]] + [[nan, 5.0]] * 6)
    closes = np.array([[10.0, 5.0], [8.0, 5.0]] + [[nan, 5.0]] * 6)

    path = after_cost_return(
        np.array([[0.5, 0.0]] + [[nan, 0.0]] * 7),
        open_price=opens,
        close_price=closes,
        costs=costs_of(commission_bps=100),
        delisting_return=rho,
        delisted_after=3,
    )

    # The last bar is session 1, so the close of session 4 tells: the loss falls before open 5, the sale at it.
    bought, fallen = 0.5 * -0.2 - 0.5 * 0.01, 0.5 * 0.8
    left = 1 + bought + fallen * rho
    sale = 0.01 * fallen * (1 + rho) / left
    assert path.net == pytest.approx([bought, 0.0, 0.0, fallen * rho / (1 + bought), -sale, 0.0])
    assert path.weight[4].tolist() == [0.0, 0.0]


def test_relisted_symbol_needs_a_new_decision():
    prices = [10.0, 10.0, nan, nan, 10.0, 10.0, 20.0, 40.0]

    path = one_symbol([1.0] + [nan] * 4 + [1.0, nan, nan], prices, closes=prices, delisted_after=2)

    assert path.weight[:, 0].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    assert path.net.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def test_tranches_hold_the_average_of_the_latest_decisions():
    costs = costs_of(holding="tranches", rebalance="every_bar")

    path = one_symbol([1.0, 1.0, 0.0, -1.0, 0.0, 0.0], [1.0] * 6, costs=costs, horizon=2)

    assert path.weight[:, 0].tolist() == [0.5, 1.0, 0.5, -0.5]


def test_tranches_of_a_delisted_symbol_lapse_with_it():
    prices = [1.0, 1.0, nan, 1.0, 1.0, 1.0]

    path = one_symbol(
        [1.0] + [nan] * 5,
        prices,
        closes=prices,
        costs=costs_of(holding="tranches"),
        horizon=4,
        delisted_after=1,
    )

    assert path.weight[:, 0].tolist() == [0.25, 0.25, 0.0, 0.0]


def test_horizon_matters_for_tranches_only():
    rng = np.random.default_rng(0)
    weights, opens = rng.uniform(-1, 1, 30).tolist(), rng.uniform(9, 11, 30).tolist()

    assert np.array_equal(one_symbol(weights, opens, horizon=5).net, one_symbol(weights, opens).net)


def test_equity_that_is_used_up_stays_at_nothing():
    path = one_symbol([-1.0] * 6, [10.0, 10.0, 25.0, 5.0, 5.0, 5.0], costs=costs_of(risk_free_rate=0.01))

    assert path.net.tolist() == [-1.0, 0.0, 0.0, 0.0]
    assert path.equity.tolist() == [0.0] * 4
    assert return_metrics(path, costs=costs_of())["annualised_return"] == -1


def test_signal_one_bar_late_earns_another_return():
    opens = [10.0, 10.0, 11.0, 9.0, 12.0, 8.0, 8.0]
    foreseen = [np.sign(b - a) for a, b in pairwise(opens[1:])] + [0.0, 0.0]

    right = one_symbol(foreseen, opens).equity[-1]
    late = one_symbol([0.0, *foreseen[:-1]], opens).equity[-1]

    assert right == pytest.approx(1.1 * (1 + 2 / 11) * (4 / 3) * (4 / 3))
    assert late < 1


@given(st.integers(0, 2**32 - 1))
def test_perfect_foresight_of_the_bar_before_the_fill_earns_nothing_of_it(seed: int):
    rng = np.random.default_rng(seed)
    opens = 100 * np.cumprod(1 + rng.uniform(-0.05, 0.05, 12))
    decided = 6

    # The planted leak: at session 6 the move into the fill (open 6 to open 7) is known, and doubled in size.
    weights = np.zeros(12)
    weights[decided] = np.sign(opens[decided + 1] - opens[decided])
    steeper = opens.copy()
    steeper[: decided + 1] /= 2

    assert one_symbol(weights.tolist(), steeper.tolist()).net == pytest.approx(
        one_symbol(weights.tolist(), opens.tolist()).net
    )


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_bars_and_decisions_to_come_change_no_earlier_return(seed: int, cut: int):
    case = random_case(np.random.default_rng(seed), n_sessions=30, n_symbols=3)

    whole, head = case.path(), case.until(cut).path()

    assert np.array_equal(head.net, whole.net[: max(cut - 2, 0)])
    assert np.array_equal(head.weight, whole.weight[: max(cut - 2, 0)])


@dataclass(frozen=True)
class Case:
    """Random decisions and bars with halts, late listings and delistings, and how they are traded."""

    weights: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    costs: CostsConfig
    horizon: int
    delisting_return: float
    delisted_after: int

    def until(self, cut: int) -> Case:
        """Return the same case as it looked after ``cut`` sessions."""
        head = (self.weights[:cut], self.opens[:cut], self.closes[:cut])
        return Case(*head, self.costs, self.horizon, self.delisting_return, self.delisted_after)

    def path(self) -> ReturnPath:
        """Return what the room under test makes of it."""
        return after_cost_return(
            self.weights,
            open_price=self.opens,
            close_price=self.closes,
            costs=self.costs,
            horizon=self.horizon,
            delisting_return=self.delisting_return,
            delisted_after=self.delisted_after,
        )


def random_case(rng: np.random.Generator, *, n_sessions: int, n_symbols: int) -> Case:
    shape = (n_sessions, n_symbols)
    closes = 50 * np.cumprod(1 + rng.uniform(-0.05, 0.05, shape), axis=0)
    opens = closes * (1 + rng.uniform(-0.02, 0.02, shape))
    weights = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0, nan], shape) / n_symbols
    missing = rng.random(shape) < rng.choice([0.0, 0.3])
    for symbol in range(n_symbols):
        if rng.random() < 0.5:
            missing[rng.integers(n_sessions) :, symbol] = True
        if rng.random() < 0.3:
            missing[: rng.integers(n_sessions), symbol] = True
    for prices in (opens, closes):
        prices[missing] = nan
    opens[rng.random(shape) < 0.05] = nan
    costs = CostsConfig(
        commission_bps=rng.choice([0.0, 30.0]),
        borrow_rate=rng.choice([0.0, 0.5]),
        risk_free_rate=rng.choice([0.0, 0.4, -0.2]),
        rebalance=rng.choice(["every_bar", "on_change"]),
        holding=rng.choice(["latest", "tranches"]),
        bars_per_year=12,
    )
    return Case(
        weights,
        opens,
        closes,
        costs,
        int(rng.integers(1, 4)),
        float(rng.choice([0.0, -0.3, -1.0])),
        int(rng.integers(1, 4)),
    )


class Account:
    """Cash and shares, kept one symbol at a time in plain Python: the independent account of a case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        n_symbols = case.weights.shape[1]
        self.cash = 1.0
        self.shares = [0.0] * n_symbols
        self.decisions: list[list[float]] = [[0.0] * case.horizon for _ in range(n_symbols)]
        self.filled = [0.0] * n_symbols

    def last_bar(self, symbol: int, before: int) -> int | None:
        """Return the last session before one at which the symbol had a bar."""
        bars = [s for s in range(before) if not isnan(self.case.closes[s, symbol])]
        return bars[-1] if bars else None

    def is_delisted_at(self, symbol: int, session: int) -> bool:
        last = self.last_bar(symbol, session + 1)
        return last is not None and session - last == self.case.delisted_after

    def price(self, symbol: int, session: int) -> float:
        """Return what a share is worth at a session's open."""
        last = self.last_bar(symbol, session)
        if self.is_delisted_at(symbol, session - 1):
            return self.case.closes[last, symbol] * (1 + self.case.delisting_return)
        if not isnan(self.case.opens[session, symbol]):
            return self.case.opens[session, symbol]
        return nan if last is None else self.case.closes[last, symbol]

    def worth(self, session: int) -> float:
        held = [(n, self.price(i, session)) for i, n in enumerate(self.shares) if n]
        return self.cash + sum(n * price for n, price in held)

    def decide(self, session: int) -> None:
        """Note a session's decisions after its close."""
        for symbol, weight in enumerate(self.case.weights[session]):
            past = self.decisions[symbol]
            past.append(past[-1] if isnan(weight) else weight)
            if self.is_delisted_at(symbol, session):
                past[:] = [0.0] * len(past)

    def target(self, symbol: int) -> float:
        depth = self.case.horizon if self.case.costs.holding == "tranches" else 1
        return sum(self.decisions[symbol][-depth:]) / depth

    def trade(self, session: int) -> float:
        """Trade at a session's open; return the traded value."""
        equity, traded = self.worth(session), 0.0
        for symbol, shares in enumerate(self.shares):
            price, target = self.price(symbol, session), self.target(symbol)
            wanted = shares
            if self.is_delisted_at(symbol, session - 1):
                wanted, self.filled[symbol] = 0.0, 0.0
            if not isnan(self.case.opens[session, symbol]) and not self.is_delisted_at(symbol, session - 1):
                changed = abs(target - self.filled[symbol]) > 1e-12
                if changed or self.case.costs.rebalance == "every_bar":
                    wanted, self.filled[symbol] = target * equity / price, target
            if wanted != shares:
                traded += abs(wanted - shares) * price
                self.cash -= (wanted - shares) * price
                self.shares[symbol] = wanted
        return traded

    def hold(self, session: int, traded: float) -> None:
        """Pay interest, borrowing and fees for the bar that begins at a session's open."""
        costs = self.case.costs
        short = sum(-n * self.price(i, session) for i, n in enumerate(self.shares) if n < 0)
        self.cash += self.cash * costs.risk_free_rate / costs.year
        self.cash -= short * costs.borrow_rate / costs.year + costs.one_way * traded


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), st.integers(3, 25), st.integers(1, 4))
@example(6443, 7, 3)  # tranches whose mean repeats an earlier one, with its decisions in another order
def test_every_path_is_what_an_account_of_cash_and_shares_shows(seed: int, n_sessions: int, n_symbols: int):
    case = random_case(np.random.default_rng(seed), n_sessions=n_sessions, n_symbols=n_symbols)
    account, equity = Account(case), []
    for session in range(1, n_sessions - 1):
        account.decide(session - 1)
        account.hold(session, account.trade(session))
        equity.append(account.worth(session + 1))
    solvent = np.cumprod(np.array(equity) > 0)

    path = case.path()

    assert path.equity == pytest.approx(np.array(equity) * solvent, rel=1e-12)


def test_return_metrics_equal_hand_arithmetic():
    net = np.array([0.1, -0.2, 0.05])
    path = ReturnPath(net, net, 0 * net, np.array([1.0, 0.0, 0.5]), np.zeros((3, 1)))

    metrics = return_metrics(path, costs=costs_of(bars_per_year=12, risk_free_rate=0.12))

    total = 1.1 * 0.8 * 1.05
    mean = -0.05 / 3 - 0.01
    deviation = sqrt(((0.1 + 0.05 / 3) ** 2 + (-0.2 + 0.05 / 3) ** 2 + (0.05 + 0.05 / 3) ** 2) / 2)
    assert metrics["n"] == 3
    assert metrics["total_return"] == pytest.approx(total - 1)
    assert metrics["annualised_return"] == pytest.approx(total**4 - 1)
    assert metrics["annualised_volatility"] == pytest.approx(deviation * sqrt(12))
    assert metrics["sharpe"] == pytest.approx(mean / deviation * sqrt(12))
    assert metrics["max_drawdown"] == pytest.approx(0.2)
    assert metrics["mean_turnover"] == pytest.approx(0.5)


def test_drawdown_counts_a_loss_from_the_first_bar():
    path = one_symbol([1.0] * 4, [10.0, 10.0, 5.0, 10.0])

    assert return_metrics(path, costs=costs_of())["max_drawdown"] == pytest.approx(0.5)


def test_return_that_does_not_vary_has_no_sharpe_ratio():
    path = one_symbol([1.0] * 8, [1.1**k for k in range(8)])

    metrics = return_metrics(path, costs=costs_of())

    assert isnan(metrics["sharpe"])
    assert metrics["annualised_volatility"] == pytest.approx(0)


@pytest.mark.parametrize("n_sessions", [0, 1, 2])
def test_too_few_sessions_give_an_empty_path_without_figures(n_sessions: int):
    path = one_symbol([1.0] * n_sessions, [1.0] * n_sessions)

    metrics = return_metrics(path, costs=costs_of())

    assert metrics.pop("n") == len(path.net) == 0
    assert all(isnan(value) for value in metrics.values())


def test_one_bar_has_a_return_but_no_deviation():
    metrics = return_metrics(one_symbol([1.0] * 3, [1.0, 1.0, 5.0]), costs=costs_of(bars_per_year=1e7))

    assert metrics["total_return"] == 4
    assert metrics["annualised_return"] == np.inf
    assert isnan(metrics["annualised_volatility"])


def test_tables_of_other_shapes_are_refused():
    with pytest.raises(EvaluationError, match=r"open_price \(2, 1\)"):
        after_cost_return(
            np.ones((3, 1)),
            open_price=np.ones((2, 1)),
            close_price=np.ones((3, 1)),
            costs=costs_of(),
        )


@pytest.mark.parametrize("price", [0.0, -5.0, np.inf])
def test_price_that_is_not_positive_and_finite_is_refused(price: float):
    with pytest.raises(EvaluationError, match="open_price holds"):
        one_symbol([1.0] * 3, [1.0, price, 1.0], closes=[1.0] * 3)


def test_infinite_weight_is_refused():
    with pytest.raises(EvaluationError, match="infinite"):
        one_symbol([np.inf, 0.0, 0.0], [1.0] * 3)
