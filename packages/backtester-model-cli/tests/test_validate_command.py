from __future__ import annotations

import json

import pandas as pd
import pytest

from backtester_model_core.testing import random_bars


@pytest.fixture
def bad_csv(tmp_path, bars_csv):
    """Bars with three faults: a high below the low, a negative close, and a missing open on two days."""
    frame = pd.read_csv(bars_csv)
    frame.loc[5, "High"] = 0.01
    frame.loc[6, "Close"] = -1.0
    frame.loc[[7, 9], "Open"] = float("nan")
    frame.to_csv(tmp_path / "bad.csv", index=False)
    return tmp_path / "bad.csv"


def test_fine_bars_are_counted_and_dated(invoke, bars_csv) -> None:
    done = invoke("validate", bars_csv)

    assert done.exit_code == 0
    assert done.stdout.strip().endswith(
        "Fine: 300 bars of one symbol, 2015-01-01 to 2016-02-24, spacing 1 day."
    )


def test_what_was_normalised_is_told(invoke, bars_csv) -> None:
    done = invoke("validate", bars_csv)

    assert "renamed" in done.stdout
    assert "time_column" in done.stdout


def test_bars_that_need_nothing_are_one_sentence(invoke, tmp_path) -> None:
    random_bars(30).to_parquet(tmp_path / "bars.parquet")

    done = invoke("validate", tmp_path / "bars.parquet")

    assert done.stdout == "Fine: 30 bars of one symbol, 2015-01-01 to 2015-02-11, spacing 1 day.\n"


def test_a_panel_names_its_symbols(invoke, panel, tmp_path) -> None:
    panel.to_csv(tmp_path / "panel.csv", index=False)

    done = invoke("validate", tmp_path / "panel.csv")

    assert "Fine: 900 bars of 3 symbols (AAA, BBB, CCC), 2015-01-01 to" in done.stdout


def test_hourly_bars_as_json(invoke, tmp_path) -> None:
    random_bars(30, frequency="h").to_parquet(tmp_path / "hours.parquet")

    done = invoke("validate", tmp_path / "hours.parquet", "--json")

    assert json.loads(done.stdout) == {
        "fine": True,
        "n_bars": 30,
        "from": "2015-01-01 00:00",
        "to": "2015-01-02 05:00",
        "symbols": [],
        "spacing": "1:00:00",
        "faults": [],
        "notes": [],
    }


def test_every_fault_of_bars_is_shown_at_once(invoke, bad_csv) -> None:
    done = invoke("validate", bad_csv)

    assert done.exit_code == 1
    assert "bad.csv must be refused." in done.stdout
    for code, column, count, first in (
        ("high_below_low", "high", "1", "2015-01-08"),
        ("not_positive", "close", "1", "2015-01-09"),
        ("missing_value", "open", "2", "2015-01-12"),
    ):
        row = next(line.split() for line in done.stdout.splitlines() if line.startswith(code))
        assert row[1:4] == [column, count, first]


def test_faults_as_json_have_every_field(invoke, bad_csv) -> None:
    done = invoke("validate", bad_csv, "--json")

    said = json.loads(done.stdout)
    negative = next(fault for fault in said["faults"] if fault["code"] == "not_positive")
    assert done.exit_code == 1
    assert said["fine"] is False
    assert len(said["faults"]) == 3
    assert negative.pop("hint")
    assert negative == {
        "code": "not_positive",
        "column": "close",
        "symbol": None,
        "count": 1,
        "first": "2015-01-09",
        "value": "-1",
    }


def test_one_symbol_of_a_folder_is_judged_alone(invoke, bars_csv, bad_csv) -> None:
    done = invoke("validate", bars_csv.parent, "--symbol", "SPY")

    assert done.exit_code == 0
    assert "Fine: 300 bars of one symbol" in done.stdout


def test_a_folder_with_one_bad_symbol_is_refused(invoke, bars_csv, bad_csv) -> None:
    done = invoke("validate", bars_csv.parent, "--json")

    assert done.exit_code == 1
    assert {fault["symbol"] for fault in json.loads(done.stdout)["faults"]} == {"bad"}


def test_a_file_of_another_kind_is_one_message(invoke, tmp_path) -> None:
    (tmp_path / "bars.xlsx").write_bytes(b"PK")

    done = invoke("validate", tmp_path / "bars.xlsx")

    assert done.exit_code == 1
    assert ".xlsx" in done.stderr


def test_a_fine_configuration_shows_every_value_and_which_are_defaults(invoke, write_config) -> None:
    done = invoke("validate", write_config())

    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert done.exit_code == 0
    assert rows["validation.train_size"] == ["120"]
    assert rows["validation.scheme"] == ["expanding", "default"]
    assert rows["strong_threshold"] == ["-", "default"]


def test_a_fine_configuration_as_json(invoke, write_config) -> None:
    done = invoke("validate", write_config(), "--json")

    said = json.loads(done.stdout)
    assert said["fine"] is True
    assert said["config"]["validation"]["train_size"] == 120


def test_every_fault_of_a_configuration_is_shown_at_once(invoke, write_config) -> None:
    config = write_config(confidence_treshold=0.7, costs={"slippage_bps": -1})

    done = invoke("validate", config)

    assert done.exit_code == 1
    assert "2 faults in the SklearnModelConfig" in done.stderr
    assert "costs.slippage_bps" in done.stderr
    assert "Did you mean 'confidence_threshold'?" in done.stderr


def test_a_hyperparameter_that_the_framework_does_not_have_is_a_fault(invoke, write_config) -> None:
    done = invoke("validate", write_config(hyperparameters={"CC": 1.0}), "--json")

    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert said["fine"] is False
    assert "Did you mean 'C'?" in said["error"]


def test_a_configuration_in_yaml(invoke, tmp_path) -> None:
    (tmp_path / "model.yaml").write_text("framework: sklearn\nmodel_class: Ridge\nmodel_type: regression\n")

    done = invoke("validate", tmp_path / "model.yaml", "--json")

    assert json.loads(done.stdout)["config"]["model_class"] == "Ridge"


def test_a_symbol_of_a_configuration_is_wrong_usage(invoke, write_config) -> None:
    done = invoke("validate", write_config(), "--symbol", "SPY")

    assert done.exit_code == 2
    assert "--symbol" in done.stderr
