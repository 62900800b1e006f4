"""A compiled step answers one row as ``predict`` does, for every model of weighted sums."""

from __future__ import annotations

import numpy as np
import pytest

from backtester_model_core.exceptions import ModelError, NotTrainedError
from backtester_model_core.testing import synthetic_rows
from backtester_model_scipy.adapter import SciPyAdapter
from backtester_model_scipy.config import SciPyModelConfig
from backtester_model_scipy.native import SciPyModel

ADAPTER = SciPyAdapter()
LINEAR = ["ols", "ridge", "elastic_net", "huber", "soft_l1", "cauchy", "theil_sen", "quantile"]
AWAY, WIDE = np.array([1e5, 0.0, -3.0, 1e-4]), np.array([10.0, 1e-3, 1.0, 1e-5])


def trained(name: str, n_classes: int | None, *, seen: int | None = None, **parameters: str) -> SciPyModel:
    """Train on features of very different sizes; of the classes only the first ``seen`` occur."""
    features, score = synthetic_rows(300, model_type="regression", signal=0.7, seed=5)
    kind = "regression" if n_classes is None else "classification"
    model = ADAPTER.initialize_model(SciPyModelConfig(model=name, model_type=kind, parameters=parameters))
    target, classes = score, None
    if n_classes is not None:
        n_seen = seen or n_classes
        target = np.searchsorted(np.quantile(score, np.arange(1, n_seen) / n_seen), score)
        classes = tuple(map(float, range(n_classes)))
    return ADAPTER.train_model(model, AWAY + WIDE * features, target, classes=classes, seed=0)


def assert_step_is_predict(model: SciPyModel) -> None:
    served = AWAY + WIDE * synthetic_rows(100, model_type="regression", seed=6)[0]
    step = ADAPTER.compile_step(model)

    answers = np.array([step(row) for row in served.tolist()])

    assert np.abs(answers - ADAPTER.predict(model, served)).max() <= 1e-9


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_model_answers_a_row_as_predict_does(name: str) -> None:
    assert_step_is_predict(trained(name, None))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", ["logistic", "ordinal_logistic"])
def test_a_logistic_model_answers_a_row_as_predict_does(name: str, n_classes: int) -> None:
    assert_step_is_predict(trained(name, n_classes))


@pytest.mark.parametrize(("objective", "n_classes"), [("log_cosh", None), ("brier", 2)])
def test_a_model_of_an_objective_answers_a_row_as_predict_does(objective: str, n_classes: int | None) -> None:
    assert_step_is_predict(trained("objective", n_classes, objective=objective))


def test_a_class_that_no_row_had_keeps_its_place() -> None:
    assert_step_is_predict(trained("logistic", 3, seen=2))


@pytest.mark.parametrize("name", ["kernel_density", "rank_correlation"])
def test_a_model_of_another_kind_is_asked_through_predict(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} is no function of weighted sums.*through predict"):
        ADAPTER.compile_step(trained(name, 2))


def test_an_untrained_model_has_no_step() -> None:
    model = ADAPTER.initialize_model(SciPyModelConfig(model="ridge", model_type="regression"))

    with pytest.raises(NotTrainedError, match="cannot answer"):
        ADAPTER.compile_step(model)
