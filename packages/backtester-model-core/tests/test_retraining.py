"""When to train again: each policy, what composes them and what bounds them, with the arithmetic written out."""

from math import inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.config import ModelConfig, parse_config
from backtester_model_core.events import EventKind
from backtester_model_core.exceptions import ConfigError, EvaluationError
from backtester_model_core.retraining import (
    Accuracy,
    Age,
    AllDue,
    AnyDue,
    Contest,
    Counted,
    Evidence,
    GuardedPolicy,
    LiveScores,
    Never,
    Refused,
    Schedule,
    Scorebook,
    Skill,
    Spell,
    Trigger,
    compare_forecasts,
    is_promoted,
    is_rolled_back,
    retraining_policy,
)

DAY = np.timedelta64(1, "D")
START = np.datetime64("2020-01-01T21:00", "ns")


def at(day):
    return START + day * DAY


def evidence(day=100, **fields):
    """What is known on a day about a model of day 0, daily sessions throughout."""
    known = {
        "trained_at": START,
        "age_sessions": day,
        "last_training_at": START,
        "sessions_since_training": day,
        "new_labels": day,
    }
    return Evidence(now=at(day), **{**known, **fields})


def live(n=60, skill=0.0, upper=0.05, accuracy=0.5, reference=0.1, n_reference=200):
    return LiveScores(n, skill, upper, accuracy, reference, n_reference)


class Due:
    def due(self, evidence):
        return Trigger("it is due", {"due": 1.0})


# -- single policies -----------------------------------------------------------------------------------------------


def test_never_is_never_due():
    assert Never().due(evidence(10_000)) is None


@pytest.mark.parametrize(("day", "is_due"), [(19, False), (20, True), (21, True)])
def test_schedule_is_due_so_many_sessions_after_the_last_training(day, is_due):
    assert (Schedule(Spell.of(20)).due(evidence(day)) is not None) == is_due


@pytest.mark.parametrize(("day", "is_due"), [(13, False), (14, True)])
def test_schedule_by_time_counts_days_and_not_sessions(day, is_due):
    after = evidence(day, sessions_since_training=1)

    assert (Schedule(Spell.of("2W")).due(after) is not None) == is_due


def test_age_goes_by_the_fit_in_force_where_schedule_goes_by_the_last_training():
    kept = evidence(50, last_training_at=at(45), sessions_since_training=5)

    assert Age(Spell.of(50)).due(kept).figures == {"age_sessions": 50}
    assert Schedule(Spell.of(50)).due(kept) is None


@pytest.mark.parametrize(
    ("scores", "is_due"),
    [
        (live(upper=0.0699), True),  # 0.7 x 0.1 = 0.07
        (live(upper=0.07), False),
        (live(upper=0.0699, reference=-0.1), False),  # nothing to fall from
        (live(upper=0.0699, reference=nan), False),
        (live(upper=0.0699, n=29), False),
        (live(upper=0.0699, n_reference=29), False),
    ],
)
def test_skill_is_due_when_even_its_upper_bound_is_below_a_share_of_the_reference(scores, is_due):
    assert (Skill(0.7).due(evidence(live=scores)) is not None) == is_due


def test_skill_gives_its_numbers():
    trigger = Skill(0.7).due(evidence(live=live(skill=-0.02, upper=0.01)))

    assert trigger.reason == "live skill is at most 0.01, its reference 0.1"
    assert trigger.figures == {
        "live_skill": -0.02,
        "live_skill_upper": 0.01,
        "reference_skill": 0.1,
        "n_live": 60,
    }


@pytest.mark.parametrize(
    ("scores", "is_due"),
    [(live(accuracy=0.51), True), (live(accuracy=0.52), False), (live(n=29, accuracy=0.1), False)],
)
def test_accuracy_is_due_below_a_number(scores, is_due):
    assert (Accuracy(0.52).due(evidence(live=scores)) is not None) == is_due


@pytest.mark.parametrize(
    ("counts", "is_due"),
    [
        ({}, False),
        ({EventKind.CONCEPT_DRIFT: 1}, False),
        ({EventKind.CONCEPT_DRIFT: 1, EventKind.FEATURE_DRIFT: 1}, True),
        ({EventKind.DATA_QUALITY: 7}, False),
    ],
)
def test_events_are_counted_by_kind(counts, is_due):
    policy = Counted((EventKind.CONCEPT_DRIFT, EventKind.FEATURE_DRIFT), n_events=2)

    assert (policy.due(evidence(events=counts)) is not None) == is_due


