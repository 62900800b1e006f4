"""Calibrators: what they fit, that they never turn the order round, and that they come back as they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.calibration import (
    CALIBRATORS,
    BetaCurve,
    CalibratorKind,
    Isotonic,
    calibrate,
    fit_beta,
    fit_isotonic,
    fit_sigmoid,
)
from backtester_model_core.calibration.logistic import fit_logistic
from backtester_model_core.exceptions import ArtifactError, ConfigError
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.plugins import Plugins

NAN = float("nan")
KINDS = ["sigmoid", "beta", "isotonic"]
GRID = np.linspace(0, 1, 401)


def log_odds(p):
    return np.log(p / (1 - p))


def overconfident(n_rows, *, seed=0, slope=2.5):
    """(said, rose, true): probabilities whose log-odds are ``slope`` times too large."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 0.3, n_rows)
    true = 1 / (1 + np.exp(-odds))
    return 1 / (1 + np.exp(-slope * odds)), (rng.random(n_rows) < true).astype(np.float64), true


def fitted(kind, said, rose):
    return CALIBRATORS[kind].fit(said, rose)


# -- the fits ---------------------------------------------------------------------------------------------------


def test_sigmoid_finds_the_slope_that_was_planted():
    said, rose, _ = overconfident(200_000, slope=2.5)

    curve = fit_sigmoid(said, rose)

    assert curve.a == curve.b == pytest.approx(1 / 2.5, abs=0.02)
    assert curve.c == pytest.approx(0.0, abs=0.02)


def test_sigmoid_is_the_likeliest_for_platts_targets():
    said, rose, _ = overconfident(400)
    curve = fit_sigmoid(said, rose)
    n_rose = rose.sum()
    target = np.where(rose == 1, (n_rose + 1) / (n_rose + 2), 1 / (400 - n_rose + 2))

    def loss(slope, intercept):
        p = 1 / (1 + np.exp(-(slope * log_odds(said) + intercept)))
        return -np.sum(target * np.log(p) + (1 - target) * np.log(1 - p))

    around = [loss(curve.a + a, curve.c + c) for a in (-1e-3, 0, 1e-3) for c in (-1e-3, 0, 1e-3)]
    assert min(around) == around[4]


def test_beta_finds_a_curve_that_no_sigmoid_has():
    rng = np.random.default_rng(1)
    said = rng.uniform(0.02, 0.98, 200_000)
    true = 1 / (1 + np.exp(-(0.4 * np.log(said) - 1.6 * np.log(1 - said) - 0.5)))
    rose = (rng.random(len(said)) < true).astype(np.float64)

    curve = fit_beta(said, rose)

    assert (curve.a, curve.b, curve.c) == pytest.approx((0.4, 1.6, -0.5), abs=0.1)


@pytest.mark.parametrize("falling", ["a", "b"])
def test_beta_gives_up_a_slope_that_would_fall_and_fits_the_other_again(falling):
    rng = np.random.default_rng(2)
    said = rng.uniform(0.02, 0.98, 20_000)
    a, b = (-0.5, 1.5) if falling == "a" else (1.5, -0.5)
    true = 1 / (1 + np.exp(-(a * np.log(said) - b * np.log(1 - said))))

    curve = fit_beta(said, (rng.random(len(said)) < true).astype(np.float64))

    assert getattr(curve, falling) == 0.0
    assert max(curve.a, curve.b) > 0.1
    assert (np.diff(curve(GRID)) >= 0).all()


def test_isotonic_pools_neighbours_that_fall():
    said = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    rose = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0])

    line = fit_isotonic(said, rose)

    # blocks: {0.1}, {0.2, 0.3, 0.4}, {0.5, 0.6}; 0 and 1 move 1/8 inside
    assert line.said == pytest.approx([0.1, 0.3, 0.55])
    assert line.came == pytest.approx([1 / 8, 1 / 3, 7 / 8])
    assert line(np.array([0.0, 0.2, 0.3, 0.9])) == pytest.approx([1 / 8, (1 / 8 + 1 / 3) / 2, 1 / 3, 7 / 8])


