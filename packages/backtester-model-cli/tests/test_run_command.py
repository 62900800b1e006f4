from __future__ import annotations

import json
import os
import pty
import signal
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.testing import random_bars, random_panel

RESULT_FILES = {
    "bars.npz",
    "config.json",
    "events.csv",
    "metrics.json",
    "predictions.csv",
    "reliability.csv",
    "returns.csv",
    "signals.csv",
    "signals.parquet",
    "timings.json",
    "windows.csv",
}
SLOW = {
    "model_class": "RandomForestClassifier",
    "hyperparameters": {"n_estimators": 40},
    "validation": {"train_size": 120, "test_size": 10},
}


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a run folder but the timings, by its path within."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "timings.json"
    }


def read_terminal(terminal: int) -> str:
    """Read all that is written to a terminal until nobody holds its other end."""
    drawn = b""
    with suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as screen:
        while chunk := screen.read(4096):
            drawn += chunk
    return drawn.decode()


def wait_for_windows(out: Path, *, n: int) -> None:
    """Wait until so many windows of a run are on disk."""
    for _ in range(600):
        if out.is_dir() and len(list(out.glob("entries/*"))) >= n:
            return
        time.sleep(0.05)
    pytest.fail(f"no {n} windows after 30 seconds")


# -- bars as people have them -------------------------------------------------------------------------------------


def test_one_symbols_csv_with_title_case_columns(invoke, write_config, bars_csv, tmp_path) -> None:
    done = invoke("run", write_config(), "--bars", bars_csv, "--out", tmp_path / "run")

    assert done.exit_code == 0, done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir() if path.is_file()} == RESULT_FILES
    assert len(pd.read_csv(tmp_path / "run" / "signals.csv")) == 300


def test_a_parquet_file_of_one_ticker_in_the_shape_of_yfinance(invoke, write_config, tmp_path) -> None:
    frame = random_bars(300).rename(columns=str.title)
    frame.columns = pd.MultiIndex.from_product([frame.columns, ["SPY"]], names=["Price", "Ticker"])
    frame.to_parquet(tmp_path / "bars.parquet")

    done = invoke("run", write_config(), "--bars", tmp_path / "bars.parquet", "--out", tmp_path / "run")

    assert done.exit_code == 0, done.stderr
    assert "wide_columns" in done.stdout
    assert pd.read_parquet(tmp_path / "run" / "signals.parquet").index.name == "timestamp"


def test_a_parquet_file_of_two_tickers_in_the_shape_of_yfinance(invoke, write_config, tmp_path) -> None:
    frames = {name: random_bars(300, seed=seed).rename(columns=str.title) for seed, name in enumerate("AB")}
    pd.concat(frames, axis=1, names=["Ticker", "Price"]).to_parquet(tmp_path / "bars.parquet")

    done = invoke("run", write_config(), "--bars", tmp_path / "bars.parquet", "--out", tmp_path / "run")

    assert done.exit_code == 0, done.stderr
    signals = pd.read_parquet(tmp_path / "run" / "signals.parquet")
    assert signals.groupby(level="symbol").size().to_dict() == {"A": 300, "B": 300}


def test_hourly_bars_are_shown_to_the_minute(invoke, write_config, tmp_path) -> None:
    random_bars(300, frequency="h").to_csv(tmp_path / "EURUSD.csv")

    done = invoke("run", write_config(), "--bars", tmp_path / "EURUSD.csv", "--out", tmp_path / "run")

    assert done.exit_code == 0, done.stderr
    assert "2015-01-05 23:00" in done.stdout  # the 120th bar, at whose close the first window is fitted


def test_the_shipped_bars_and_a_configuration_that_repeats_the_run(invoke, write_config, tmp_path) -> None:
    config = write_config(validation={"train_size": 2000, "test_size": 500})
    done = invoke("run", config, "--sample", "--symbol", "IBM", "--out", tmp_path / "run", "--quiet")

    again = invoke("run", tmp_path / "run" / "config.json", "--out", tmp_path / "again", "--quiet")

    assert (done.exit_code, again.exit_code) == (0, 0), done.stderr + again.stderr
    signals = [(tmp_path / name / "signals.csv").read_bytes() for name in ("run", "again")]
    assert len(signals[0].splitlines()) == 1 + 3270
    assert signals[0] == signals[1]