def test_counted_events_say_what_happened():
    trigger = Counted((EventKind.CONCEPT_DRIFT, EventKind.FEATURE_DRIFT)).due(
        evidence(events={EventKind.CONCEPT_DRIFT: 2})
    )

    assert trigger.reason == "2 x concept drift since the model began to serve"
    assert trigger.figures == {"n_concept_drift": 2, "n_feature_drift": 0}


@pytest.mark.parametrize(
    ("day", "is_refused", "is_due"), [(40, True, True), (39, True, False), (40, False, False)]
)
def test_a_refused_training_is_tried_again_after_a_while(day, is_refused, is_due):
    policy = Refused(Spell.of(40))

    assert (policy.due(evidence(day, is_refused=is_refused)) is not None) == is_due


# -- compositions and bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [5, 15, 25])
def test_any_is_due_with_the_first_and_all_with_the_last(day):
    ten, twenty = Schedule(Spell.of(10)), Age(Spell.of(20))

    assert (AnyDue((ten, twenty)).due(evidence(day)) is not None) == (day >= 10)
    assert (AllDue((ten, twenty)).due(evidence(day)) is not None) == (day >= 20)


def test_composition_joins_reasons_and_numbers():
    trigger = AllDue((Due(), AnyDue((Never(), Age(Spell.of(20)))))).due(evidence(25))

    assert trigger.reason == "it is due and the model is 25 sessions old, and is trained again at 20 sessions"
    assert trigger.figures == {"due": 1.0, "age_sessions": 25}


@pytest.mark.parametrize(
    ("fields", "obstacle"),
    [
        ({"cooldown": 20}, None),  # the training was on day 0: days 1 to 20 are held back
        ({"cooldown": 21}, "the cooldown of 21 sessions is not over"),
        ({"min_new_labels": 21}, None),
        ({"min_new_labels": 22}, "fewer than 22 labels have become known since the last training"),
        ({"max_trainings": 4}, None),
        ({"max_trainings": 3}, "the budget of 3 trainings is spent"),
    ],
)
def test_bounds_withhold_a_training_that_is_due(fields, obstacle):
    policy = GuardedPolicy(Due(), **fields)
    known = evidence(21, n_trainings=3)

    assert policy.obstacle(known) == obstacle
    assert (policy.due(known) is None) == (obstacle is not None)


def test_nothing_due_is_not_due_whatever_stands_against_it():
    assert GuardedPolicy(Never(), cooldown=5).due(evidence()) is None


# -- evidence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"trained_at": at(11)},
        {"last_training_at": at(11)},
        {"latest_used": at(11)},
        {"live": LiveScores(latest_used=at(11))},
    ],
)
def test_evidence_refuses_what_was_not_known(fields):
    with pytest.raises(EvaluationError, match=r"known only from 2020-01-12T21:00.* was used at 2020-01-11"):
        evidence(10, **fields)


def test_evidence_keeps_the_latest_instant_it_used():
    known = evidence(10, last_training_at=at(3), live=LiveScores(latest_used=at(9)))

    assert known.latest_used == at(9)
    assert (known.age, known.since_training) == (10 * DAY, 7 * DAY)
    assert Evidence(now=at(10), trained_at=at(4)).since_training == 6 * DAY


def book_of(rows, now):
    """A book of (decision day, usable day, outcome, forecast), the baseline one half."""
    book = Scorebook(classes=(0.0, 1.0), horizon=1)
    days, usable, outcome, forecast = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    entered = book.enter(
        at(days.astype(int)),
        usable_from=at(usable.astype(int)),
        outcome=outcome,
        forecast=forecast,
        baseline=np.full(len(rows), 0.5),
        now=at(now),
    )
    return book, entered


def test_scores_are_means_over_decision_times_of_means_over_symbols():
    book, entered = book_of(
        [
            (1, 3, 1.0, 0.7),  # g = 0.5 x 0.2 = 0.1, right
            (2, 4, 0.0, 0.6),  # g = -0.5 x 0.1 = -0.05, wrong
            (2, 4, 1.0, 0.8),  # g = 0.15, right: together 0.05
            (3, 5, 0.0, 0.2),  # g = 0.15, right
            (3, 5, np.nan, 0.2),
            (3, 5, 1.0, np.nan),
        ],
        now=5,
    )

    scores = book.live(since=at(2), window=100)

    assert entered == 4
    assert (scores.n, scores.n_reference, scores.latest_used) == (2, 1, at(5))
    assert scores.skill == pytest.approx((0.05 + 0.15) / 2)
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.reference == pytest.approx(0.1)
    assert book.live(since=at(1), window=1).skill == pytest.approx(0.15)
    assert book.live(since=at(1), window=1).reference == pytest.approx((0.1 + 0.05) / 2)


