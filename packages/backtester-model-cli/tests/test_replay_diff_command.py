from __future__ import annotations

import json

import pandas as pd
import pytest


@pytest.fixture
def finished(invoke, write_config, bars_csv, tmp_path):
    """Return the folder of a finished run."""
    done = invoke("run", write_config(), "--bars", bars_csv, "--out", tmp_path / "run", "--quiet")
    assert done.exit_code == 0, done.stderr
    return tmp_path / "run"


def test_a_run_replayed_live_is_the_same(invoke, finished) -> None:
    done = invoke("replay-diff", finished)

    assert done.exit_code == 0, done.stderr
    assert "The stream equals the backtest: 300 bars, 180 signals of 180 served rows;" in done.stdout
    assert "window 5 of 5" in done.stderr


def test_edited_bars_are_found_and_named(invoke, finished, bars_csv, tmp_path) -> None:
    bars = pd.read_csv(bars_csv)
    bars.loc[200, bars.columns.str.lower() == "volume"] *= 1.5
    bars.to_csv(tmp_path / "edited.csv", index=False)

    done = invoke("replay-diff", finished, "--bars", tmp_path / "edited.csv")

    assert done.exit_code == 4
    assert "What differs" in done.stdout
    assert f"First: volume at {pd.Timestamp(bars.iloc[200, 0])}" in done.stdout
    assert "Compared were 180 signals of 180 served rows." in done.stdout


def test_json_for_a_script(invoke, finished) -> None:
    done = invoke("replay-diff", finished, "--json", "--quiet", "--plain")

    told = json.loads(done.stdout)
    assert told["equal"]
    assert told["tolerance"] == 1e-9
    assert (told["n_bars"], told["n_served"], told["n_signals"], told["n_not_compared"]) == (300, 180, 180, 0)
    assert told["counts"] == {}


def test_a_folder_without_a_run_is_refused(invoke, tmp_path) -> None:
    done = invoke("replay-diff", tmp_path)

    assert done.exit_code == 1
    assert "holds no finished run" in done.stderr
