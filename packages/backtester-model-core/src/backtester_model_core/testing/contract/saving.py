"""Checks of saved models: whole, the same after loading, and never trusted for what they claim to be."""

from __future__ import annotations

import pickle
from pathlib import Path

from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.model import BaseModel
from backtester_model_core.testing.contract.adapter_checks import AdapterChecks, Trained
from backtester_model_core.testing.contract.case import error_of, same
from backtester_model_core.testing.contract.contract import check
from backtester_model_core.typing import ModelFiles


class SavingChecks(AdapterChecks):
    """Checks of ``save_model`` and ``load_model``."""

    @check
    def test_saving_and_loading_come_together(self) -> None:
        """Look at an adapter that fills in one of ``save_model`` and ``load_model``."""
        assert self.adapter.can("save_model") == self.adapter.can("load_model")

    @check
    def test_saved_files_are_plain_bytes(self) -> None:
        """Look at what ``save_model`` returns: bytes by lower-case names, and no pickle."""
        for trained in self.savable():
            files = self.adapter.save_model(trained.model.native)

            assert files
            assert all(name == name.lower() for name in files)
            assert all(isinstance(content, bytes) for content in files.values())
            assert not [name for name, content in files.items() if content[:1] == b"\x80"]

    @check
    def test_loaded_model_is_whole(self) -> None:
        """Look at an extension that changes a model beside its training."""
        with self.saved() as saved:
            for trained, folder in saved:
                loaded = BaseModel.load(folder)

                assert (loaded.columns, loaded.classes) == (trained.model.columns, trained.model.classes)
                assert (loaded.report, loaded.seed) == (trained.model.report, trained.model.seed)

    @check
    def test_loaded_model_can_be_saved_again(self) -> None:
        """Look at what ``load_model`` builds: it must be as whole as what training made."""
        with self.saved() as saved:
            for trained, folder in saved:
                BaseModel.load(folder).save(folder)
                answer = BaseModel.load(folder).predict(trained.served)

                assert same(answer, trained.model.predict(trained.served))

    @check
    def test_damaged_model_is_refused(self) -> None:
        """Look at an adapter that goes round ``BaseModel.load``, and at one that reads files from elsewhere."""
        with self.saved() as saved:
            for _, folder in saved:
                for file in sorted(folder.rglob("versions/*/*")):
                    whole = file.read_bytes()
                    file.write_bytes(whole[: len(whole) // 2])

                    assert _refuses_folder(folder), f"{file.name} was cut in half"
                    file.write_bytes(whole)

    @check
    def test_foreign_files_are_refused(self) -> None:
        """Look at ``load_model``: it must check the names and the content of what it is given, and never unpickle."""
        for trained in self.savable():
            files = self.adapter.save_model(trained.model.native)

            assert self._refuses(trained, {}), "no files at all"
            assert self._refuses(trained, {**files, "weights.pkl": b""}), "one file too many"
            for name, content in files.items():
                for foreign in (b"", pickle.dumps({"weights": 1}), content[: len(content) // 2]):
                    assert self._refuses(trained, {**files, name: foreign}), name

    @check
    def test_another_task_is_refused(self) -> None:
        """Look at ``load_model``: it must compare the weights with the classes that it is given."""
        for trained in self.savable():
            files = self.adapter.save_model(trained.model.native)

            assert self._refuses(trained, files, classes=(0.0, 1.0, 2.0, 3.0, 4.0))

    def _refuses(
        self, trained: Trained, files: ModelFiles, *, classes: tuple[float, ...] | None = None
    ) -> bool:
        model = trained.model
        error = error_of(
            lambda: self.adapter.load_model(
                files, model.config, n_features=len(model.columns), classes=classes or model.classes
            )
        )
        return isinstance(error, ArtifactError)


def _refuses_folder(folder: Path) -> bool:
    return isinstance(error_of(lambda: BaseModel.load(folder)), ArtifactError)
