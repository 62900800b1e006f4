"""Boosted trees by LightGBM, saved in LightGBM's own text format."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import numpy as np
from backtester_model_core import ModelConfig, ModelFrameworkAdapter
from backtester_model_core.adapter import expect_config
from backtester_model_core.artifacts import expect_files
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.typing import FloatArray, ModelFiles
from pydantic import Field

FILE = "trees.txt"
HEAD = ("max_feature_idx", "num_class", "num_tree_per_iteration", "objective")
WHOLE = ("split_feature", "left_child", "right_child", "decision_type", "num_leaves", "num_cat", "is_linear")
REPEATABLE = {"deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1}


class LightGBMModelConfig(ModelConfig):
    """Configuration of boosted trees; what LightGBM has a name for is called by that."""

    framework: Literal["lightgbm"] = Field(default="lightgbm", description="Name of the adapter.")
    num_iterations: int = Field(default=50, ge=1, le=10_000, description="Rounds of boosting.")
    learning_rate: float = Field(default=0.1, gt=0, le=1, description="Share of its answer that a tree adds.")
    num_leaves: int = Field(default=7, ge=2, le=1_000, description="Leaves of one tree, at most.")


class Trees(NamedTuple):
    """What is to be trained, and LightGBM's model once it is."""

    config: LightGBMModelConfig
    booster: Any = None


class LightGBMAdapter(ModelFrameworkAdapter[Trees]):
    """Boosted trees; a classifier has one ensemble for each class, also for one that its rows do not hold."""

    config_class = LightGBMModelConfig
    api = 1

    def initialize_model(self, config: ModelConfig) -> Trees:
        """Build an untrained model."""
        return Trees(expect_config(config, LightGBMModelConfig))

    def train_model(self, model: Trees, features: FloatArray, target: Any, **given: Any) -> Trees:
        """Boost the trees on one thread and by the seed, so that the same rows give the same trees."""
        from lightgbm import Dataset, train

        own, classes, seed = model.config, given.get("classes"), given.get("seed") or 0
        task = ("regression", 1) if classes is None else ("multiclass", len(classes))
        chosen = {"learning_rate": own.learning_rate, "num_leaves": own.num_leaves, "seed": seed}
        parameters = REPEATABLE | chosen | dict(zip(("objective", "num_class"), task, strict=True))
        rows = Dataset(np.array(features), np.array(target), weight=given.get("weight"))
        return model._replace(booster=train(parameters, rows, own.num_iterations))

    def predict(self, model: Trees, features: FloatArray) -> FloatArray:
        """Ask the trees about each row."""
        return np.asarray(model.booster.predict(features, num_threads=1))

    def save_model(self, model: Trees) -> ModelFiles:
        """Write the trees as LightGBM's text."""
        return {FILE: model.booster.model_to_string().encode()}

    def load_model(self, files: ModelFiles, config: ModelConfig, **known: Any) -> Trees:
        """Read the trees back, once they have been looked at: LightGBM itself believes whatever it reads."""
        from lightgbm import Booster

        expect_files(files, [FILE])
        text = re.sub(r"(?m)^tree_sizes=.*\n", "", files[FILE].decode("ascii", "replace"))
        parts = re.split(r"(?m)^Tree=\d+$", text.split("\nend of trees")[0])
        head, *trees = (dict(re.findall(r"(?m)^(\w+)=(.*)$", part)) for part in parts)
        n_features, classes, n = known["n_features"], known["classes"], len(known["classes"] or [0])
        task = "regression" if classes is None else f"multiclass num_class:{n}"
        found = [head.get(name) for name in HEAD]
        is_ours = found == [str(n_features - 1), str(n), str(n), task] and trees and len(trees) % n == 0
        if not (is_ours and all(_is_sound(tree, n_features) for tree in trees)):
            raise ArtifactError.in_file(FILE, "it holds no trees for these features and classes")
        return self.initialize_model(config)._replace(booster=Booster(model_str=text))


def _is_sound(tree: dict[str, str], n_features: int) -> bool:
    """Say whether splits ask features that are there, and lead to later splits or leaves, each by one way."""
    try:
        asked, left, right, kinds, *counts = (np.array(tree.get(name, "").split(), int) for name in WHOLE)
        limits, values = (np.array(tree.get(name, "").split(), float) for name in ("threshold", "leaf_value"))
    except (ValueError, OverflowError):
        return False
    n_splits, ways = len(asked), [*left.tolist(), *right.tolist()]
    return (
        all(len(each) == n_splits for each in (left, right, kinds, limits))
        and np.concatenate(counts).tolist() == [len(values), 0, 0] == [n_splits + 1, 0, 0]
        and sorted(ways) == [*range(-n_splits - 1, 0), *range(1, n_splits)][: 2 * n_splits]
        and all(way < 0 or way > at % n_splits for at, way in enumerate(ways))
        and bool(np.isin(asked, np.arange(n_features)).all() and (kinds % 2 == 0).all())
        and bool(np.isfinite([*limits, *values]).all())
    )
