"""The configuration of a scikit-learn model: what it takes, what it refuses, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from backtester_model_core.config import ModelConfig, parse_config
from backtester_model_core.exceptions import ConfigError
from backtester_model_sklearn import NestedEstimator, PreprocessingStep, SklearnModelConfig
from backtester_model_sklearn.config import StepName


def parsed(**fields: object) -> SklearnModelConfig:
    return parse_config(SklearnModelConfig, fields)


def test_importing_the_configuration_imports_no_scikit_learn() -> None:
    code = "import backtester_model_sklearn.config, sys; sys.exit('sklearn' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 0


def test_without_a_class_the_task_decides() -> None:
    names = [parsed(model_type=task).estimator_name for task in ("classification", "regression")]

    assert names == ["LogisticRegression", "Ridge"]


def test_a_named_class_is_the_one_in_force() -> None:
    assert parsed(model_class="SVC").estimator_name == "SVC"


def test_a_step_is_a_name_or_a_table() -> None:
    config = parsed(preprocessing=["robust_scaler", {"name": "pca", "n_components": 5}])

    assert config.preprocessing == (
        PreprocessingStep(name="robust_scaler"),
        PreprocessingStep(name="pca", arguments={"n_components": 5}),
    )


def test_lists_become_tuples_so_that_a_configuration_stays_as_it_is() -> None:
    config = parsed(hyperparameters={"hidden_layer_sizes": [32, 16], "interaction_cst": [[0, 1], [2]]})

    assert config.hyperparameters == {"hidden_layer_sizes": (32, 16), "interaction_cst": ((0, 1), (2,))}


def test_a_table_among_the_hyperparameters_is_a_nested_estimator() -> None:
    tree = {"model_class": "DecisionTreeClassifier", "hyperparameters": {"max_depth": 2}}

    config = parsed(model_class="AdaBoostClassifier", hyperparameters={"estimator": tree})

    assert config.hyperparameters["estimator"] == NestedEstimator.model_validate(tree)


def test_a_configuration_comes_back_from_json() -> None:
    config = parsed(
        model_class="AdaBoostClassifier",
        hyperparameters={"estimator": {"model_class": "SVC"}, "n_estimators": 5, "monotonic_cst": [0, 1]},
        preprocessing=["standard_scaler", {"name": "quantile_transformer", "output_distribution": "normal"}],
    )

    assert SklearnModelConfig.model_validate_json(config.model_dump_json()) == config
    assert parsed(**config.model_dump()) == config


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"framework": "scipy"}, "framework: 'scipy' is not valid"),
        ({"hyperparameter": {}}, "Did you mean 'hyperparameters'"),
        ({"preprocessing": ["standart_scaler"]}, "Did you mean 'standard_scaler'"),
        ({"preprocessing": [{"n_components": 5}]}, "name: required"),
        ({"preprocessing": [3]}, "preprocessing.0"),
        ({"preprocessing": [{"name": "pca", "arguments": {}, "k": 1}]}, "k: unknown key"),
        ({"preprocessing": ["pca"] * 21}, "at most 20"),
        ({"hyperparameters": {"estimator": {"model_clas": "SVC"}}}, "Did you mean 'model_class'"),
        (
            {"hyperparameters": {"estimator": {"model_class": "SVC", "hyperparameters": {"a": {}}}}},
            "a finite number",
        ),
        ({"hyperparameters": {"kernel": object()}}, "a finite number"),
        ({"hyperparameters": {"kernel": print}}, "a finite number"),
        ({"hyperparameters": {"C": float("inf")}}, "a finite number"),
        ({"hyperparameters": {"C": float("nan")}}, "a finite number"),
        ({"hyperparameters": {"a": "x" * 201}}, "at most 200 characters"),
        ({"hyperparameters": {"a": [0] * 1001}}, "at most 1000 long"),
        ({"hyperparameters": {"a": [[[0]]]}}, "2 deep"),
    ],
)
def test_what_is_no_plain_data_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parsed(**fields)


def test_the_readme_names_every_field_and_step() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    fields = set(SklearnModelConfig.model_fields) - set(ModelConfig.model_fields)

    missing = [name for name in (*fields, *get_args(StepName)) if f"`{name}`" not in readme]

    assert missing == []
    assert len(fields) == 3
