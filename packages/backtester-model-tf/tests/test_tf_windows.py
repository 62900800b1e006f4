"""Windows: the rows they are made of, without a copy of them all."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.scaling import Scaling
from backtester_model_tf.windows import Windows, batches

ROWS = np.arange(40.0).reshape(20, 2)


def passes(n_passes: int = 1, **options: Any) -> list[list[Any]]:
    """Return the batches of some passes over windows of three of the twenty rows, as arrays."""
    windows = Windows.of(ROWS, steps=3, ends=np.arange(2, 20))
    dataset, n_batches = batches(
        windows, Scaling.none(2), np.arange(18), None, **{"size": 4, "endless": True, **options}
    )
    drawn = [[part.numpy() for part in batch] for batch in itertools.islice(dataset, n_passes * n_batches)]
    return [drawn[first : first + n_batches] for first in range(0, len(drawn), n_batches)]


def test_a_window_ends_at_its_row() -> None:
    inputs, target = passes()[0][1]

    assert target.tolist() == [4, 5, 6, 7]
    assert inputs[0].tolist() == ROWS[4:7].tolist()
    assert inputs.dtype == np.float32


def test_each_pass_has_an_order_of_its_own_that_its_seed_repeats() -> None:
    orders = [
        [np.concatenate([target for _, target in one]) for one in passes(2, order=np.random.default_rng(3))]
        for _ in range(2)
    ]

    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0][0], orders[0][1])
    assert sorted(orders[0][0]) == list(range(18))


@given(n_rows=st.integers(1, 30), size=st.integers(1, 12))
@settings(max_examples=25)
def test_every_row_is_in_one_batch_and_none_stands_alone_at_the_end(n_rows: int, size: int) -> None:
    windows = Windows.of(np.zeros((n_rows, 1)), steps=None, ends=None)
    dataset, n_batches = batches(windows, Scaling.none(1), np.arange(n_rows), None, size=size)

    drawn = [target.numpy().tolist() for _, target in dataset]

    assert list(itertools.chain(*drawn)) == list(range(n_rows))
    assert len(drawn) == n_batches
    assert len(drawn[-1]) > 1 or size == 1 or n_rows == 1
    assert max(map(len, drawn)) <= size + 1


def test_a_batch_of_answers_is_filled_up_with_the_last_input() -> None:
    windows = Windows.of(ROWS, steps=2, ends=np.array([5, 9]))

    batch = windows.batch(0, 4)

    assert batch[:, -1, 0].tolist() == [10, 18, 18, 18]
