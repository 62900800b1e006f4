"""What retraining would have cost and earned: policies side by side."""

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.testing import EchoAdapter, EchoModelConfig, random_bars
from backtester_model_core.walkforward import compare_retraining, walk_forward


@pytest.fixture
def bars():
    return random_bars(300, seed=8, momentum=0.3)


def test_each_row_is_what_a_walk_under_its_policy_gives(linear_config, bars):
    table = compare_retraining(linear_config, bars)

    alone = walk_forward(linear_config, bars, n_trials=4)
    forecast, outcome = alone.predictions["expected"], alone.predictions["outcome"]
    known = outcome.notna() & forecast.notna()
    assert list(table.index) == ["never", "schedule", "drift", "skill"]
    assert table.loc["schedule", "trainings"] == 5
    assert table.loc["schedule", "skill"] == alone.verdict.mean_g
    assert table.loc["schedule", "net_return"] == alone.return_metrics["signals"]["total_return"]
    assert table.loc["schedule", "sharpe"] == alone.return_metrics["signals"]["sharpe"]
    assert table.loc["schedule", "accuracy"] == pytest.approx(
        ((forecast > 0.5) == (outcome > 0.5))[known].mean()
    )
    assert table.loc["never", "trainings"] == 1


def test_policies_may_be_named(linear_config, bars):
    policies = {"twice as often": "schedule", "both": {"all": ["schedule", "age"]}}
    retraining = linear_config.retraining.model_copy(update={"every": 20, "max_age": 30})

    table = compare_retraining(
        linear_config.model_copy(update={"retraining": retraining}), bars, policies=policies
    )

    # 179 decisions: every twentieth session, and every thirtieth
    assert table["trainings"].to_dict() == {"twice as often": 9, "both": 6}


def test_challengers_that_are_kept_count_as_trainings(linear_config, bars):
    retraining = linear_config.retraining.model_copy(update={"challenge": "if_better", "expires_after": 60})

    table = compare_retraining(
        linear_config.model_copy(update={"retraining": retraining}), bars, policies={"schedule": "schedule"}
    )
    row = table.loc["schedule"]

    assert row["trainings"] == 5
    assert row["promoted"] + row["kept"] == 4
    assert row["stale_share"] > 0


def test_killed_comparison_resumes_and_writes_its_table(linear_config, bars, tmp_path):
    class KilledError(Exception):
        pass

    def kill(done, planned):
        raise KilledError

    with pytest.raises(KilledError):
        compare_retraining(linear_config, bars, out=tmp_path, progress=kill)
    n_kept = len(list(tmp_path.glob("*/entries/*")))
    told = []

    table = compare_retraining(
        linear_config, bars, out=tmp_path, progress=lambda done, planned: told.append((done, planned))
    )
    written = pd.read_csv(tmp_path / "comparison.csv", index_col="policy")

    assert n_kept == 5  # never's five stretches
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    pd.testing.assert_frame_equal(written, table, check_dtype=False)


def test_policies_in_parallel_give_the_same_table(linear_config, bars):
    config = EchoModelConfig(**linear_config.model_dump(exclude={"framework"}))  # a worker can import it
    with use_plugins(Plugins(discover=False, environ={})) as importable:
        importable.register_adapter("echo", EchoAdapter)
        one = compare_retraining(config, bars)
        two = compare_retraining(config, bars, n_jobs=2)

    pd.testing.assert_frame_equal(one.drop(columns="seconds"), two.drop(columns="seconds"))
    assert np.isfinite(two["seconds"]).all()