def test_bars_are_named_once(invoke, write_config, bars_csv, tmp_path) -> None:
    done = invoke("run", write_config(), "--sample", "--bars", bars_csv, "--out", tmp_path / "run")

    assert done.exit_code == 2
    assert "--bars or --sample" in done.stderr


def test_a_folder_with_a_file_for_each_symbol(invoke, write_config, panel, tmp_path) -> None:
    (tmp_path / "bars").mkdir()
    for symbol, frame in panel.groupby("symbol"):
        frame.drop(columns="symbol").to_csv(tmp_path / "bars" / f"{symbol}.csv", index=False)

    done = invoke("run", write_config(), "--bars", tmp_path / "bars", "--out", tmp_path / "run")

    assert done.exit_code == 0, done.stderr
    assert set(pd.read_csv(tmp_path / "run" / "signals.csv")["symbol"]) == {"AAA", "BBB", "CCC"}


def test_one_symbol_of_a_long_file(invoke, write_config, panel, tmp_path) -> None:
    panel.to_csv(tmp_path / "panel.csv", index=False)

    done = invoke(
        "run", write_config(), "--bars", tmp_path / "panel.csv", "--symbol", "BBB", "--out", tmp_path / "run"
    )

    assert done.exit_code == 0, done.stderr
    signals = pd.read_csv(tmp_path / "run" / "signals.csv")
    assert "symbol" not in signals
    assert len(signals) == 300


def test_bars_of_the_configuration_when_no_option_names_any(invoke, write_config, bars_csv, tmp_path) -> None:
    config = write_config(data_config={"path": str(bars_csv), "end": "2015-12-31"})

    done = invoke("run", config, "--out", tmp_path / "run")

    assert done.exit_code == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "run" / "signals.csv")) == 261  # weekdays of 2015


def test_bars_of_the_configuration_that_are_elsewhere_are_refused_until_an_option_names_them(
    invoke, write_config, bars_csv, tmp_path
) -> None:
    config = write_config(data_config={"path": "/etc/hostname"})

    refused = invoke("run", config, "--out", tmp_path / "refused")
    named = invoke("run", config, "--bars", bars_csv, "--out", tmp_path / "named", "--quiet")

    assert (refused.exit_code, named.exit_code) == (1, 0)
    assert "leads out of the file's folder" in " ".join(refused.stderr.split())


def test_no_bars_anywhere_is_wrong_usage(invoke, write_config, tmp_path) -> None:
    done = invoke("run", write_config(), "--out", tmp_path / "run")

    assert done.exit_code == 2
    assert "No bars" in done.stderr
    assert "--bars" in done.stderr


def test_no_windows_at_a_time_is_wrong_usage(invoke, write_config, bars_csv, tmp_path) -> None:
    done = invoke("run", write_config(), "--bars", bars_csv, "--out", tmp_path / "run", "--n-jobs", 0)

    assert done.exit_code == 2
    assert "-1 for one a core" in done.stderr


def test_the_written_configuration_repeats_the_run(
    invoke, write_config, bars_csv, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)  # bars that a file names are below its folder, or the working directory
    first, second = tmp_path / "first", tmp_path / "second"
    invoke("run", write_config(), "--bars", bars_csv, "--out", first)

    done = invoke("run", first / "config.json", "--out", second)

    assert done.exit_code == 0, done.stderr
    assert files_of(first) == files_of(second)


# -- what it says ---------------------------------------------------------------------------------------------------


def test_the_verdict_is_said_first_and_last(invoke, write_config, bars_csv, tmp_path) -> None:
    done = invoke("run", write_config(), "--bars", bars_csv, "--out", tmp_path / "run")

    lines = done.stdout.strip().splitlines()
    verdict = json.loads((tmp_path / "run" / "metrics.json").read_text())["verdict"]["sentence"]
    assert lines[0].strip() == lines[-1].strip() == verdict


