"""What an ML framework must answer to be used here: three methods, and a few more by choice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, NamedTuple, TypeVar

from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError, ModelError
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles, RowStep

NativeT = TypeVar("NativeT")
ConfigT = TypeVar("ConfigT", bound=ModelConfig)

API_LEVEL = 1
"""The adapter interface that this core speaks. It rises with what an adapter must do or may be given."""

OLDEST_API_LEVEL = 1
"""The oldest interface whose adapters this core uses as they are: the one before its own, at least."""


class HeldBack(NamedTuple):
    """Later rows to stop early by.

    Attributes:
        features: (n, p) complete rows.
        target: (m,) class positions or values.
        ends: (m,) positions in ``features`` of the rows that the target belongs to, for a
            :class:`SequenceAdapter` that looks back; else ``None``, and m is n.
    """

    features: FloatArray
    target: FloatArray | IntArray
    ends: IntArray | None = None


class ModelFrameworkAdapter(ABC, Generic[NativeT]):
    """Builds, trains and asks one framework's models; holds no state of its own.

    The native model carries everything fitted, its preprocessing included. Rows that reach an adapter are
    complete: no NaN, no infinity. For a classifier the target is the position of each row's class in the fixed
    order of ``classes``, and forecasts are one column of probability for each class in that order.

    Attributes:
        config_class: The framework's own configuration class.
        api: The interface level that the adapter was written for; one that does not say is of the first.
    """

    config_class: ClassVar[type[ModelConfig]] = ModelConfig
    api: ClassVar[int] = 1

    @abstractmethod
    def initialize_model(self, config: ModelConfig) -> NativeT:
        """Build an untrained native model, and refuse hyper-parameters that it does not have.

        Raises:
            ConfigError: When the configuration names something that the framework does not know.
        """

    @abstractmethod
    def train_model(
        self,
        model: NativeT,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        classes: tuple[float, ...] | None = None,
        weight: FloatArray | None = None,
        validation: HeldBack | None = None,
        seed: int | None = None,
    ) -> NativeT:
        """Fit a native model and return it.

        Args:
            model: What ``initialize_model`` returned.
            features: (n, p) complete rows in order of time.
            target: (n,) class positions, or values for regression.
            classes: The classes' own values in the fixed order; ``None`` for regression.
            weight: (n,) sample weights, or ``None``.
            validation: Later rows to stop early by; only when ``uses_validation``.
            seed: Seed for everything random.
        """

    @abstractmethod
    def predict(self, model: NativeT, features: FloatArray) -> FloatArray:
        """Return (n,) values for regression, or (n, n_classes) probabilities in the fixed class order."""

    def uses_validation(self, config: ModelConfig) -> bool:
        """Say whether training wants later rows to stop early by."""
        return False

    def versions(self, config: ModelConfig) -> tuple[str, ...]:
        """Name what forecasts depend on beside what is installed here, such as ``tensorflow@keras 3.15.1``."""
        return ()

    def training_notes(self, model: NativeT) -> tuple[str, ...]:
        """Say what is worth knowing about a trained model: a missing class, a convergence warning."""
        return ()

    def feature_importance(
        self,
        model: NativeT,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        seed: int | None = None,
    ) -> FloatArray:
        """Return (p,) how much each feature matters to a trained model; optional.

        Args:
            model: A trained native model.
            features: (n, p) rows on which importance may be measured.
            target: (n,) their class positions or values.
            seed: Seed of a permutation.
        """
        raise _cannot(self, "feature_importance")

    def update_model(
        self,
        model: NativeT,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        weight: FloatArray | None = None,
        seed: int | None = None,
    ) -> NativeT:
        """Continue the training of a trained model on new rows; optional."""
        raise _cannot(self, "update_model")

    def compile_step(self, model: NativeT) -> RowStep:
        """Return a function that answers one row at a time, for live bars; optional.

        It takes the p values of one complete row as a list of floats; for a :class:`SequenceAdapter` that looks
        back a (context_rows + 1, p) float64 array instead, the oldest row first. It returns a float for
        regression, else a sequence with the probability of each class in the fixed order, as ``predict`` would
        within 1e-6, or within that share of a value above one. It may be slow to make, so it is made once for
        each trained model, and must be fast to call. It may keep buffers, so one thread at a time calls it.

        Raises:
            ModelError: When this model has no such form; it is then asked through ``predict``.
        """
        raise _cannot(self, "compile_step")

    def save_model(self, model: NativeT) -> ModelFiles:
        """Return a trained model as named files of plain data; optional, and only together with ``load_model``.

        An adapter does not touch the disk. The core bounds, writes, hashes and syncs what is returned here, and
        hands ``load_model`` the very bytes whose digests it has verified.

        Names are lower case, ``[a-z0-9_][a-z0-9_.-]{0,63}``; ``manifest.json`` and names that begin with ``core.``
        are taken. Whatever ``predict`` needs and the configuration does not say goes into a file: fitted
        preprocessing, weights, shapes. Nothing may run code when it is read, so no pickle in any form:
        ``artifacts.pack_arrays`` and ``artifacts.pack_json`` write arrays and plain values.

        Raises:
            ModelError: When this model cannot be written as data; the message says which part.
        """
        raise _cannot(self, "save_model")

    def load_model(
        self,
        files: ModelFiles,
        config: ModelConfig,
        *,
        n_features: int,
        classes: tuple[float, ...] | None,
    ) -> NativeT:
        """Rebuild a trained model in a process that has nothing but its files; optional.

        The digests show that the files are those that were saved, not that whoever saved them meant well: check
        the set of names, every shape, index and type before it is used. Forecasts must equal, bit for bit, those
        of the model that was saved.

        Args:
            files: What ``save_model`` returned, verified; ``artifacts.expect_files`` checks the names.
            config: The configuration that the model was trained by.
            n_features: Number of columns that it was trained on.
            classes: The classes' own values in the fixed order; ``None`` for regression.

        Raises:
            ArtifactError: When a file is missing, foreign or inconsistent; ``ArtifactError.in_file`` names it.
        """
        raise _cannot(self, "load_model")

    def can(self, capability: str) -> bool:
        """Say whether the adapter fills in an optional method, such as ``update_model``."""
        own = getattr(type(self), capability, None)
        return own is not None and own is not getattr(ModelFrameworkAdapter, capability, None)


class SequenceAdapter(ModelFrameworkAdapter[NativeT]):
    """An adapter whose models may look back over rows: recurrent networks, filters.

    Where ``context_rows`` is 0 it is asked as any other. Else features come symbol by symbol, each symbol's rows
    in order of time, with rows that are only there to be looked back on; and ``ends`` says which rows are to be
    learned from or answered. The ``context_rows`` rows before an end are of its symbol, complete, and follow
    each other without a gap, so that a window is a slice: ``features[end - context_rows : end + 1]``. What is
    fitted to rows, such as a mean, should be fitted to the rows at ``ends``. ``update_model`` and
    ``feature_importance``, if it has them, take ``ends`` too.
    """

    @abstractmethod
    def context_rows(self, config: ModelConfig) -> int:
        """Return how many rows of its symbol before a row its forecast needs, the row itself not counted."""

    @abstractmethod
    def train_model(
        self,
        model: NativeT,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        classes: tuple[float, ...] | None = None,
        weight: FloatArray | None = None,
        validation: HeldBack | None = None,
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> NativeT:
        """Fit a native model and return it.

        Args:
            model: What ``initialize_model`` returned.
            features: (N, p) complete rows, symbol by symbol, in order of time.
            target: (m,) class positions, or values for regression.
            classes: The classes' own values in the fixed order; ``None`` for regression.
            weight: (m,) sample weights, or ``None``.
            validation: Later rows to stop early by; only when ``uses_validation``.
            seed: Seed for everything random.
            ends: (m,) positions in ``features`` of the rows that targets and weights belong to; ``None`` where
                nothing is looked back on, and every row is learned from.
        """

    @abstractmethod
    def predict(self, model: NativeT, features: FloatArray, *, ends: IntArray | None = None) -> FloatArray:
        """Return one answer for each of ``ends``, or for each row where it is ``None``."""


def expect_config(config: ModelConfig, wanted: type[ConfigT]) -> ConfigT:
    """Return a configuration that is of an adapter's own class.

    Raises:
        ConfigError: When it is of another.
    """
    if not isinstance(config, wanted):
        framework = wanted.model_fields["framework"].default
        raise ConfigError(
            f"Framework {framework!r} takes a {wanted.__name__}, not a {type(config).__name__}."
        )
    return config


def level_fault(api: object) -> str | None:
    """Say why this core cannot use adapters of an interface level, and what to upgrade; ``None`` where it can."""
    if type(api) is not int:
        return f"has the interface level {api!r}, which is no whole number. Write api = {API_LEVEL}"
    if api > API_LEVEL:
        return (
            f"speaks interface level {api}, this core up to {API_LEVEL}. "
            "Try: pip install --upgrade backtester-model-core"
        )
    if api < OLDEST_API_LEVEL:
        return (
            f"speaks interface level {api}, this core {OLDEST_API_LEVEL} to {API_LEVEL}. "
            "Upgrade the package that brings the adapter"
        )
    return None


def _cannot(adapter: ModelFrameworkAdapter[NativeT], capability: str) -> ModelError:
    return ModelError(
        f"{type(adapter).__name__} does not have {capability}. Ask adapter.can({capability!r}) before calling it."
    )
