"""The contract that every adapter keeps: inherit :class:`AdapterContract`, name the framework, run pytest."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from backtester_model_core.adapter import API_LEVEL, ModelFrameworkAdapter
from backtester_model_core.config import ModelConfig, parse_config
from backtester_model_core.exceptions import (
    BacktesterModelError,
    ConfigError,
    FeatureMismatchError,
    NotTrainedError,
    OneClassError,
)
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.signals import ModelSignalType
from backtester_model_core.testing.lookahead import find_future_leaks, find_truncation_leaks
from backtester_model_core.testing.samples import random_bars, synthetic_rows
from backtester_model_core.testing.saved import SavedModelChecks
from backtester_model_core.testing.specimens import (
    STEP_TOLERANCE,
    TOLERANCE,
    ask_native,
    ask_step,
    classes_of,
    context_of,
    frame,
    lean_of,
    series,
    train_native,
)
from backtester_model_core.typing import FloatArray

N_TRAIN = 400


class AdapterContract(SavedModelChecks):
    """Checks that an adapter keeps its promises; each check's docstring says what to look at when it fails.

    Attributes:
        framework: The framework's name.
        classification: Fields of a classifier's configuration, beside ``framework``; ``None`` where the
            framework has none.
        regression: Fields of a regression's configuration, beside ``framework``; ``None`` where it has none.
        learns: Whether the configured models can learn a linear rule from 400 rows.
    """

    framework: ClassVar[str]
    classification: ClassVar[Mapping[str, Any] | None] = {}
    regression: ClassVar[Mapping[str, Any] | None] = {}
    learns: ClassVar[bool] = True

    # -- the package ----------------------------------------------------------------------------------------------

    def test_framework_is_listed(self) -> None:
        """Look at the entry point in pyproject.toml: its name is the framework's."""
        names = [info.name for info in plugins().listing() if info.kind == "adapter"]

        assert self.framework in names

    def test_adapter_speaks_this_interface(self) -> None:
        """Look at the adapter's ``api`` and at the methods that it fills in."""
        assert isinstance(self.adapter, ModelFrameworkAdapter)
        assert self.adapter.api == API_LEVEL

    def test_configuration_round_trips(self) -> None:
        """Look at fields whose JSON form does not validate again."""
        for config in self.configs():
            again = parse_config(type(config), config.model_dump(mode="json"))

            assert again == config

    def test_unknown_key_is_refused(self) -> None:
        """Look at the configuration class: it must keep ``extra="forbid"``."""
        fields = {**self.fields()[0], "no_such_option": 1}

        assert _error_of(lambda: load_config(fields), ConfigError, "no_such_option")

    def test_configuration_is_frozen(self) -> None:
        """Look at the configuration class: it must keep ``frozen=True``."""
        config = self.configs()[0]

        assert config.model_config.get("frozen") is True

    # -- forecasts ------------------------------------------------------------------------------------------------

    def test_predict_before_train_is_refused(self) -> None:
        """Look at an adapter that keeps state of its own."""
        for config in self.configs():
            features = frame(synthetic_rows(10)[0])

            assert _error_of(
                lambda c=config, f=features: create_model(c).predict(f), NotTrainedError, "train"
            )

    def test_forecasts_have_one_finite_row_each(self) -> None:
        """Look at what ``predict`` returns: (n,) or (n, n_classes), finite."""
        for model, features in self.trained():
            prediction = model.predict_distribution(features)

            assert prediction.expected.shape == (len(features),)
            assert np.isnan(prediction.expected[: model.context_rows]).all()
            assert np.isfinite(prediction.expected[model.context_rows :]).all()

    def test_probabilities_are_probabilities(self) -> None:
        """Look at the columns that ``predict`` returns: one a class, between 0 and 1, summing to 1."""
        for model, features in self.trained(classifiers_only=True):
            probability = model.predict_distribution(features).probability

            assert probability is not None
            probability = probability[model.context_rows :]
            assert ((probability >= 0) & (probability <= 1)).all()
            assert np.allclose(probability.sum(axis=1), 1.0)

    def test_incomplete_rows_are_nan_and_change_no_other(self) -> None:
        """Look at rows that depend on other rows of the same call."""
        for model, features in self.trained():
            hole = model.context_rows + 3
            holed = features.copy()
            holed.iloc[hole, 1] = np.nan
            whole, partial = model.predict(features), model.predict(holed)
            looks_at_it = slice(hole, hole + model.context_rows + 1)
            whole[looks_at_it] = np.nan

            assert np.isnan(partial[looks_at_it]).all()
            assert _close(partial, whole)

    def test_batch_equals_row_by_row(self) -> None:
        """Look at statistics taken over the rows of a call, such as a scaler fitted in ``predict``."""
        for model, features in self.trained():
            n_context = model.context_rows
            rows = range(n_context, n_context + 20)
            batch = model.predict(features.iloc[: rows.stop])[n_context:]
            single = [model.predict(features.iloc[row - n_context : row + 1])[-1] for row in rows]

            assert _close(batch, single)

    def test_compiled_step_answers_as_predict_does(self) -> None:
        """Look at what ``compile_step`` leaves out: preprocessing, the target's scale, the order of classes."""
        for config in self.configs():
            values, target = self.rows(config)
            native = train_native(self.adapter, config, values, target, classes=classes_of(config))
            stepped = ask_step(self.adapter, config, native, values)
            asked = ask_native(self.adapter, config, native, values)

            assert stepped is None or np.allclose(stepped, asked, rtol=STEP_TOLERANCE, atol=STEP_TOLERANCE)

    def test_outlier_in_served_rows_changes_no_other(self) -> None:
        """Look at a scaler that is fitted, or fitted again, outside training."""
        for model, features in self.trained():
            spiked = features.copy()
            spiked.iloc[0] = 1e6
            whole, other = model.predict(features), model.predict(spiked)

            apart = slice(model.context_rows + 1, None)
            assert _close(whole[apart], other[apart])

    def test_column_order_does_not_matter(self) -> None:
        """Look at an adapter that goes round ``BaseModel.predict``."""
        for model, features in self.trained():
            turned = features[features.columns[::-1]]

            assert np.array_equal(model.predict(features), model.predict(turned), equal_nan=True)

    def test_missing_and_extra_columns_are_named(self) -> None:
        """Look at an adapter that goes round ``BaseModel.predict``."""
        for model, features in self.trained():
            renamed = features.rename(columns={"f1": "g1"})

            assert _error_of(lambda m=model, f=renamed: m.predict(f), FeatureMismatchError, "f1", "g1")

    # -- training -------------------------------------------------------------------------------------------------

    def test_inputs_are_not_changed(self) -> None:
        """Look at in-place preprocessing."""
        for config in self.configs():
            values, target = self.rows(config)
            before = values.copy(), target.copy()
            model = self.train(config, values, target)
            model.predict(frame(values))

            assert np.array_equal(values, before[0])
            assert np.array_equal(target, before[1])

    def test_read_only_arrays_are_enough(self) -> None:
        """Look at in-place preprocessing and at compiled code that asks for writable memory."""
        for config in self.configs():
            values, target = self.rows(config)
            values.flags.writeable = target.flags.writeable = False
            native = train_native(self.adapter, config, values, target, classes=classes_of(config))
            answer = ask_native(self.adapter, config, native, values)

            assert len(answer) == len(values) - context_of(self.adapter, config)

    def test_same_seed_gives_the_same_model(self) -> None:
        """Look at randomness that does not come from ``seed``."""
        for config in self.configs():
            values, target = self.rows(config)
            first, second = (self.train(config, values, target).predict(frame(values)) for _ in range(2))

            assert np.array_equal(first, second, equal_nan=True)

    def test_training_twice_equals_training_once(self) -> None:
        """Look at state that survives in the adapter, or a warm start nobody asked for."""
        for config in self.configs():
            values, target = self.rows(config)
            model = self.train(config, values, target)
            once = model.predict(frame(values))
            model.train(frame(values), series(target))

            assert np.array_equal(once, model.predict(frame(values)), equal_nan=True)

    def test_failed_training_leaves_the_model_as_it_was(self) -> None:
        """Look at an adapter that changes the given model before it is trained."""
        for config in self.configs(classifiers_only=True):
            values, target = self.rows(config)
            model = self.train(config, values, target)
            before = model.predict(frame(values))
            refused = _error_of(
                lambda m=model, v=values: m.train(frame(v), series(np.zeros(len(v)))),
                OneClassError,
                "class",
            )

            assert refused
            assert np.array_equal(before, model.predict(frame(values)), equal_nan=True)

    def test_class_missing_from_training_keeps_its_column(self) -> None:
        """Look at how forecasts are put into the fixed class order: a class never seen is all but impossible."""
        for config in self.configs(classifiers_only=True):
            values, target = self.rows(config)
            native = train_native(self.adapter, config, values, target + 1, classes=(-1.0, 0.0, 1.0))
            probability = ask_native(self.adapter, config, native, values)

            assert probability.shape == (len(values) - context_of(self.adapter, config), 3)
            assert (probability[:, 0] < 0.1).all()

    def test_sample_weights_are_honoured_or_declared(self) -> None:
        """Look at ``weight``: rows of weight near zero must not decide, or ``training_notes`` must say so."""
        for config in self.configs():
            values, target = self.rows(config)
            flipped = np.concatenate([target, 1 - target if classes_of(config) else -target])
            doubled = np.concatenate([values, values])
            weight = np.repeat([1.0, 1e-6], len(target))
            classes = classes_of(config)
            native = train_native(self.adapter, config, doubled, flipped, classes=classes, weight=weight)
            plain = train_native(self.adapter, config, values, target, classes=classes)
            first, second = (lean_of(self.adapter, config, model, values) for model in (native, plain))
            agrees = np.corrcoef(first, second)[0, 1]
            declared = any("weight" in note for note in self.adapter.training_notes(native))

            assert declared or not self.learns or agrees > 0.8

    def test_model_travels_to_a_worker(self) -> None:
        """Look at what cannot be pickled: open files, local functions, a plugin manager."""
        for model, features in self.trained():
            twin = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes, as joblib sends them

            assert np.array_equal(model.predict(features), twin.predict(features), equal_nan=True)

    # -- skill ----------------------------------------------------------------------------------------------------

    def test_what_can_be_learned_is_learned(self) -> None:
        """Look at targets, weights or columns in another order than the rows."""
        for config in self.configs():
            values, target = self.rows(config, n_rows=2 * N_TRAIN)
            model = self.train(config, values[:N_TRAIN], target[:N_TRAIN])
            forecast, outcome = _known(model.predict(frame(values[N_TRAIN:])), target[N_TRAIN:])

            assert not self.learns or np.corrcoef(forecast, outcome)[0, 1] > 0.5

    def test_noise_is_not_learned(self) -> None:
        """Look at training rows that come back in the forecasts."""
        for config in self.configs():
            values, target = self.rows(config, n_rows=5 * N_TRAIN, signal=0.0)
            model = self.train(config, values[:N_TRAIN], target[:N_TRAIN])
            forecast, outcome = _known(model.predict(frame(values[N_TRAIN:])), target[N_TRAIN:])
            spread = forecast.std()

            assert spread == 0 or abs(np.corrcoef(forecast, outcome)[0, 1]) < 0.1

    # -- the clock ------------------------------------------------------------------------------------------------

    def test_truncated_bars_change_nothing_before(self) -> None:
        """Look at features, forecasts or signals that depend on later rows of the same call."""
        bars = random_bars(160, seed=1)
        for model in self.trained_on_bars(bars):

            def signals(given: pd.DataFrame, model: BaseModel = model) -> pd.DataFrame:
                return model.generate_signals(given)[["confidence", "score"]]

            def features(given: pd.DataFrame, model: BaseModel = model) -> pd.DataFrame:
                return model.prepare(given).features

            cuts = range(100, 160, 7)
            assert find_truncation_leaks(features, bars, cuts=cuts) == []
            assert find_truncation_leaks(signals, bars, cuts=cuts, tolerance=TOLERANCE) == []

    def test_another_future_changes_nothing_before(self) -> None:
        """Look at features, forecasts or signals that depend on later rows of the same call."""
        bars = random_bars(160, seed=2)
        for model in self.trained_on_bars(bars):

            def signals(given: pd.DataFrame, model: BaseModel = model) -> pd.DataFrame:
                return model.generate_signals(given)[["confidence", "score"]]

            assert find_future_leaks(signals, bars, cuts=(90, 120), tolerance=TOLERANCE) == []

    def test_every_bar_has_a_signal(self) -> None:
        """Look at an extension that drops rows."""
        bars = random_bars(160, seed=3)
        for model in self.trained_on_bars(bars):
            signals = model.generate_signals(bars)

            assert signals.index.equals(bars.index)
            assert set(signals["signal"]) <= {str(name) for name in ModelSignalType}
            assert (signals.loc[signals["signal"] == "NEUTRAL", "reason"] != "").all()

    # -- what the checks share --------------------------------------------------------------------------------------

    @property
    def adapter(self) -> ModelFrameworkAdapter[Any]:
        """The adapter as a user gets it."""
        return plugins().adapter(self.framework)

    def fields(self, *, classifiers_only: bool = False) -> list[dict[str, Any]]:
        """Return the fields of each configuration that the framework offers."""
        offered: list[dict[str, Any]] = []
        if self.classification is not None:
            offered.append(
                {"framework": self.framework, "model_type": "classification", **self.classification}
            )
        if self.regression is not None and not classifiers_only:
            offered.append({"framework": self.framework, "model_type": "regression", **self.regression})
        return offered

    def configs(self, *, classifiers_only: bool = False) -> list[ModelConfig]:
        """Return each configuration that the framework offers."""
        return [load_config(fields) for fields in self.fields(classifiers_only=classifiers_only)]

    def rows(self, config: ModelConfig, *, n_rows: int = N_TRAIN, signal: float = 2.0) -> tuple[Any, Any]:
        """Return seeded rows for a configuration."""
        return synthetic_rows(n_rows, model_type=config.model_type, signal=signal)

    def train(self, config: ModelConfig, values: FloatArray, target: Any) -> BaseModel:
        """Train a model on rows."""
        model = create_model(config)
        model.train(frame(values), series(target))
        return model

    def trained(self, *, classifiers_only: bool = False) -> list[tuple[BaseModel, pd.DataFrame]]:
        """Return each configuration's trained model with features that it has not seen."""
        models = []
        for config in self.configs(classifiers_only=classifiers_only):
            values, target = self.rows(config, n_rows=N_TRAIN + 50)
            models.append((self.train(config, values[:N_TRAIN], target[:N_TRAIN]), frame(values[N_TRAIN:])))
        return models

    def trained_on_bars(self, bars: pd.DataFrame) -> list[BaseModel]:
        """Return each configuration's model, trained on the first part of some bars."""
        models = []
        for fields in self.fields():
            model = create_model(load_config({**fields, "confidence_threshold": 0.5}))
            dataset = model.prepare(bars)
            known = dataset.is_complete & dataset.is_labelled & (np.arange(len(bars)) < 90)
            model.train_dataset(dataset.take(known))
            models.append(model)
        return models


def _close(first: FloatArray, second: FloatArray | list[float]) -> bool:
    """Say whether forecasts are the same, but for the last digits that depend on the size of a batch."""
    return np.allclose(first, second, rtol=0, atol=TOLERANCE, equal_nan=True)


def _known(forecast: FloatArray, outcome: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return forecasts that were given, and their outcomes."""
    given = ~np.isnan(forecast)
    return forecast[given], outcome[given]


def _error_of(call: Any, expected: type[BacktesterModelError], *words: str) -> bool:
    """Say whether a call is refused with the expected error, whose message has all the words."""
    try:
        call()
    except expected as error:
        return all(word in str(error) for word in words)
    return False
