"""The verdict on what is installed: an adapter with its own defaults, and an extension with all that it brings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from backtester_model_core.exceptions import AdapterNotFoundError
from backtester_model_core.factory import load_config
from backtester_model_core.features import FEATURE_SETS, feature_set
from backtester_model_core.labels import LABELS
from backtester_model_core.plugins import FIRST_PARTY, plugins
from backtester_model_core.testing.verdict.answer import LookAheadVerdict, Progress
from backtester_model_core.testing.verdict.expressions import check_expressions
from backtester_model_core.testing.verdict.models import check_config


def check_framework(
    framework: str, bars: pd.DataFrame, *, progress: Progress | None = None
) -> LookAheadVerdict:
    """Answer whether an installed adapter looks ahead, as its configuration's defaults have it.

    Args:
        framework: Its name.
        bars: Checked bars of one symbol or a panel.
        progress: Called with (checks done, checks in all).

    Raises:
        AdapterNotFoundError: When it is not installed.
        EvaluationError: When the bars are too few.
    """
    return check_config(load_config({"framework": framework}), bars, name=framework, progress=progress)


def check_extension(
    name: str, bars: pd.DataFrame, *, framework: str | None = None, progress: Progress | None = None
) -> LookAheadVerdict:
    """Answer whether an extension looks ahead: its feature sets, its labels, and a walk-forward that it takes part in.

    Args:
        name: Its name.
        bars: Checked bars of one symbol or a panel.
        framework: Whose adapter trains in the walk-forwards; scikit-learn's, or the first that is installed, when
            not given.
        progress: Called with (checks done, checks in all), for one part after the other.

    Raises:
        PluginError: When it is not installed, or broken.
        AdapterNotFoundError: When there is no adapter to train with.
        EvaluationError: When the bars are too few.
    """
    brought = plugins().brought_by(name)
    trained_by = framework or _first_framework()

    def on_features(named: str) -> LookAheadVerdict:
        return check_expressions(feature_set(named), bars, name=named, progress=progress)

    def on_walk_forward(**settings: Any) -> LookAheadVerdict:
        return check_config(
            load_config({"framework": trained_by, **settings}), bars, name=name, progress=progress
        )

    verdicts = {
        f"features {named}": on_features(named) for catalog, named in brought if catalog is FEATURE_SETS
    }
    for catalog, named in brought:
        if catalog is LABELS:
            verdicts[f"label {named}"] = on_walk_forward(
                label={"kind": named}, model_type=LABELS[named].model_type
            )
    verdicts["walk-forward"] = on_walk_forward()
    findings = [replace(one, of=of) for of, verdict in verdicts.items() for one in verdict.findings]
    return LookAheadVerdict(
        name, tuple(findings), tuple(pair for each in verdicts.values() for pair in each.ahead)
    )


def _first_framework() -> str:
    usable = plugins().frameworks()
    if not usable:
        raise AdapterNotFoundError.for_framework("sklearn", usable, FIRST_PARTY)
    return "sklearn" if "sklearn" in usable else usable[0]
