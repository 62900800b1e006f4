"""Trials: the variants that were tried in a run folder, on however many bars."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from backtester_model_core.model import BaseModel
from backtester_model_core.retraining import Policy
from backtester_model_core.runs import RunFolder, digest_of
from backtester_model_core.saving import code_facts

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory, which a plain ``repr`` tells and which is another one each time."""


def record_trial(folder: str | Path, *models: BaseModel, wish: Policy | None = None) -> None:
    """Remember that a configuration, its policy and its code were tried in a run folder.

    The bars are no part of it: who runs the same again every day, on one more bar, has tried nothing new. That is why
    the configurations are as they were given, before a share of the sessions has become a number of them.

    Args:
        folder: The run folder.
        models: Untrained models of the configurations as they were given, those that are tried together.
        wish: A policy of one's own that says when to train; it is what its ``repr`` says.
    """
    facts: dict[str, Any] = {"trial": [_facts(model) for model in models]}
    if wish is not None:
        facts["policy"] = f"{type(wish).__module__}:{ADDRESS.sub('', repr(wish))}"
    RunFolder(folder).record_run(digest_of(facts), facts)


def _facts(model: BaseModel) -> dict[str, Any]:
    """Say what is tried: what a run fills in from its bars, and writes down, makes no other trial of it."""
    config = model.config
    filled_in: dict[str, Any] = {"data_config": {"end", "frequency"}, "costs": {"bars_per_year"}}
    settings = config.model_dump(mode="json", exclude=filled_in)
    settings["label"]["kind"] = config.label_kind
    settings |= {"strong_threshold": config.strong_confidence, "random_state": model.seed}
    return {"config": settings, "code": code_facts(model)}