def test_every_table_is_shown_with_its_baselines(invoke, write_config, bars_csv, tmp_path) -> None:
    done = invoke("run", write_config(), "--bars", bars_csv, "--out", tmp_path / "run")

    for heading in (
        "Windows",
        "class_prior",
        "Signals",
        "always long",
        "buy and hold",
        "Probability of a rise, out of sample",
        "From bars to signals",
    ):
        assert heading in done.stdout
    assert "About the bars" in done.stdout
    assert "signals.parquet, timings.json" in " ".join(done.stdout.split())


def test_a_window_shows_what_its_signals_came_to(invoke, write_config, bars_csv, tmp_path) -> None:
    config = write_config(gate={"mode": "off"}, confidence_threshold=0.5)

    done = invoke("run", config, "--bars", bars_csv, "--out", tmp_path / "run")

    table = " ".join(done.stdout.partition("Windows")[2].partition("Out of sample")[0].split())
    first = pd.read_csv(tmp_path / "run" / "windows.csv").iloc[0]
    assert all(name in table for name in ("hits", "net", "traded"))
    shares = [f"{first[name]:.1%}" for name in ("hit_rate", "net_return", "mean_turnover")]
    assert " ".join(shares) in table


def test_a_panel_shows_the_verdict_on_the_order_and_on_each_symbol(invoke, write_config, tmp_path) -> None:
    panel = tmp_path / "panel.csv"
    random_panel(3, 400, seed=2).to_csv(panel)

    done = invoke("run", write_config(), "--bars", panel, "--out", tmp_path / "run")

    table = done.stdout.partition("Skill, taken apart")[2].partition("Windows")[0]
    assert all(name in table for name in ("order of symbols", "S000", "S001", "S002", "no skill shown"))


def test_more_windows_than_fit_are_cut_out_of_the_middle(invoke, write_config, bars_csv, tmp_path) -> None:
    config = write_config(validation={"train_size": 120, "test_size": 4})

    done = invoke("run", config, "--bars", bars_csv, "--out", tmp_path / "run")

    table = done.stdout.partition("Windows")[2].partition("Out of sample")[0].splitlines()
    numbers = [line.split()[0] for line in table if line.lstrip()[:1].isdigit()]
    assert numbers == [*map(str, range(20)), *map(str, range(25, 45))]
    assert "... 5 more in windows.csv" in " ".join(" ".join(table).split())


def test_a_terminal_that_knows_only_ascii_gets_every_table(start, write_config, bars_csv, tmp_path) -> None:
    config = write_config(validation={"train_size": 120, "test_size": 4})

    process = start(
        "run", config, "--bars", bars_csv, "--out", tmp_path / "run", env={"PYTHONIOENCODING": "ascii"}
    )
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 0, stderr
    assert "From bars to signals" in stdout


def test_json_is_the_metrics_file_and_the_paths_and_nothing_else(
    invoke, write_config, bars_csv, tmp_path
) -> None:
    out = tmp_path / "run"

    done = invoke("run", write_config(), "--bars", bars_csv, "--out", out, "--json")

    said = json.loads(done.stdout)
    assert said.pop("files") == {name: str(out / name) for name in RESULT_FILES}
    assert said == json.loads((out / "metrics.json").read_text())


def test_quiet_says_the_verdict_and_where_the_files_are(invoke, write_config, bars_csv, tmp_path) -> None:
    done = invoke("run", write_config(), "--bars", bars_csv, "--out", tmp_path / "run", "--quiet")

    verdict = json.loads((tmp_path / "run" / "metrics.json").read_text())["verdict"]["sentence"]
    assert done.stdout.splitlines() == [verdict, f"Written to {tmp_path / 'run'}"]
    assert done.stderr == ""


def test_without_a_terminal_progress_is_a_line_now_and_then(invoke, write_config, bars_csv, tmp_path) -> None:
    config = write_config(validation={"train_size": 120, "test_size": 10})

    done = invoke("run", config, "--bars", bars_csv, "--out", tmp_path / "run")

    assert done.stderr.splitlines() == [f"window {k} of 18" for k in (1, 2, 4, 6, 8, 10, 12, 14, 16, 18)]


