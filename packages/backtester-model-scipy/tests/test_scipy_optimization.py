"""Every optimiser finds the same optimum, within bounds and constraints, or refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backtester_model_core.exceptions import ConfigError, TrainingError
from backtester_model_core.testing import synthetic_rows
from backtester_model_core.typing import FloatArray
from backtester_model_scipy import register_objective
from backtester_model_scipy.adapter import SciPyAdapter, SciPyModel
from backtester_model_scipy.catalogs import OBJECTIVES
from backtester_model_scipy.config import SciPyModelConfig
from backtester_model_scipy.optimization import METHODS, Problem, Search, solve

ADAPTER = SciPyAdapter()
CLASSES = (0.0, 1.0)
NAMES = ("a", "b", "c", "d")


def trained(
    model: str = "logistic",
    method: str | None = None,
    *,
    model_type: str = "classification",
    **parameters: Any,
) -> SciPyModel:
    config = SciPyModelConfig(
        model=model,
        model_type=model_type,
        parameters=parameters,
        optimization_method=method,
        feature_columns=NAMES,
        normalize_features=False,
    )
    rows: Any = synthetic_rows(200, model_type=model_type, signal=1.0)
    classes = CLASSES if model_type == "classification" else None
    return ADAPTER.train_model(ADAPTER.initialize_model(config), *rows, classes=classes, seed=0)


def coefficients(model: SciPyModel) -> FloatArray:
    return model.fitted["coefficients"].ravel()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_optimum_of_a_logistic_regression(method: str) -> None:
    found = trained(method=method, max_iterations=5000 if method == "COBYLA" else 1000)

    assert coefficients(found) == pytest.approx(coefficients(trained()), abs=2e-3)
    assert "converged in" in found.notes[0]


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if one.keeps_bounds])
def test_bounds_are_kept(method: str) -> None:
    found = trained(method=method, bounds={"a": [-0.5, 0.5], "d": [0.25, 1.0]})

    assert coefficients(found)[1] == pytest.approx(0.5, abs=1e-3)
    assert coefficients(found)[4] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if one.keeps_constraints])
def test_constraints_are_kept(method: str) -> None:
    balanced = {"terms": {"a": 1.0, "b": 1.0}, "lower": 0.2, "upper": 0.3}

    found = trained(method=method, constraints=[balanced])

    total = coefficients(found)[1] + coefficients(found)[2]
    assert 0.2 - 1e-4 <= total <= 0.3 + 1e-4
    assert coefficients(found) == pytest.approx(coefficients(trained(constraints=[balanced])), abs=5e-3)


def test_an_estimate_at_its_bound_has_no_standard_error() -> None:
    found = trained(bounds={"a": [-0.5, 0.5]})

    assert "a 0.5 (nan)" in found.notes[1]


def test_the_seed_decides_where_a_global_search_looks() -> None:
    answers = [coefficients(trained(method="differential_evolution", max_iterations=20)) for _ in range(2)]

    assert np.array_equal(*answers)


def test_a_global_search_leaves_a_valley_that_is_not_the_deepest() -> None:
    def wavy(values: FloatArray) -> float:
        return float((values[0] ** 2 - 10 * np.cos(2 * np.pi * values[0])) + 10)

    problem = Problem(("x",), np.array([4.0]), wavy, np.array([-6.0]), np.array([6.0]), np.ones(1), 1)

    methods = ["Nelder-Mead", *(name for name, one in METHODS.items() if one.kind == "global")]
    local, *others = (solve(problem, Search(), one, model="wavy", seed=0).values[0] for one in methods)

    assert local == pytest.approx(4.0, abs=0.1)
    assert others == pytest.approx([0.0] * 4, abs=1e-3)


def test_an_unknown_method_is_refused_with_all_there_are() -> None:
    with pytest.raises(ConfigError, match=r"Unknown optimization_method 'LBFGS'.*Valid: Nelder-Mead, .*shgo"):
        trained(method="LBFGS")


def test_a_method_that_keeps_no_bounds_is_refused_with_those_that_do() -> None:
    with pytest.raises(
        ConfigError, match=r"'BFGS' keeps no bounds, which logistic has. Use one of: Nelder-Mead"
    ):
        trained(method="BFGS", bounds={"a": [0.0, 1.0]})


def test_a_method_that_keeps_no_constraints_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"keeps no constraints, which garch has. Use one of: COBYLA"):
        trained("garch", "L-BFGS-B")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bounds": {"a": [1.0, 0.0]}}, r"the lower bound of a \(1\) is not below the upper"),
        ({"bounds": {"z": [0.0, 1.0]}}, r"Unknown parameter to bound 'z'"),
        ({"constraints": [{"terms": {"z": 1.0}}]}, r"Unknown parameter to bound 'z'"),
        ({"constraints": [{"terms": {}}]}, r"constraints.0.terms"),
        ({"tolerance": 0}, r"tolerance: .*greater than 0"),
    ],
)
def test_bounds_and_constraints_that_make_no_sense_are_refused(parameters: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trained(**parameters)


def test_bounds_outside_what_a_model_allows_are_refused() -> None:
    config = SciPyModelConfig(
        model="ordinal_logistic", parameters={"bounds": {"gap_1": [-2.0, -1.0]}}, feature_columns=NAMES
    )
    features, score = synthetic_rows(200, model_type="regression")
    model, target = ADAPTER.initialize_model(config), np.digitize(score, [-1.0, 1.0])

    with pytest.raises(ConfigError, match="The bounds of gap_1 leave nothing: it goes from"):
        ADAPTER.train_model(model, features, target, classes=(-1.0, 0.0, 1.0), seed=0)


@pytest.mark.parametrize("method", ["BFGS", "Nelder-Mead", "trust-exact", "differential_evolution"])
def test_a_search_that_is_cut_short_is_refused(method: str) -> None:
    with pytest.raises(TrainingError, match=r"logistic did not converge: .* with a slope of"):
        trained(method=method, max_iterations=1)


# -- objectives of one's own ----------------------------------------------------------------------------------------


@pytest.fixture
def lopsided() -> Any:
    """Register an expectile: what lies below the forecast counts nine times."""

    @register_objective("expectile")
    def loss(score: FloatArray, target: FloatArray, weight: FloatArray) -> float:
        away = target - score
        return float((weight * away**2 * np.where(away < 0, 9.0, 1.0)).sum())

    yield loss
    OBJECTIVES.discard("expectile")


def test_an_objective_registered_in_code_is_minimised(lopsided: Any) -> None:
    found = trained("objective", model_type="regression", objective="expectile", alpha=0.0)

    features, target = synthetic_rows(200, model_type="regression", signal=1.0)
    away = target - ADAPTER.predict(found, features)
    assert 9 * -away[away < 0].sum() == pytest.approx(away[away > 0].sum(), rel=1e-3)


def test_an_objective_goes_by_its_slope_where_it_has_one() -> None:
    plain = trained("objective", model_type="regression", objective="log_cosh")
    numeric = trained(
        "objective", "Nelder-Mead", model_type="regression", objective="log_cosh", max_iterations=5000
    )

    assert coefficients(plain) == pytest.approx(coefficients(numeric), abs=1e-4)


def test_the_brier_score_is_minimised_for_classes() -> None:
    features, target = synthetic_rows(200, signal=1.0)

    found = trained("objective", objective="brier")

    answers = [ADAPTER.predict(model, features)[:, 1] for model in (found, trained(alpha=0.0))]
    scores = [np.mean((rise - target) ** 2) for rise in answers]
    assert scores[0] < scores[1]
    assert ADAPTER.feature_importance(found, features, target).argmax() in {0, 1}


def test_an_objective_for_the_other_task_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"'log_cosh' is for a regression, not for this classification of 2. .*: brier"
    ):
        trained("objective", objective="log_cosh")


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Unknown objective 'log_cos'. Did you mean 'log_cosh'"):
        trained("objective", model_type="regression", objective="log_cos")