def test_outcomes_of_one_decision_time_may_become_known_one_after_the_other():
    book, _ = book_of([(1, 3, 1.0, 0.7)], now=3)

    book.enter(
        at(np.array([1])),
        usable_from=at(np.array([4])),
        outcome=np.array([0.0]),
        forecast=np.array([0.6]),
        baseline=np.array([0.5]),
        now=at(4),
    )

    assert book.live(since=at(0), window=10).skill == pytest.approx((0.1 - 0.05) / 2)
    assert book.live(since=at(0), window=10).n == 1


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 30), st.sampled_from([0.0, 1.0]), st.floats(0.01, 0.99)),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 31),
    st.integers(1, 20),
)
def test_book_says_the_same_in_whatever_order_outcomes_become_known(batches, since, window):
    """For all batches, late ones among them: the figures are those of means over means, taken at once."""
    book = Scorebook(classes=(0.0, 1.0), horizon=1)
    for batch in batches:
        days, outcome, forecast = (np.array(column) for column in zip(*batch, strict=True))
        book.enter(
            at(days),
            usable_from=at(days + 1),
            outcome=outcome,
            forecast=forecast,
            baseline=np.full(len(days), 0.5),
            now=at(40),
        )
    rows = [row for batch in batches for row in batch]
    days = sorted({day for day, _, _ in rows})
    g = {day: np.mean([(y - 0.5) * (f - 0.5) for at_, y, f in rows if at_ == day]) for day in days}
    live = [day for day in days if day >= since][-window:]
    before = days[: len(days) - len(live)]
    right = [(f > 0.5) == (y > 0.5) for day, y, f in rows if day in live]

    scores = book.live(since=at(since), window=window)

    assert (scores.n, scores.n_reference) == (len(live), len(before))
    expected = [
        np.mean(values) if values else nan for values in ([g[d] for d in live], [g[d] for d in before], right)
    ]
    assert [scores.skill, scores.reference, scores.accuracy] == pytest.approx(
        expected, abs=1e-12, nan_ok=True
    )


def test_a_session_costs_the_same_however_many_were_before():
    """What a session writes anew is counted, not timed: its own decision times and those that it is late for."""
    book = Scorebook(classes=None, horizon=1)
    sorted_sizes = []

    def counting(values, **options):
        sorted_sizes.append(len(values))
        return honest(values, **options)

    honest = np.unique
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backtester_model_core.retraining.evidence.np.unique", counting)
        for day in range(2_000):
            late = max(0, day - 3)
            book.enter(
                at(np.array([late, day])),
                usable_from=at(np.array([day, day])),
                outcome=np.array([0.01, -0.01]),
                forecast=np.array([0.02, 0.02]),
                baseline=np.zeros(2),
                now=at(day),
            )

    # each batch is sorted once by itself, and once with the at most three times that it is late for
    assert max(sorted_sizes) <= 2 + 3 + 1


def test_book_without_outcomes_knows_nothing():
    book, entered = book_of([(1, 3, np.nan, 0.7)], now=3)

    scores = book.live(since=at(0), window=10)

    assert entered == 0
    assert scores.n == 0
    assert scores.skill_upper == inf
    assert np.isnat(scores.latest_used)
    assert np.isnan(scores.reference)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 10), st.sampled_from([0.0, 1.0])),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 45),
)
def test_no_outcome_is_entered_before_it_is_known(rows, now):
    """For every set of rows: the book takes them exactly when the last of their outcomes is known."""
    timed = [(day, day + wait, outcome, 0.6) for day, wait, outcome in rows]
    last = max(usable for _, usable, _, _ in timed)

    if last > now:
        with pytest.raises(EvaluationError):
            book_of(timed, now)
    else:
        book, entered = book_of(timed, now)
        known = evidence(now, live=book.live(since=at(0), window=1000))

        assert entered == len(timed)
        assert known.latest_used <= known.now


# -- champion and challenger ---------------------------------------------------------------------------------------


def test_contest_is_the_mean_difference_of_squared_errors_by_decision_time():
    contest = compare_forecasts(
        at(np.array([1, 1, 2, 3, 4])),
        outcome=np.array([1.0, 0.0, 1.0, 1.0, nan]),
        champion=np.array([0.5, 0.5, 0.5, nan, 0.5]),
        challenger=np.array([0.7, 0.4, 0.3, 0.9, 0.5]),
        horizon=1,
    )

    first = ((0.25 - 0.09) + (0.25 - 0.16)) / 2
    second = 0.25 - 0.49
    assert contest.n == 2
    assert contest.difference == pytest.approx((first + second) / 2)
    assert contest.lower < contest.difference < contest.upper