def test_isotonic_counts_equal_probabilities_together():
    line = fit_isotonic(np.array([0.3, 0.3, 0.3, 0.7, 0.7]), np.array([1.0, 0.0, 0.0, 1.0, 0.0]))

    assert line.said == pytest.approx([0.3, 0.7])
    assert line.came == pytest.approx([1 / 3, 1 / 2])


def isotonic_by_definition(rose):
    """The minimax formula: the largest, over starts so far, of the smallest mean that begins there."""
    n = len(rose)
    return [max(min(np.mean(rose[i : k + 1]) for k in range(j, n)) for i in range(j + 1)) for j in range(n)]


@settings(max_examples=100)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=14))
def test_every_isotonic_share_is_the_minimax_formulas(rose):
    said = (np.arange(len(rose)) + 1) / (len(rose) + 1)

    line = fit_isotonic(said, np.array(rose))

    room = 1 / (len(rose) + 2)
    assert sorted(set(line.came)) == pytest.approx(
        sorted(set(np.clip(np.round(isotonic_by_definition(rose), 12), room, 1 - room)))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_calibrated_probabilities_are_near_the_true_ones(kind):
    said, rose, true = overconfident(5_000, seed=3)

    found = fitted(kind, said, rose)(said)

    assert np.abs(said - true).mean() > 0.05
    assert np.abs(found - true).mean() < 0.02


def test_rows_far_out_have_a_likeliest_curve_too():
    x = np.array([-30.0, -20.0, 25.0, 30.0, 1.0, -1.0])
    design, target = np.column_stack([x, np.ones(6)]), np.array([0.01, 0.01, 0.99, 0.99, 0.1, 0.9])

    weights = fit_logistic(design, target)

    probability = 1 / (1 + np.exp(-design @ weights))
    assert np.abs(design.T @ (probability - target)).max() < 1e-6


# -- what every calibrator keeps --------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.integers(0, 2**20), st.integers(2, 60), st.booleans())
def test_every_fit_rises_stays_inside_and_says_one_row_as_many(kind, seed, n_rows, is_coarse):
    rng = np.random.default_rng(seed)
    said = np.round(rng.random(n_rows), 1) if is_coarse else rng.random(n_rows)
    rose = np.append(rng.integers(0, 2, n_rows - 2), [0, 1]).astype(np.float64)

    calibrator = fitted(kind, said, rose)
    found = calibrator(GRID)

    assert (np.diff(found) >= -1e-15).all()
    assert ((found > 0) & (found < 1)).all()
    assert [calibrator.of_one(float(p)) for p in GRID] == pytest.approx(found.tolist(), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unknown_stays_unknown(kind):
    calibrator = fitted(kind, *overconfident(300)[:2])

    assert np.isnan(calibrator(np.array([NAN, 0.5]))).tolist() == [True, False]
    assert np.isnan(calibrator.of_one(NAN))


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_that_is_upside_down_gives_the_base_rate(kind):
    said, rose, _ = overconfident(4_000)

    found = calibrate(kind, 1 - said, rose, n_independent=4_000)

    says = found.calibrator(GRID)
    assert says == pytest.approx(rose.mean(), abs=0.03 if kind == "isotonic" else 1e-3)
    if kind != "isotonic":  # pooling leaves a few rows at the ends a block of their own
        assert "the base rate is said of every row" in found.message


@pytest.mark.parametrize("kind", ["sigmoid", "beta"])
def test_rows_that_separate_perfectly_have_a_fit(kind):
    said = np.array([0.4999, 0.49999, 0.50001, 0.5001])

    found = fitted(kind, said, np.array([0.0, 0.0, 1.0, 1.0]))

    assert found(said)[0] == pytest.approx(1 / 4, abs=0.1)
    assert found(said)[-1] == pytest.approx(3 / 4, abs=0.1)
    assert 0 < found.of_one(0.0) < found.of_one(1.0) < 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibrator_comes_back_from_its_arrays(kind):
    calibrator = fitted(kind, *overconfident(500)[:2])

    again = CALIBRATORS[kind].restore(calibrator.to_arrays())

    assert np.array_equal(again(GRID), calibrator(GRID))


@pytest.mark.parametrize(
    ("kind", "arrays"),
    [
        ("sigmoid", {}),
        ("sigmoid", {"curve": np.array([1.0, 1.0])}),
        ("beta", {"curve": np.array([-1.0, 1.0, 0.0])}),
        ("beta", {"curve": np.array([1.0, 1.0, 0.0]), "more": np.zeros(1)}),
        ("isotonic", {"said": np.array([0.1, 0.2])}),
        ("isotonic", {"said": np.array([]), "came": np.array([])}),
        ("isotonic", {"said": np.array([0.2, 0.1]), "came": np.array([0.1, 0.2])}),
        ("isotonic", {"said": np.array([0.1, 0.2]), "came": np.array([0.2, 0.1])}),
        ("isotonic", {"said": np.array([0.1, 0.2]), "came": np.array([0.0, 0.1])}),
        ("isotonic", {"said": np.array([0.1, 0.2]), "came": np.array([0.5])}),
        ("isotonic", {"said": np.array([[0.1, 0.2]]), "came": np.array([[0.5, 0.6]])}),
    ],
)
def test_arrays_that_are_no_calibrator_are_refused(kind, arrays):
    with pytest.raises(ArtifactError, match="The calibrator"):
        CALIBRATORS[kind].restore(arrays)


# -- whether to fit at all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "needed"), [("sigmoid", 200), ("beta", 200), ("isotonic", 1_000)])
def test_too_few_independent_rows_give_none_with_the_reason(kind, needed):
    said, rose, _ = overconfident(3_000)

    few = calibrate(kind, said, rose, n_independent=needed - 0.5)
    enough = calibrate(kind, said, rose, n_independent=needed)

    assert (few.kind, few.calibrator) == ("none", None)
    assert f"{kind}, which needs {needed:,}" in few.message
    assert enough.kind == kind
    assert enough.calibrator is not None


def test_outcomes_that_are_all_alike_give_none():
    found = calibrate("sigmoid", np.linspace(0.4, 0.6, 300), np.ones(300), n_independent=300)

    assert found.calibrator is None
    assert "all came out alike" in found.message


def test_rows_without_a_side_do_not_count():
    said, rose, _ = overconfident(600)
    told = np.append(said, [NAN, 0.99]), np.append(rose, [1.0, NAN])

    found, without = (calibrate("beta", *rows, n_independent=600) for rows in (told, (said, rose)))

    assert found.figures == without.figures
    assert found.calibrator == without.calibrator
    assert found.figures["n_rows"] == 600


def test_none_is_a_choice_and_an_unknown_name_is_not():
    said, rose, _ = overconfident(300)

    assert calibrate("none", said, rose, n_independent=300).calibrator is None
    with pytest.raises(ConfigError, match="isotonic"):
        calibrate("isotonik", said, rose, n_independent=300)


class Brings:
    """An extension with a calibrator of its own."""

    @hookimpl
    def backtester_register(self, registry):
        registry.add_calibrator("halves", CalibratorKind(lambda p, rose: BetaCurve(0.5, 0.5, 0.0), None, 1))


def test_an_extension_may_bring_a_calibrator():
    plugins = Plugins(discover=False, environ={})
    plugins.register_extension("brings", Brings())
    try:
        found = calibrate("halves", *overconfident(10)[:2], n_independent=10)
    finally:
        CALIBRATORS.discard("halves")

    assert found.calibrator.of_one(0.8) == pytest.approx(2 / 3)


def test_a_line_of_one_knot_says_the_same_of_every_row():
    line = Isotonic(np.array([0.4]), np.array([0.55]))

    assert line(GRID).tolist() == [0.55] * len(GRID)
    assert [line.of_one(p) for p in (0.0, 0.4, 1.0)] == [0.55] * 3