def test_on_a_terminal_progress_is_a_bar_of_windows(start, write_config, bars_csv, tmp_path) -> None:
    terminal, stderr = pty.openpty()
    config = write_config(validation={"train_size": 120, "test_size": 10})

    process = start("run", config, "--bars", bars_csv, "--out", tmp_path / "run", stderr=stderr)
    os.close(stderr)
    drawn = read_terminal(terminal)
    process.communicate(timeout=60)

    assert process.returncode == 0
    assert "preparing" in drawn
    assert "18/18" in drawn


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"gate": {"mode": "block"}}, "no skill shown by then"),
        ({"confidence_threshold": 1.0}, "a confidence below it"),
        ({"signal_threshold": 1.0}, "a probability below it"),
        (
            {"model_type": "regression", "validation": {"train_size": 60, "test_size": 40}},
            "too few earlier residuals",
        ),
    ],
    ids=["gate", "confidence", "signal threshold", "residuals"],
)
def test_no_signal_at_all_is_explained(invoke, write_config, tmp_path, changes, why) -> None:
    random_bars(220).to_csv(tmp_path / "bars.csv")

    done = invoke("run", write_config(**changes), "--bars", tmp_path / "bars.csv", "--out", tmp_path / "run")

    assert done.exit_code == 0, done.stderr
    assert "No signal asks for a position" in done.stdout
    assert f"served bars: {why}" in done.stdout


class RefusesToTrain:
    """An extension that refuses every training."""

    @hookimpl
    def backtester_train(self, model, dataset, validation):
        from backtester_model_core.exceptions import TrainingError

        raise TrainingError("nothing can be learned here")


def test_refused_trainings_are_among_the_events(invoke, write_config, bars_csv, tmp_path) -> None:
    config = write_config(validation={"train_size": 120, "test_size": 10})
    with use_plugins(Plugins()) as plugins:
        plugins.register_extension("refuses", RefusesToTrain())
        done = invoke("run", config, "--bars", bars_csv, "--out", tmp_path / "run")

    assert "nothing can be learned here" in done.stdout
    assert "3 more in events.csv" in done.stdout
    assert "n_refused" in done.stdout
    assert "warm-up, or a refused training" in done.stdout


# -- how it ends ------------------------------------------------------------------------------------------------


def test_require_skill_ends_with_three_when_none_is_shown(start, write_config, bars_csv, tmp_path) -> None:
    process = start(
        "run", write_config(), "--bars", bars_csv, "--out", tmp_path / "run", "--require-skill", "--quiet"
    )
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 3, stderr
    assert stdout.startswith(("No skill shown", "Worse than naive"))


def test_require_skill_ends_with_zero_when_it_is_shown(invoke, write_config, tmp_path) -> None:
    random_bars(500, momentum=0.5).to_csv(tmp_path / "bars.csv")
    config = write_config(label={"entry": "close", "exit": "close"})

    done = invoke(
        "run",
        config,
        "--bars",
        tmp_path / "bars.csv",
        "--out",
        tmp_path / "run",
        "--require-skill",
        "--quiet",
    )

    assert done.exit_code == 0, done.stdout
    assert done.stdout.startswith("Skill")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "{config}", "--bars", "{bad}", "--out", "{out}"], "high_below_low"),
        (["run", "{config}", "--bars", "nowhere.csv", "--out", "{out}"], "nowhere.csv: no such file"),
        (["run", "{wrong}", "--bars", "{bad}", "--out", "{out}"], "Did you mean 'confidence_threshold'?"),
        (
            ["run", "{jax}", "--bars", "{bad}", "--out", "{out}"],
            "No adapter for framework 'jax'; installed: ",
        ),
        (["run", "{config}", "--bars", "{good}", "--out", "{good}"], "cannot be a run folder"),
    ],
    ids=["bad bars", "no file", "bad configuration", "no adapter", "no folder"],
)
def test_our_own_error_is_one_message_and_code_one(
    invoke, write_config, bars_csv, tmp_path, arguments, message
) -> None:
    bad = pd.read_csv(bars_csv)
    bad.loc[5, "High"] = 0.01
    bad.to_csv(tmp_path / "bad.csv", index=False)
    places = {
        "config": write_config(),
        "wrong": write_config("wrong.json", confidence_treshold=0.7),
        "jax": write_config("jax.json", framework="jax"),
        "bad": tmp_path / "bad.csv",
        "good": bars_csv,
        "out": tmp_path / "run",
    }

    done = invoke(*(argument.format(**places) for argument in arguments))

    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback_of_our_own_error(start, write_config, tmp_path) -> None:
    process = start("run", write_config(), "--bars", "nowhere.csv", "--out", tmp_path / "run", "--debug")
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 1
    assert stderr.startswith("Traceback (most recent call last)")
    assert "DataSourceError: nowhere.csv: no such file" in stderr


