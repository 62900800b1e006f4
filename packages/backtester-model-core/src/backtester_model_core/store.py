"""Named models on a local folder, each in versions: trained in one process, served in another."""

from __future__ import annotations

from pathlib import Path

from backtester_model_core.artifacts import Manifest, VersionFolder
from backtester_model_core.exceptions import ArtifactError, nearest
from backtester_model_core.model import BaseModel
from backtester_model_core.saving import OtherVersions, to_artifact


class ModelStore:
    """A folder of named models, each with its versions and one of them in force.

    Several processes may publish to one store: each version gets a number of its own, none is lost, and nobody
    sees half of one. A model's name is its configuration's ``model_name``.

    Args:
        folder: Where the models are; publishing makes it when it is not there.

    Example:
        >>> store = ModelStore("models")                     # doctest: +SKIP
        >>> version = store.publish(model)                   # doctest: +SKIP
        >>> store.promote("spy", version)                    # doctest: +SKIP
        >>> store.load("spy").generate_signals(bars)         # doctest: +SKIP
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def names(self) -> list[str]:
        """Return the names of the models that have a version."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if VersionFolder(path).versions())

    def publish(self, model: BaseModel) -> int:
        """Add a trained model as a new version and return its number; the version in force stays.

        Raises:
            NotTrainedError: Before training.
            ModelError: When the model cannot be written as data.
            ArtifactError: When the folder cannot be written.
        """
        return VersionFolder(self.folder / model.config.model_name).publish(to_artifact(model))

    def versions(self, name: str) -> tuple[int, ...]:
        """Return the numbers of a model's versions, oldest first."""
        return self._of(name).versions()

    def latest(self, name: str) -> int:
        """Return the number of a model's newest version, in force or not."""
        return self._of(name).versions()[-1]

    def current(self, name: str) -> int | None:
        """Return the number of the version in force; ``None`` before the first was promoted."""
        return self._of(name).current()

    def promote(self, name: str, version: int) -> None:
        """Put a version in force.

        Raises:
            ArtifactError: When there is no such version.
        """
        self._of(name).promote(version)

    def roll_back(self, name: str) -> int:
        """Put the version in force that was so before the current one, and return its number.

        Raises:
            ArtifactError: When there was none.
        """
        return self._of(name).roll_back()

    def manifest(self, name: str, version: int | None = None) -> Manifest:
        """Return what a version says of itself, by default the one in force, once its files are verified."""
        return self._of(name).read(version).manifest

    def load(
        self, name: str, version: int | None = None, *, on_other_versions: OtherVersions = "error"
    ) -> BaseModel:
        """Load a version, by default the one in force, as :meth:`BaseModel.load` does.

        Raises:
            ArtifactError: When there is none, or it must be refused.
        """
        folder = self._of(name).path
        return BaseModel.load(folder, version=version, on_other_versions=on_other_versions)

    def _of(self, name: str) -> VersionFolder:
        known = self.names()
        if name not in known:
            raise ArtifactError(f"{self.folder} has no model {name!r}. {nearest(name, known)}")
        return VersionFolder(self.folder / name)
