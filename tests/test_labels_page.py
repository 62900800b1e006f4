"""The page on labels lists what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from backtester_model_core.config import LabelConfig, WeightConfig
from backtester_model_core.labels import LABELS

PAGE = (Path(__file__).parents[1] / "docs/labels.md").read_text()


@pytest.mark.parametrize("name", list(LABELS))
def test_every_kind_of_label_is_listed_with_the_model_that_learns_it(name: str) -> None:
    assert f"| `{name}` | {LABELS[name].model_type} |" in PAGE


@pytest.mark.parametrize("name", [*LabelConfig.model_fields, *WeightConfig.model_fields])
def test_every_option_is_spoken_of(name: str) -> None:
    assert name in PAGE
