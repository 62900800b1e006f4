"""What several rooms' tests share: plugins without discovery, with a model that learns, in force for one test."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.artifacts import expect_files, pack_arrays, unpack_arrays
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.testing import EchoAdapter

try:  # where joblib finds it, which depends on joblib's version
    import cloudpickle
except ImportError:
    from joblib.externals import cloudpickle

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a fresh process cannot import a conftest


class LeastSquaresAdapter(ModelFrameworkAdapter[dict[str, Any]]):
    """A linear model by least squares on standardised features; its classifier is a clipped linear probability."""

    def initialize_model(self, config):
        return {}

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        deviation[deviation == 0] = 1.0
        design = np.column_stack([np.ones(len(features)), (features - mean) / deviation])
        root = np.ones(len(features)) if weight is None else np.sqrt(weight)
        wanted = target if classes is None else np.eye(len(classes))[target]
        solution = np.linalg.lstsq(design * root[:, None], (wanted.T * root).T, rcond=None)[0]
        return {"mean": mean, "deviation": deviation, "solution": solution, "classes": classes}

    def predict(self, model, features):
        # one row at a time: a matrix product differs in the last digits between batches of different length
        rows = (features - model["mean"]) / model["deviation"]
        answer = np.array(
            [model["solution"][0] + (model["solution"][1:].T * row).sum(axis=-1) for row in rows]
        )
        if model["classes"] is None:
            return answer
        clipped = np.clip(answer, 0.01, 0.99)
        return clipped / clipped.sum(axis=1, keepdims=True)

    def save_model(self, model):
        arrays = {name: value for name, value in model.items() if name != "classes"}
        return {"weights.npz": pack_arrays(arrays)}

    def load_model(self, files, config, *, n_features, classes):
        expect_files(files, ["weights.npz"])
        model = unpack_arrays(files["weights.npz"], name="weights.npz")
        width = () if classes is None else (len(classes),)
        wanted = {"mean": (n_features,), "deviation": (n_features,), "solution": (n_features + 1, *width)}
        if {name: array.shape for name, array in model.items()} != wanted:
            raise ArtifactError.in_file("weights.npz", "its arrays do not have the shapes of the features")
        return {**model, "classes": classes}


@pytest.fixture
def own_plugins() -> Iterator[Plugins]:
    """Plugins that know the echo adapter and a least-squares adapter and nothing that happens to be installed."""
    with use_plugins(Plugins(discover=False, environ={})) as own:
        own.register_adapter("echo", EchoAdapter)
        own.register_adapter("least_squares", LeastSquaresAdapter)
        yield own


@pytest.fixture
def linear_config(own_plugins: Plugins) -> ModelConfig:
    """A small walk-forward of the least-squares classifier, with thresholds low enough to see signals."""
    return ModelConfig(
        framework="least_squares",
        lookback_period=5,
        confidence_threshold=0.5,
        features={
            "sets": (),
            "expressions": {"r1": "close / ref(close, 1) - 1", "r5": "close / ref(close, 5) - 1"},
        },
        validation={"train_size": 120, "test_size": 40},
        gate={"mode": "off"},
    )
