from __future__ import annotations

import json

import pytest


def test_every_fold_has_its_metrics(invoke, write_config, bars_csv) -> None:
    done = invoke("cross-validate", write_config(cv_folds=4), "--bars", bars_csv, "--json")

    folds = json.loads(done.stdout)
    assert [fold["fold"] for fold in folds] == [0, 1, 2, 3]
    assert sum(fold["n_test"] for fold in folds) == 265  # 300 bars less the warm-up and two unknown labels
    assert all(0 <= fold["accuracy"] <= 1 for fold in folds)


def test_folds_as_a_table(invoke, write_config, bars_csv) -> None:
    done = invoke("cross-validate", write_config(), "--bars", bars_csv)

    rows = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert "Purged cross-validation of small" in done.stdout
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert sum(int(row[2]) for row in rows) == 265


@pytest.mark.parametrize("column", ["n_train", "n_test", "accuracy", "log_loss"])
def test_the_table_names_its_columns(invoke, write_config, bars_csv, column) -> None:
    assert column in invoke("cross-validate", write_config(), "--bars", bars_csv).stdout


def test_too_few_bars_for_the_folds_are_refused(invoke, write_config, bars_csv) -> None:
    config = write_config(data_config={"end": "2015-03-01"}, cv_folds=50)

    done = invoke("cross-validate", config, "--bars", bars_csv)

    assert done.exit_code == 1
    assert "Lower cv_folds" in done.stderr