class Buggy:
    """An extension with a bug."""

    @hookimpl
    def backtester_prepare(self, model, data):
        return 1 / 0


def test_a_bug_keeps_its_traceback(invoke, write_config, bars_csv, tmp_path) -> None:
    with use_plugins(Plugins()) as plugins:
        plugins.register_extension("buggy", Buggy())
        done = invoke("run", write_config(), "--bars", bars_csv, "--out", tmp_path / "run")

    assert isinstance(done.exception, ZeroDivisionError)


def test_interrupted_run_says_that_it_resumes(start, write_config, bars_csv, tmp_path) -> None:
    out = tmp_path / "run"
    process = start("run", write_config(**SLOW), "--bars", bars_csv, "--out", out)
    wait_for_windows(out, n=2)

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert stdout == ""
    assert f"Interrupted. The finished windows are in {out}: the same command goes on from there." in stderr
    assert "Traceback" not in stderr


def test_killed_run_resumes_to_the_same_bytes(start, invoke, write_config, bars_csv, tmp_path) -> None:
    config = write_config(**SLOW)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start("run", config, "--bars", bars_csv, "--out", killed)
    wait_for_windows(killed, n=3)
    process.kill()
    process.communicate(timeout=60)
    finished = {path.name: path.stat().st_mtime_ns for path in killed.glob("entries/*")}

    resumed = invoke("run", config, "--bars", bars_csv, "--out", killed, "--quiet")
    invoke("run", config, "--bars", bars_csv, "--out", whole, "--quiet")

    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(finished) < 18
    assert resumed.exit_code == 0, resumed.stderr
    assert {
        path.name: path.stat().st_mtime_ns for path in killed.glob("entries/*")
    }.items() >= finished.items()
    assert files_of(killed) == files_of(whole)


def test_windows_in_two_processes_give_the_same_files(invoke, write_config, bars_csv, tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"

    for out, n_jobs in ((one, 1), (two, 2)):
        done = invoke("run", write_config(), "--bars", bars_csv, "--out", out, "--n-jobs", n_jobs, "--quiet")
        assert done.exit_code == 0, done.stderr

    assert files_of(one) == files_of(two)


def test_a_second_model_decides_whether_to_act_on_the_first(invoke, write_config, tmp_path) -> None:
    random_bars(500, momentum=0.3).to_csv(tmp_path / "bars.csv")
    first = write_config(thresholds={"entry": "quantile", "quantile": 0.5}, gate={"mode": "off"})
    second = tmp_path / "second.json"
    second.write_text(
        json.dumps(
            {
                **json.loads(first.read_text()),
                "label": {"kind": "meta", "side_column": "side"},
                "validation": {"train_size": 240, "test_size": 60},
            }
        )
    )
    asked = ("run", first, "--meta", second, "--bars", tmp_path / "bars.csv", "--out", tmp_path / "run")

    done, as_json = invoke(*asked, "--quiet"), invoke(*asked, "--json")

    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("Written to") == 2
    assert {path.name for path in (tmp_path / "run" / "meta").iterdir()} >= RESULT_FILES
    assert json.loads(as_json.stdout)["files"]["signals.csv"] == str(
        tmp_path / "run" / "meta" / "signals.csv"
    )
