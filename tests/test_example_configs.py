"""Every configuration among the examples builds its model and walks forward."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from backtester_model_core.factory import ModelFactory, create_model, load_config
from backtester_model_core.testing import random_bars
from backtester_model_core.walkforward import walk_forward

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(ROOT.glob("examples/*.toml"))
INSTALLED = {info.name for info in ModelFactory.available()}


def framework_of(path: Path) -> str:
    return str(tomllib.loads(path.read_text())["framework"])


each_config = pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=path.stem,
            marks=pytest.mark.skipif(
                framework_of(path) not in INSTALLED,
                reason=f"no adapter for {framework_of(path)} is installed",
            ),
        )
        for path in CONFIGS
    ],
)


@each_config
def test_an_example_builds_its_model(path: Path) -> None:
    model = create_model(load_config(path))

    assert not model.is_trained


@each_config
def test_an_example_walks_forward_without_a_refusal(path: Path) -> None:
    result = walk_forward(path, random_bars(1300, seed=1))

    assert len(result.windows) >= 2
    assert result.predictions["expected"].notna().any()
    assert (result.windows["n_refused"] == 0).all()
