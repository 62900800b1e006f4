from __future__ import annotations

import json

import pytest

from backtester_model_core.testing import LookAheadVerdict, Outcome, random_bars
from backtester_model_core.testing.verdict import Finding

OWN = """
def trailing(bars):
    return bars["close"].rolling(5).mean()

def centred(bars):
    return bars["close"].rolling(5, center=True).mean()

def refusing(bars):
    return len(bars)

kept = {}

def cached(bars):
    return kept.setdefault(bars.index[0], bars["close"].shift(-1)).reindex(bars.index)

def of_all(panel):
    return panel["close"].groupby(level="symbol").transform("mean")
"""


@pytest.fixture
def own_file(tmp_path):
    """Return a file with functions of a user's own."""
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def test_a_clean_function_is_fine(invoke, own_file, bars_csv) -> None:
    done = invoke("check", f"{own_file}:trailing", "--bars", bars_csv)

    assert done.exit_code == 0, done.stderr
    assert "own.py:trailing is clean: 3 checks found no look-ahead." in done.stdout
    assert "check 3 of 3" in done.stderr


@pytest.mark.parametrize(("function", "ahead"), [("centred", "2 bars ahead"), ("cached", "1 bar ahead")])
def test_a_leaking_function_is_named_with_how_far_it_looks(
    invoke, own_file, bars_csv, function, ahead
) -> None:
    done = invoke("check", f"{own_file}:{function}", "--bars", bars_csv, "--quiet")

    assert done.exit_code == 5
    assert f"own.py:{function} leaks, here: truncation: 'close' at 20" in done.stdout
    assert ahead in done.stdout


def test_the_table_says_what_each_check_answered(invoke, own_file, bars_csv) -> None:
    done = invoke("check", f"{own_file}:centred", "--bars", bars_csv)

    assert "Does own.py:centred look ahead?" in done.stdout
    assert "T1  Are the rows so far the same when the bars end here?  leaks" in done.stdout
    assert "T9  Is the outcome among the columns?                     clean" in done.stdout


def test_json_for_a_script(invoke, own_file, bars_csv) -> None:
    done = invoke("check", f"{own_file}:centred", "--bars", bars_csv, "--json", "--quiet")

    told = json.loads(done.stdout)
    assert told["outcome"] == "leaks"
    assert told["ahead"] == {"close": "2 bars ahead"}
    assert told["findings"][0]["check"] == "T1"
    assert told["findings"][0]["leaks"][0]["column"] == "close"


def test_a_function_of_all_symbols_is_handed_a_panel(invoke, own_file, panel, tmp_path) -> None:
    panel.to_csv(tmp_path / "panel.csv", index=False)

    done = invoke("check", f"{own_file}:of_all", "--bars", tmp_path / "panel.csv", "--panel", "--quiet")

    assert done.exit_code == 5
    assert "ahead to the end of the bars" in done.stdout


def test_a_function_that_answers_with_something_else_is_refused(invoke, own_file, bars_csv) -> None:
    done = invoke("check", f"{own_file}:refusing", "--bars", bars_csv)

    assert done.exit_code == 1
    assert "own.py:refusing answers with a int to 300 bars" in done.stderr


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("{file}:absent", "has no function 'absent'; it has trailing, centred"),
        ("{file}", "Name the function"),
        ("{folder}/none.py:f", "cannot be read as Python"),
        ("nothing", "Nothing is called 'nothing'"),
    ],
)
def test_a_target_that_is_nothing_says_what_may_be_named(invoke, own_file, target, complaint) -> None:
    done = invoke("check", target.format(file=own_file, folder=own_file.parent))

    assert done.exit_code == 2
    assert complaint in " ".join(done.stderr.replace("│", "").split())


def test_a_file_that_does_not_run_says_why(invoke, tmp_path) -> None:
    (tmp_path / "broken.py").write_text("import a_module_that_nobody_has")

    done = invoke("check", f"{tmp_path / 'broken.py'}:f")

    assert done.exit_code == 2
    assert "ModuleNotFoundError" in done.stderr


def test_a_panel_is_for_functions(invoke) -> None:
    done = invoke("check", "basic", "--panel")

    assert done.exit_code == 2


def test_a_configuration_is_checked_on_the_bars_that_are_named(invoke, write_config, tmp_path) -> None:
    random_bars(470).rename(columns=str.title).to_csv(tmp_path / "LONG.csv", index_label="Date")

    done = invoke("check", write_config(), "--bars", tmp_path / "LONG.csv")

    assert done.exit_code == 0, done.stdout
    assert "T7   Is the whole walk-forward the same" in done.stdout
    assert "small.json is clean" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("name", "checked_as"),
    [("sklearn", "check_framework"), ("sample-bars", "check_extension"), ("basic", "check_expressions")],
)
def test_a_name_is_an_adapter_an_extension_or_a_feature_set(invoke, monkeypatch, name, checked_as) -> None:
    finding = Finding("T3", "enough?", Outcome.CANNOT_TELL, reason="3 bars are too few.")
    monkeypatch.setattr(
        f"backtester_model_core.testing.{checked_as}", lambda *_, **__: LookAheadVerdict(name, (finding,))
    )

    done = invoke("check", name)

    assert done.exit_code == 6
    assert f"Nobody can tell whether {name} looks ahead, because T3: 3 bars are too few." in done.stdout
