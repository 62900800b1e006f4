"""An isolated model does what the same model does in this process, to the last bit."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import sklearn

from backtester_model_core.adapter import HeldBack
from backtester_model_core.exceptions import ArtifactError, ModelError, NotTrainedError
from backtester_model_core.factory import ModelFactory, create_model, load_config
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.runs import logging_into
from backtester_model_core.saving import code_facts
from backtester_model_core.streaming.answers import Answers
from backtester_model_core.testing import random_bars, synthetic_rows
from backtester_model_core.testing.contract.case import frame, series
from backtester_model_core.walkforward import walk_forward
from backtester_model_isolated.interpreters import INTERPRETERS, allow_interpreter

ADAPTER = plugins().adapter("isolated")
VALUES, TARGET = synthetic_rows(200, model_type="classification")
CLASSES = (0.0, 1.0)
SMALL = {"gate": {"mode": "off"}, "validation": {"train_size": 200, "test_size": 60}, "lookback_period": 5}


@pytest.fixture
def here(monkeypatch):
    """This very interpreter as the other environment, so that the two may be compared."""
    monkeypatch.setenv(INTERPRETERS, "")
    allow_interpreter(sys.executable)
    return {"framework": "isolated", "python": sys.executable, "adapter": "sklearn"}


def both(here, options, **fields):
    """Return the configuration of a model in another process, and of the same model in this one."""
    return load_config({**here, **fields, "options": options}), load_config(
        {"framework": "sklearn", **fields, **options}
    )


def trained(config, **options):
    adapter = plugins().adapter(config.framework)
    given = {"classes": CLASSES, "seed": 3, **options}
    return adapter.train_model(adapter.initialize_model(config), VALUES, TARGET, **given)


def asked(config, model, name="predict", *rows, **options):
    return getattr(plugins().adapter(config.framework), name)(model, *(rows or (VALUES,)), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"model_class": "LogisticRegression"},
        {"model_class": "RandomForestClassifier", "hyperparameters": {"n_estimators": 20}},
        {"model_class": "HistGradientBoostingClassifier", "hyperparameters": {"early_stopping": True}},
    ],
    ids=lambda options: options["model_class"],
)
def test_a_model_elsewhere_forecasts_what_it_forecasts_here(here, options):
    weight = np.linspace(0.5, 1.5, len(TARGET))
    later = HeldBack(VALUES[:50], TARGET[:50])

    answers = [
        asked(config, trained(config, weight=weight, validation=later)) for config in both(here, options)
    ]

    assert np.array_equal(*answers)


def test_a_training_goes_on_elsewhere_as_it_does_here(here):
    configs = both(here, {"model_class": "SGDClassifier", "hyperparameters": {"loss": "log_loss"}})

    updated = [
        asked(config, trained(config), "update_model", VALUES[:50], 1 - TARGET[:50], seed=4)
        for config in configs
    ]

    answers = [asked(config, model) for config, model in zip(configs, updated, strict=True)]
    assert np.array_equal(*answers)
    assert not np.array_equal(answers[0], asked(configs[0], trained(configs[0])))


def test_features_weigh_elsewhere_what_they_weigh_here(here):
    configs = both(here, {"model_class": "GaussianNB"})

    weights = [
        asked(config, trained(config), "feature_importance", VALUES, TARGET, seed=5) for config in configs
    ]

    assert weights[0].shape == (VALUES.shape[1],)
    assert np.array_equal(*weights)


def test_notes_of_a_training_come_along(here):
    elsewhere, in_process = both(here, {"model_class": "KNeighborsClassifier"})
    weight = np.ones(len(TARGET))

    notes = [ADAPTER.training_notes(trained(elsewhere, weight=weight))]
    notes.append(plugins().adapter("sklearn").training_notes(trained(in_process, weight=weight)))

    assert notes[0] == notes[1] != ()


def test_a_walk_forward_elsewhere_is_the_one_here(here):
    elsewhere, in_process = both(here, {"model_class": "LogisticRegression"}, **SMALL)
    bars = random_bars(500, momentum=0.2)

    results = [walk_forward(config, bars) for config in (elsewhere, in_process)]

    assert results[0].signals.equals(results[1].signals)
    assert results[0].verdict == results[1].verdict


def test_windows_in_worker_processes_are_those_of_one_process(allowed):
    fields = {"framework": "isolated", "python": allowed, "adapter": "windowed", **SMALL}
    bars = random_bars(500, momentum=0.2)

    results = [walk_forward(fields, bars, n_jobs=n_jobs) for n_jobs in (1, 2)]

    assert results[0].signals.equals(results[1].signals)
    assert results[0].signals["score"].notna().sum() > 200


# -- models that look back -------------------------------------------------------------------------------------------


@pytest.fixture
def windowed(allowed):
    return load_config({"framework": "isolated", "python": allowed, "adapter": "windowed"})


def looking_back(config, **options):
    ends = np.arange(4, len(VALUES))
    model = ADAPTER.initialize_model(config)
    return ADAPTER.train_model(
        model, VALUES, TARGET[ends], classes=CLASSES, seed=0, **{"ends": ends, **options}
    )


def test_rows_are_looked_back_on_elsewhere(windowed):
    chosen = np.array([10, 50, 199])
    model = looking_back(windowed)

    answer = ADAPTER.predict(model, VALUES, ends=chosen)

    assert ADAPTER.context_rows(windowed) == 4
    assert answer.shape == (3, 2)
    assert np.array_equal(answer[1:2], ADAPTER.predict(model, VALUES[46:51], ends=np.array([4])))


def test_later_rows_and_their_ends_reach_the_adapter(windowed):
    later = HeldBack(VALUES[:30], TARGET[4:30], np.arange(4, 30))

    model = looking_back(windowed, validation=later)

    assert ADAPTER.uses_validation(windowed)
    assert ADAPTER.training_notes(model) == ("26 later rows",)


def test_new_rows_and_features_to_weigh_come_with_their_ends(windowed):
    model, ends = looking_back(windowed), np.arange(4, 20)

    updated = ADAPTER.update_model(model, VALUES[:20], TARGET[ends], ends=ends)
    weights = ADAPTER.feature_importance(model, VALUES[:20], TARGET[ends], seed=7, ends=ends)

    assert ADAPTER.training_notes(updated) == ("16 new rows",)
    assert weights.min() > 7
    assert weights.shape == (VALUES.shape[1],)


# -- what only some adapters can -------------------------------------------------------------------------------------


def test_what_the_adapter_cannot_is_said_in_a_sentence(allowed):
    config = load_config({"framework": "isolated", "python": allowed, "adapter": "leastsquares"})
    model = trained(config)

    with pytest.raises(ModelError, match=r"'leastsquares' of .* does not weigh features"):
        ADAPTER.feature_importance(model, VALUES, TARGET)
    with pytest.raises(ModelError, match=r"cannot continue a training.*warm_start"):
        ADAPTER.update_model(model, VALUES, TARGET)
    assert not ADAPTER.can("compile_step")


def test_an_untrained_model_has_nothing_to_ask(allowed):
    config = load_config({"framework": "isolated", "python": allowed, "adapter": "leastsquares"})

    with pytest.raises(NotTrainedError, match="not trained"):
        ADAPTER.predict(ADAPTER.initialize_model(config), VALUES)


# -- models as data --------------------------------------------------------------------------------------------------


def test_a_model_is_its_adapters_own_files(here):
    elsewhere, in_process = both(here, {"model_class": "LogisticRegression"})

    files = ADAPTER.save_model(trained(elsewhere))

    back = (
        plugins()
        .adapter("sklearn")
        .load_model(files, in_process, n_features=VALUES.shape[1], classes=CLASSES)
    )
    assert np.array_equal(asked(in_process, back), asked(elsewhere, trained(elsewhere)))


def test_a_model_travels_without_its_process(allowed):
    config = load_config({"framework": "isolated", "python": allowed, "adapter": "leastsquares"})
    model = trained(config)

    twin = pickle.loads(pickle.dumps(model))

    assert twin == model
    assert np.array_equal(ADAPTER.predict(twin, VALUES), ADAPTER.predict(model, VALUES))


def test_more_models_than_are_kept_answer_each_for_itself(allowed):
    config = load_config({"framework": "isolated", "python": allowed, "adapter": "leastsquares"})
    model = trained(config)
    models = [model] + [
        ADAPTER.train_model(
            ADAPTER.initialize_model(config), VALUES[: 100 + n], TARGET[: 100 + n], classes=CLASSES
        )
        for n in range(300)
    ]

    first = ADAPTER.predict(models[0], VALUES)

    assert np.array_equal(first, ADAPTER.predict(trained(config), VALUES))
    assert not np.array_equal(first, ADAPTER.predict(models[1], VALUES))


def test_a_saved_model_is_asked_where_it_was_trained(allowed, tmp_path):
    model = create_model(load_config({"framework": "isolated", "python": allowed, "adapter": "leastsquares"}))
    model.train(frame(VALUES), series(TARGET))
    model.save(tmp_path)

    loaded = BaseModel.load(tmp_path)

    assert np.array_equal(loaded.predict(frame(VALUES)), model.predict(frame(VALUES)))


def test_a_saved_model_is_refused_where_its_interpreter_is_not_allowed(allowed, tmp_path, monkeypatch):
    model = create_model(load_config({"framework": "isolated", "python": allowed, "adapter": "leastsquares"}))
    model.train(frame(VALUES), series(TARGET))
    model.save(tmp_path)
    monkeypatch.setenv(INTERPRETERS, "")
    code = (
        "from backtester_model_core import BaseModel, BacktesterModelError\n"
        f"try: BaseModel.load({str(tmp_path)!r})\n"
        "except BacktesterModelError as error: print(error)"
    )

    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert "nobody here has allowed it to be started" in told


def test_a_damaged_file_is_refused_by_its_adapter(allowed):
    config = load_config({"framework": "isolated", "python": allowed, "adapter": "leastsquares"})
    files = ADAPTER.save_model(trained(config))

    with pytest.raises(ArtifactError, match=r"weights\.npz"):
        ADAPTER.load_model({"weights.npz": b"x"}, config, n_features=VALUES.shape[1], classes=CLASSES)
    with pytest.raises(ArtifactError, match="shape"):
        ADAPTER.load_model(files, config, n_features=2, classes=CLASSES)


def test_what_a_model_depends_on_is_named_as_it_is_installed_elsewhere(here):
    elsewhere, in_process = both(here, {"model_class": "LogisticRegression"})

    facts = code_facts(create_model(elsewhere))

    assert f"sklearn@scikit-learn {sklearn.__version__}" in facts["versions"]
    assert any(text.startswith("sklearn@code ") for text in facts["versions"])
    assert not any("@" in text for text in code_facts(create_model(in_process))["versions"])


def test_a_saved_model_names_the_versions_elsewhere_but_not_its_code(here, tmp_path):
    model = create_model(load_config({**here, "options": {"model_class": "LogisticRegression"}}))
    model.train(frame(VALUES), series(TARGET))
    model.save(tmp_path)

    manifest = next(tmp_path.rglob("manifest.json")).read_text()

    assert '"sklearn@scikit-learn"' in manifest
    assert '"sklearn@python"' in manifest
    assert "@code" not in manifest
    assert "@joblib" not in manifest


def test_logs_of_a_training_go_where_the_run_keeps_them(allowed, tmp_path):
    config = load_config(
        {
            "framework": "isolated",
            "python": allowed,
            "adapter": "moody",
            "options": {"mood": "logs"},
            "model_type": "regression",
        }
    )

    with logging_into(tmp_path / "logs"):
        trained(config, classes=None)

    assert (tmp_path / "logs" / "001" / "log.txt").read_text() == "trained"


def test_the_factory_lists_it_from_metadata_alone():
    listed = {info.name: info.distribution for info in ModelFactory.available()}

    assert listed["isolated"] == "backtester-model-isolated"


def test_a_stream_asks_one_row_at_a_time(allowed):
    config = load_config({"framework": "isolated", "python": allowed, "adapter": "leastsquares"})
    model = create_model(config)
    model.train(frame(VALUES), series(TARGET))

    foreseen = Answers(model).foresee(VALUES[0].tolist(), 1.0)

    assert foreseen.expected == pytest.approx(model.predict(frame(VALUES))[0], abs=1e-12)
    assert sum(foreseen.probability) == pytest.approx(1.0)
