"""What was backtested is what runs live: every framework, replayed bar by bar, also across a restart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtester_model_cli.sample_data import sample_bars
from backtester_model_core.factory import ModelFactory, create_model, load_config
from backtester_model_core.replay import replay_diff
from backtester_model_core.streaming import SignalStream
from backtester_model_core.streaming.incoming import rows_of
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward

EXAMPLES = Path(__file__).parents[1] / "examples"
INSTALLED = {info.name for info in ModelFactory.available()}
QUICK_NETWORK = {"training_config": {"epochs": 1, "batch_size": 256}, "validation_split": 0.0}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic": ("logistic_regression.toml", {}),
    "boosting": ("boosting_regression.toml", {"hyperparameters": {"max_iter": 20}}),
    "garch": ("garch.toml", {}),
    "kalman": ("kalman.toml", {}),
    "lstm_pytorch": ("lstm_pytorch.toml", QUICK_NETWORK),
    "lstm_tensorflow": ("lstm_tensorflow.toml", QUICK_NETWORK),
}

CONTINUE = """
import json, sys
import numpy as np
import pandas as pd
from backtester_model_core.streaming import SignalStream
from backtester_model_core.streaming.incoming import rows_of

stream = SignalStream.load(sys.argv[1], gate="policy")
bars = pd.read_csv(sys.argv[2], index_col=0, parse_dates=True, float_precision="round_trip")
print(json.dumps([[signal.signal.value, signal.score] for signal in map(stream.update, rows_of(bars))]))
"""


def config_of(name: str, **changes: Any) -> Any:
    file, quicker = MODELS[name]
    framework = load_config(EXAMPLES / file)
    if framework.framework not in INSTALLED:
        pytest.skip(f"no adapter for {framework.framework} is installed")
    values = framework.model_dump(exclude_unset=True) | quicker | changes
    return load_config(values)


@pytest.mark.parametrize("name", MODELS)
def test_the_sample_bars_replayed_live_give_the_backtest(name: str, tmp_path: Path) -> None:
    bars = sample_bars(["MSFT"]).droplevel("symbol")
    config = config_of(name, validation={"train_size": 2_000, "test_size": 800})
    walk_forward(config, bars, out=tmp_path)

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence
    assert report.n_signals == 1_270


@pytest.mark.parametrize("name", ["logistic", "kalman", "lstm_pytorch", "lstm_tensorflow"])
def test_a_panel_of_a_hundred_symbols_replayed_live_gives_the_backtest(name: str, tmp_path: Path) -> None:
    panel = random_panel(100, 300, seed=5, momentum=0.1, lives={"S007": (90, 300), "S011": (0, 280)})
    walk_forward(config_of(name, validation={"train_size": 200, "test_size": 50}), panel, out=tmp_path)

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence
    assert report.n_bars == len(panel)


@pytest.mark.parametrize("name", MODELS)
def test_hourly_bars_of_several_symbols_replayed_live_give_the_backtest(name: str, tmp_path: Path) -> None:
    frames = {symbol: random_bars(700, seed=seed, frequency="h") for seed, symbol in enumerate("AB")}
    panel = pd.concat(frames, names=["symbol"]).swaplevel().sort_index()
    config = config_of(name, validation={"train_size": 500, "test_size": 100})
    walk_forward(config, panel, out=tmp_path)

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_goes_on_in_a_new_process(name: str, tmp_path: Path) -> None:
    bars = random_bars(900, seed=11, momentum=0.2)
    model = create_model(config_of(name))
    dataset = model.prepare(bars)
    model.train_dataset(dataset.take(np.arange(600)))
    stop = int(np.random.default_rng(sum(name.encode())).integers(620, 880))
    stream = SignalStream(model, gate="policy")
    stream.warm_up(bars.iloc[:stop])
    stream.save(tmp_path)
    bars.iloc[stop:].to_csv(tmp_path / "bars.csv")

    child = subprocess.run(
        [sys.executable, "-c", CONTINUE, str(tmp_path), str(tmp_path / "bars.csv")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert child.returncode == 0, child.stderr[-2_000:]
    told = json.loads(child.stdout.splitlines()[-1])
    batch = model.generate_signals(bars).iloc[stop:]
    here = [stream.update(bar) for bar in rows_of(bars.iloc[stop:])]
    assert [name for name, _ in told] == [signal.signal.value for signal in here] == list(batch["signal"])
    np.testing.assert_allclose([score for _, score in told], batch["score"], rtol=0, atol=1e-6)
