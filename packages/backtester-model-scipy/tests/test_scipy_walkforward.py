"""Whole walk-forwards: no look-ahead, panels of symbols, refusals that leave rows neutral, and what can be foreseen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.testing import (
    find_fit_leaks,
    find_walk_forward_leaks,
    fit_model,
    random_bars,
    random_panel,
)
from backtester_model_core.walkforward import walk_forward


def config_of(model: str, **fields: Any) -> ModelConfig:
    """Return a configuration of a model over returns and two operators of this package."""
    return load_config(
        {
            "framework": "scipy",
            "model": model,
            "lookback_period": 10,
            "confidence_threshold": 0.5,
            "features": {
                "sets": [],
                "expressions": {
                    "return": "close / ref(close, 1) - 1",
                    "smooth": "savgol(close, 9, 2) / close - 1",
                    "low": "butterworth_lowpass(close, 5, 2) / close - 1",
                },
            },
            "validation": {"train_size": 120, "test_size": 40},
            "gate": {"mode": "warn"},
            **fields,
        }
    )


def parameters(model: str) -> dict[str, Any]:
    return {"memory": 15} if model in {"garch", "local_level", "regime", "arma"} else {}


@pytest.mark.parametrize("model", ["garch", "arma", "logistic"])
def test_signals_do_not_depend_on_what_comes_after_a_fit(model: str) -> None:  # T7
    config = config_of(model, parameters=parameters(model))

    assert find_walk_forward_leaks(config, random_bars(230, seed=3, momentum=0.3), tolerance=1e-9) == []


@pytest.mark.parametrize("model", ["garch", "kernel_density", "rank_correlation"])
def test_a_fit_sees_its_training_rows_only(model: str) -> None:  # T6
    config = config_of(model, parameters=parameters(model))
    built = create_model(config)
    dataset = built.prepare(random_bars(200)).with_history(built.context_rows)
    learnable = np.flatnonzero(dataset.is_complete & dataset.is_labelled)

    assert find_fit_leaks(fit_model(config), dataset, learnable[(learnable > 40) & (learnable < 150)]) == []


@pytest.mark.parametrize("model", ["local_level", "regime"])
def test_every_symbol_of_a_panel_is_filtered_by_itself(model: str) -> None:
    config = config_of(model, parameters=parameters(model))
    panel = random_panel(3, 260, seed=1, lives={"S001": (60, 260), "S002": (0, 200)})

    result = walk_forward(config, panel)

    assert (result.windows["n_refused"] == 0).all()
    answered = result.predictions["expected"].dropna()
    assert set(answered.index.get_level_values("symbol")) == {"S000", "S001", "S002"}


@pytest.mark.parametrize("model", ["ar", "rank_correlation", "logistic"])
def test_momentum_is_foreseen_out_of_sample(model: str) -> None:
    config = config_of(model, validation={"train_size": 300, "test_size": 150})

    result = walk_forward(config, random_bars(1000, seed=5, momentum=0.6))

    assert (result.windows["accuracy"] > 0.6).all()


def test_a_window_that_a_model_cannot_be_of_is_an_event_and_its_rows_are_neutral() -> None:
    bars = random_bars(250)
    steady = 100 * 1.001 ** np.arange(250.0)
    for column in ("open", "high", "low", "close"):
        bars[column] = steady

    result = walk_forward(config_of("garch", parameters={"memory": 15}, model_type="regression"), bars)

    assert result.events["message"].str.contains("garch: the series has the same value").all()
    assert (result.signals["signal"] == "NEUTRAL").all()