def test_contest_on_no_common_row_decides_nothing():
    contest = compare_forecasts(
        at(np.array([1])),
        outcome=np.array([1.0]),
        champion=np.array([nan]),
        challenger=np.array([0.5]),
        horizon=1,
    )

    assert (contest.n, contest.lower, contest.upper) == (0, -inf, inf)
    assert is_promoted(contest, "unless_worse")
    assert not is_promoted(contest, "if_better")


@pytest.mark.parametrize(
    ("lower", "upper", "unless_worse", "if_better"),
    [(0.01, 0.03, True, True), (-0.01, 0.03, True, False), (-0.03, -0.01, False, False)],
)
def test_promotion_goes_by_the_bound(lower, upper, unless_worse, if_better):
    contest = Contest((lower + upper) / 2, lower, upper, nan, 60)

    assert is_promoted(contest, "unless_worse") == unless_worse
    assert is_promoted(contest, "if_better") == if_better
    assert is_promoted(contest, "off")


@pytest.mark.parametrize(
    ("t", "n", "is_back"),
    [
        (-1.96 * sqrt(2) - 0.01, 50, True),  # half of the planned times: 1.96 x sqrt(100 / 50)
        (-1.96 * sqrt(2) + 0.01, 50, False),
        (-1.97, 100, True),
        (-1.95, 100, False),
        (-9.0, 29, False),
        (-9.0, 101, False),
        (nan, 50, False),
        (9.0, 50, False),
    ],
)
def test_rolling_back_needs_the_more_the_less_was_seen(t, n, is_back):
    assert is_rolled_back(Contest(0.0, 0.0, 0.0, t, n), planned=100, horizon=1) == is_back


# -- from a configuration ------------------------------------------------------------------------------------------


def policy_of(policy, **fields):
    config = parse_config(
        ModelConfig,
        {"framework": "echo", "validation": {"test_size": 40}, "retraining": {"policy": policy, **fields}},
    )
    return retraining_policy(config)


@pytest.mark.parametrize(
    ("policy", "fields", "wish"),
    [
        ("schedule", {}, Schedule(Spell(sessions=40))),
        ("schedule", {"every": "30D"}, Schedule(Spell(time=30 * DAY))),
        ("skill", {}, Skill(0.7, 30)),
        ("accuracy", {}, Accuracy(0.7, 30)),
        ("drift", {}, Counted((EventKind.CONCEPT_DRIFT,), 1)),
        ("data_quality", {"n_events": 3}, Counted((EventKind.DATA_QUALITY,), 3)),
        ("age", {"max_age": 100}, Age(Spell(sessions=100))),
        (
            {"any": ["age", {"all": ["skill", "drift"]}]},
            {},
            AnyDue(
                (
                    Age(Spell(sessions=252)),
                    AllDue((Skill(0.7, 30), Counted((EventKind.CONCEPT_DRIFT,), 1))),
                )
            ),
        ),
    ],
)
def test_configuration_names_a_policy_or_a_composition(policy, fields, wish):
    assert policy_of(policy, **fields).wish == AnyDue((wish, Refused(Spell(sessions=40))))


def test_never_does_not_try_again_either():
    assert policy_of("never") == GuardedPolicy(Never())


def test_bounds_come_from_the_configuration():
    policy = policy_of("drift", cooldown=5, min_new_labels=7, max_trainings=9)

    assert (policy.cooldown, policy.min_new_labels, policy.max_trainings) == (5, 7, 9)


@pytest.mark.parametrize("policy", ["drift", "data_quality", {"any": ["skill", "drift"]}])
def test_policy_that_goes_by_monitoring_is_refused_where_it_is_off(policy):
    config = parse_config(
        ModelConfig, {"framework": "echo", "enable_monitoring": False, "retraining": {"policy": policy}}
    )

    with pytest.raises(ConfigError, match="enable_monitoring is false"):
        retraining_policy(config)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("skil", "Did you mean 'skill'"),
        ({"any": []}, "at least 1 item"),
        ({"some": ["skill"]}, "unknown key"),
    ],
)
def test_unknown_policy_is_refused_with_the_nearest(policy, said):
    with pytest.raises(ConfigError, match=said):
        policy_of(policy)


@pytest.mark.parametrize(
    ("spell", "text"),
    [(Spell.of(1), "1 session"), (Spell.of(1500), "1,500 sessions"), (Spell.of("36h"), "1.5 days")],
)
def test_spell_says_how_long_it_is(spell, text):
    assert str(spell) == text


def test_spell_is_exceeded_only_by_more():
    assert not Spell.of(5).is_exceeded(5, 9 * DAY)
    assert Spell.of(5).is_exceeded(6, 0 * DAY)
    assert not Spell.of("5D").is_exceeded(9, 5 * DAY)
    assert Spell.of("5D").is_exceeded(0, 5 * DAY + np.timedelta64(1, "ns"))
