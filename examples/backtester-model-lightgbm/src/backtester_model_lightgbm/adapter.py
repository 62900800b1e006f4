"""Boosted trees by LightGBM, saved in LightGBM's own text format."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import lightgbm
import numpy as np
import pydantic
from backtester_model_core import ModelConfig, ModelFrameworkAdapter
from backtester_model_core.adapter import expect_config
from backtester_model_core.artifacts import expect_files
from backtester_model_core.exceptions import ArtifactError, NotTrainedError
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles

TREES = "trees.txt"


class LightGBMModelConfig(ModelConfig):
    """Configuration of boosted trees."""

    framework: Literal["lightgbm"] = pydantic.Field(default="lightgbm", description="Name of the adapter.")
    n_trees: int = pydantic.Field(
        default=50, ge=1, le=10_000, description="Trees to boost, one after another."
    )
    learning_rate: float = pydantic.Field(default=0.1, gt=0, le=1, description="What one tree may add.")
    n_leaves: int = pydantic.Field(default=7, ge=2, le=1_000, description="Leaves of one tree, at most.")
    min_rows_in_leaf: int = pydantic.Field(
        default=20, ge=1, description="Training rows of one leaf, at least."
    )


class Trees(NamedTuple):
    """What is to be trained, and LightGBM's model once it is."""

    config: LightGBMModelConfig
    booster: lightgbm.Booster | None = None


class LightGBMAdapter(ModelFrameworkAdapter[Trees]):
    """Boosted trees; every number of classes is learned as so many probabilities."""

    config_class = LightGBMModelConfig
    api = 1

    def initialize_model(self, config: ModelConfig) -> Trees:
        """Build an untrained model."""
        return Trees(expect_config(config, LightGBMModelConfig))

    def train_model(
        self, model: Trees, features: FloatArray, target: FloatArray | IntArray, **given: Any
    ) -> Trees:
        """Boost the trees, on one thread and by the seed, so that the same rows give the same trees."""
        own, classes = model.config, given.get("classes")
        task = (
            {"objective": "regression"}
            if classes is None
            else {"objective": "multiclass", "num_class": len(classes)}
        )
        parameters = task | {
            "learning_rate": own.learning_rate, "num_leaves": own.n_leaves, "min_data_in_leaf": own.min_rows_in_leaf,
            "seed": given.get("seed") or 0, "deterministic": True, "force_row_wise": True, "num_threads": 1,
            "verbosity": -1,
        }  # fmt: skip
        rows = lightgbm.Dataset(np.array(features), np.array(target), weight=given.get("weight"))
        return model._replace(booster=lightgbm.train(parameters, rows, num_boost_round=own.n_trees))

    def predict(self, model: Trees, features: FloatArray) -> FloatArray:
        """Ask the trees about each row."""
        if model.booster is None:
            raise NotTrainedError.before("lightgbm", "answer")
        return np.asarray(model.booster.predict(features, num_threads=1))

    def save_model(self, model: Trees) -> ModelFiles:
        """Write the trees as LightGBM's text."""
        if model.booster is None:
            raise NotTrainedError.before("lightgbm", "save")
        return {TREES: model.booster.model_to_string().encode()}

    def load_model(
        self, files: ModelFiles, config: ModelConfig, *, n_features: int, classes: tuple[float, ...] | None
    ) -> Trees:
        """Read the trees back, once each of their numbers has been looked at: LightGBM itself trusts them."""
        expect_files(files, [TREES])
        text = files[TREES].decode("ascii", errors="replace")
        head, *trees = re.split(r"^Tree=\d+$", text.partition("\nend of trees")[0], flags=re.MULTILINE)
        said = dict(re.findall(r"^(\w+)=(.*)$", head, re.MULTILINE))
        n_answers = 1 if classes is None else len(classes)
        wanted = {"max_feature_idx": str(n_features - 1), "num_class": str(n_answers)}
        if {name: said.get(name) for name in wanted} != wanted or len(trees) % n_answers or not trees:
            raise ArtifactError.in_file(TREES, "its trees are not for these features and classes")
        if not all(
            _is_sound(dict(re.findall(r"^(\w+)=(.*)$", tree, re.MULTILINE)), n_features) for tree in trees
        ):
            raise ArtifactError.in_file(TREES, "a tree is not one that LightGBM could have grown")
        return self.initialize_model(config)._replace(booster=lightgbm.Booster(model_str=text))


def _is_sound(tree: dict[str, str], n_features: int) -> bool:
    """Say whether every split asks one of the features, and leads on to later splits or to leaves that are there."""
    try:
        n_splits = int(tree["num_leaves"]) - 1
        asked, left, right = (
            [int(x) for x in tree.get(k, "").split()] for k in ("split_feature", "left_child", "right_child")
        )
        values = np.array([*tree["leaf_value"].split(), *tree.get("threshold", "").split()], dtype=np.float64)
    except (KeyError, ValueError):
        return False
    children = [sorted(pair) for pair in zip(left, right, strict=False)]
    reached = sorted(child for pair in children for child in pair)
    is_tree = reached == [*range(-n_splits - 1, 0), *range(1, n_splits)] if n_splits else not reached
    grows = all(child < 0 or child > at for at, pair in enumerate(children) for child in pair)
    sizes = (len(asked), len(left), len(right), len(values)) == (
        n_splits,
        n_splits,
        n_splits,
        2 * n_splits + 1,
    )
    known = all(0 <= feature < n_features for feature in asked) and tree.get("num_cat") == "0"
    return sizes and is_tree and grows and known and bool(np.isfinite(values).all())
