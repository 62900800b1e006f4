"""The smallest whole adapter: it answers with what it was told, the mean of its training target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pydantic

from backtester_model_core.adapter import HeldBack, ModelFrameworkAdapter
from backtester_model_core.artifacts import expect_files, pack_json, unpack_json
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ArtifactError, NotTrainedError
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles, RowStep

HEARD = "heard.json"


class EchoModelConfig(ModelConfig):
    """A configuration for the echo adapter."""

    framework: Literal["echo"] = pydantic.Field(default="echo", description="Name of the adapter.")
    loudness: float = pydantic.Field(
        default=1.0, ge=0, le=1, description="Share of the mean that comes back."
    )


@dataclass(frozen=True)
class EchoModel:
    """What the echo adapter trains.

    Attributes:
        loudness: Share of the mean that comes back.
        said: Mean of the target, or share of each class; ``None`` before training.
    """

    loudness: float
    said: float | tuple[float, ...] | None = None


class EchoAdapter(ModelFrameworkAdapter[EchoModel]):
    """Learns the mean of the target, or the share of each class, and nothing from the features."""

    config_class = EchoModelConfig

    def initialize_model(self, config: ModelConfig) -> EchoModel:
        """Build a model that has heard nothing."""
        return EchoModel(config.loudness if isinstance(config, EchoModelConfig) else 1.0)

    def train_model(
        self,
        model: EchoModel,
        features: FloatArray,  # noqa: ARG002 - an echo hears only the target
        target: FloatArray | IntArray,
        *,
        classes: tuple[float, ...] | None = None,
        weight: FloatArray | None = None,
        validation: HeldBack | None = None,  # noqa: ARG002
        seed: int | None = None,  # noqa: ARG002 - nothing is random
    ) -> EchoModel:
        """Remember the mean, or the shares."""
        if classes is None:
            return replace(model, said=float(np.average(target, weights=weight)) * model.loudness)
        shares = np.bincount(target.astype(np.int64), weights=weight, minlength=len(classes))
        even = np.full(len(classes), 1 / len(classes))
        mixed = model.loudness * shares / shares.sum() + (1 - model.loudness) * even
        return replace(model, said=tuple(mixed.tolist()))

    def predict(self, model: EchoModel, features: FloatArray) -> FloatArray:
        """Repeat it for every row."""
        if isinstance(model.said, tuple):
            return np.tile(np.asarray(model.said), (len(features), 1))
        return np.full(len(features), np.nan if model.said is None else model.said)

    def compile_step(self, model: EchoModel) -> RowStep:
        """Repeat it for one row."""
        said = model.said
        if said is None:
            raise NotTrainedError.before("echo", "answer")
        return lambda row: said  # noqa: ARG005 - an echo hears only the target

    def save_model(self, model: EchoModel) -> ModelFiles:
        """Write down what was heard."""
        return {HEARD: pack_json({"said": model.said})}

    def load_model(
        self,
        files: ModelFiles,
        config: ModelConfig,
        *,
        n_features: int,  # noqa: ARG002 - an echo hears only the target
        classes: tuple[float, ...] | None,
    ) -> EchoModel:
        """Remember it, where it is one number, or one for each class."""
        expect_files(files, [HEARD])
        heard = unpack_json(files[HEARD], name=HEARD)
        said = heard.get("said") if isinstance(heard, dict) else None
        if isinstance(said, float) and classes is None:
            return replace(self.initialize_model(config), said=said)
        if isinstance(said, list) and [type(share) for share in said] == [float] * len(classes or ()):
            return replace(self.initialize_model(config), said=tuple(said))
        raise ArtifactError.in_file(HEARD, f"it does not hold one number for each of the classes {classes}")
