from __future__ import annotations

import json

import pandas as pd


def test_policies_stand_side_by_side(invoke, write_config, bars_csv) -> None:
    done = invoke("compare-retraining", write_config(), "--bars", bars_csv)

    rows = [line.split() for line in done.stdout.splitlines()]
    trainings = {
        row[0]: int(row[1]) for row in rows if row and row[0] in {"never", "schedule", "drift", "skill"}
    }
    assert done.exit_code == 0, done.stderr
    assert "Retraining of small" in done.stdout
    assert list(trainings) == ["never", "schedule", "drift", "skill"]
    assert (trainings["never"], trainings["schedule"]) == (1, 5)


def test_the_configurations_own_policy_is_among_them(invoke, write_config, bars_csv, tmp_path) -> None:
    config = write_config(retraining={"policy": {"any": ["skill", "age"]}, "max_age": 90})

    done = invoke(
        "compare-retraining", config, "--bars", bars_csv, "--json", "--quiet", "--out", tmp_path / "out"
    )

    rows = {row["policy"]: row for row in json.loads(done.stdout)}
    written = pd.read_csv(tmp_path / "out" / "comparison.csv", index_col="policy")
    assert list(rows) == ["never", "schedule", "drift", "skill", "configured"]
    assert rows["configured"]["trainings"] == 2  # 180 sessions are served: one comes of age at the ninetieth
    assert list(written.index) == list(rows)
    assert (tmp_path / "out" / "configured" / "signals.parquet").exists()
    assert done.stderr == ""


def test_progress_counts_policies(invoke, write_config, bars_csv) -> None:
    done = invoke("compare-retraining", write_config(), "--bars", bars_csv)

    assert done.stderr.splitlines()[-1] == "policy 4 of 4"


def test_run_of_a_policy_counts_sessions(invoke, write_config, bars_csv, tmp_path) -> None:
    config = write_config(retraining={"policy": "never"})

    done = invoke("run", config, "--bars", bars_csv, "--out", tmp_path / "run")

    assert done.stderr.splitlines()[-1] == "session 180 of 180"


def test_an_unknown_policy_is_refused_with_the_nearest(invoke, write_config, bars_csv) -> None:
    config = write_config(retraining={"policy": "skil"})

    done = invoke("compare-retraining", config, "--bars", bars_csv)

    assert done.exit_code == 1
    assert "Did you mean 'skill'?" in done.stderr
