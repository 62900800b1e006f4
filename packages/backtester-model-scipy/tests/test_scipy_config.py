"""The configuration of a SciPy model: what it takes, what it refuses, and what it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backtester_model_core.config import parse_config
from backtester_model_core.exceptions import ConfigError
from backtester_model_core.factory import ModelFactory
from backtester_model_scipy import SciPyModelConfig


def parsed(**fields: object) -> SciPyModelConfig:
    return parse_config(SciPyModelConfig, fields)


def test_importing_the_configuration_imports_no_scipy() -> None:
    code = "import backtester_model_scipy.config, sys; sys.exit('scipy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 0


def test_without_a_model_the_task_decides() -> None:
    names = [parsed(model_type=task).chosen_model for task in ("classification", "regression")]

    assert names == ["logistic", "ridge"]


def test_a_named_model_is_the_one_in_force() -> None:
    assert parsed(model="garch").chosen_model == "garch"


def test_lists_become_tuples_so_that_a_configuration_stays_as_it_is() -> None:
    config = parsed(parameters={"bounds": {"beta": [0, 1]}, "constraints": [{"terms": {"alpha": 1}}]})

    assert config.parameters == {"bounds": {"beta": (0, 1)}, "constraints": ({"terms": {"alpha": 1}},)}


@pytest.mark.parametrize("value", [float("inf"), "x" * 201, object(), [[[[[1]]]]], {"a": float("nan")}])
def test_a_parameter_that_is_no_plain_data_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="a parameter is a finite number, a text"):
        parsed(parameters={"alpha": value})


def test_the_optimiser_is_not_among_the_parameters() -> None:
    with pytest.raises(ConfigError, match="set optimization_method instead"):
        ModelFactory.create("scipy", {"parameters": {"method": "BFGS"}})


def test_a_parameter_out_of_its_range_is_refused_with_the_range() -> None:
    with pytest.raises(ConfigError, match=r"alpha: .*greater than or equal to 0"):
        ModelFactory.create("scipy", {"parameters": {"alpha": -1}})
