"""Adapters of another environment: the tests lay this module down there, and never import it themselves."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Literal

import numpy as np
import pydantic

from backtester_model_core import ModelConfig, ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.artifacts import expect_files, pack_arrays, unpack_arrays
from backtester_model_core.exceptions import ArtifactError, TrainingError
from backtester_model_core.runs import new_log_folder

WEIGHTS = "weights.npz"


class LeastSquaresConfig(ModelConfig):
    framework: Literal["leastsquares"] = "leastsquares"
    ridge: float = pydantic.Field(default=0.0, ge=0)


class LeastSquares(ModelFrameworkAdapter):
    """A linear model by least squares."""

    config_class = LeastSquaresConfig

    def initialize_model(self, config):
        return {"ridge": getattr(config, "ridge", 0.0)}

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        root = np.ones(len(features)) if weight is None else np.sqrt(weight)
        design = np.column_stack([np.ones(len(features)), features]) * root[:, None]
        wanted = target if classes is None else np.eye(len(classes))[target]
        size = np.sqrt((design**2).sum(axis=0)) + 1e-300  # small features count, and constant ones do no harm
        gram = (design / size).T @ (design / size) + np.diag(model["ridge"] / size**2)
        solution = np.linalg.lstsq(gram, (design / size).T @ (wanted.T * root).T, rcond=None)[0]
        solution = (solution.T / size).T
        return {**model, "solution": solution}

    def predict(self, model, features):
        answer = model["solution"][0] + np.array(
            [(model["solution"][1:].T * row).sum(axis=-1) for row in features]
        )
        if model["solution"].ndim == 1:
            return answer
        probability = np.clip(answer, 0.01, 0.99)
        return probability / probability.sum(axis=1, keepdims=True)

    def training_notes(self, model):
        return ("solved",)

    def save_model(self, model):
        return {WEIGHTS: pack_arrays({"solution": model["solution"]})}

    def load_model(self, files, config, *, n_features, classes):
        expect_files(files, [WEIGHTS])
        arrays = unpack_arrays(files[WEIGHTS], name=WEIGHTS)
        width = () if classes is None else (len(classes),)
        if {name: array.shape for name, array in arrays.items()} != {"solution": (n_features + 1, *width)}:
            raise ArtifactError.in_file(WEIGHTS, "its shape is not that of the features and classes")
        return {**self.initialize_model(config), "solution": arrays["solution"]}


class WindowedConfig(ModelConfig):
    framework: Literal["windowed"] = "windowed"


class Windowed(SequenceAdapter):
    """A linear model of each row and of the mean of the four before it."""

    config_class = WindowedConfig

    def context_rows(self, config):
        return 4

    def uses_validation(self, config):
        return True

    def initialize_model(self, config):
        return LeastSquares().initialize_model(config)

    def train_model(
        self, model, features, target, *, ends=None, validation=None, classes=None, weight=None, seed=None
    ):
        later = () if validation is None else (f"{len(validation.target)} later rows",)
        trained = LeastSquares().train_model(
            model, windows(features, ends), target, classes=classes, weight=weight
        )
        return {**trained, "notes": later}

    def update_model(self, model, features, target, *, weight=None, seed=None, ends=None):
        return {**model, "solution": model["solution"] * 2, "notes": (f"{len(ends)} new rows",)}

    def predict(self, model, features, *, ends=None):
        return LeastSquares().predict(model, windows(features, ends))

    def feature_importance(self, model, features, target, *, seed=None, ends=None):
        moved = features[ends].std(axis=0) * np.abs(model["solution"][1:]).reshape(
            2, features.shape[1], -1
        ).sum(axis=(0, 2))
        return moved + (0.0 if seed is None else seed)

    def training_notes(self, model):
        return model.get("notes", ())

    def save_model(self, model):
        return LeastSquares().save_model(model)

    def load_model(self, files, config, *, n_features, classes):
        return LeastSquares().load_model(files, config, n_features=2 * n_features, classes=classes)


def windows(features, ends):
    return np.column_stack([features[ends], [features[end - 4 : end].mean(axis=0) for end in ends]])


class MoodyConfig(ModelConfig):
    framework: Literal["moody"] = "moody"
    mood: str = "calm"
    folder: str = ""


class Moody(LeastSquares):
    """What goes wrong in adapters, by a word in the configuration."""

    config_class = MoodyConfig

    def initialize_model(self, config):
        return {"ridge": 0.0, "mood": config.mood, "folder": config.folder}

    def train_model(self, model, features, target, **options):
        end_or_hang(model["mood"], model["folder"])
        match model["mood"]:
            case "prints":
                print("x" * 300_000)
                os.write(1, b"BMIP\x01\x00 not an answer" * 1000)
            case "refuses":
                raise TrainingError("These rows teach nothing.")
            case "breaks":
                raise KeyError("a column that nobody has")
            case "logs":
                (new_log_folder() / "log.txt").write_text("trained")
        return {**model, **LeastSquares().train_model(model, features, target, **options)}

    def predict(self, model, features):
        match model["mood"]:
            case "wide":
                return np.zeros((len(features), 7))
            case "killed later" if not os.path.exists(model["folder"]):
                os.mkdir(model["folder"])
                os.kill(os.getpid(), signal.SIGKILL)
            case "says who":
                return np.full(len(features), float(os.getpid()))
            case "says threads":
                return np.full(len(features), float(os.environ["OMP_NUM_THREADS"]))
        return super().predict(model, features)


def end_or_hang(mood, folder):
    """End the process, or keep it from answering, in moods like that."""
    match mood:
        case "killed":
            print("the last straw", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        case "killed once" if not os.path.exists(folder):
            os.mkdir(folder)
            os.kill(os.getpid(), signal.SIGKILL)
        case "exits":
            sys.exit(7)
        case "hangs":
            time.sleep(600)
        case "floods":
            while True:
                os.write(2, b"x" * 65_536)
        case "killed beside its worker":
            if os.fork() == 0:  # which has every file of this process open
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGKILL)
        case "busy with children":
            pids = [os.getpid(), os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)]
            with open(folder, "w") as file:
                print(*pids, file=file)
            time.sleep(600)


class Forgetful(LeastSquares):
    """An adapter that does not save its models."""

    config_class = ModelConfig
    save_model = ModelFrameworkAdapter.save_model
    load_model = ModelFrameworkAdapter.load_model
