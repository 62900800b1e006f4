"""The part of the adapter contract that is about saved models; an adapter that saves none keeps it by that."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.typing import ModelFiles


class SavedModelChecks(ABC):
    """Checks of ``save_model`` and ``load_model``; each check's docstring says what to look at when it fails."""

    @property
    @abstractmethod
    def adapter(self) -> ModelFrameworkAdapter[Any]:
        """The adapter as a user gets it."""

    @abstractmethod
    def trained(self, *, classifiers_only: bool = False) -> list[tuple[BaseModel, pd.DataFrame]]:
        """Return each configuration's trained model with features that it has not seen."""

    def test_saving_and_loading_come_together(self) -> None:
        """Look at an adapter that fills in one of ``save_model`` and ``load_model``."""
        assert self.adapter.can("save_model") == self.adapter.can("load_model")

    def test_saved_model_answers_the_same_in_a_fresh_process(self) -> None:
        """Look at what ``save_model`` leaves out: it must be all that ``predict`` needs, to the last bit."""
        with self._saved() as models:
            folders = [(folder, features) for _, features, folder in models]
            answers = _answers_elsewhere(folders)
            for (model, features, _), answer in zip(models, answers, strict=True):
                prediction = model.predict_distribution(features)

                assert prediction.frame.equals(answer)

    def test_loaded_model_is_whole(self) -> None:
        """Look at an extension that changes a model beside its training."""
        with self._saved() as models:
            for model, _, folder in models:
                loaded = BaseModel.load(folder)

                assert (loaded.columns, loaded.classes) == (model.columns, model.classes)
                assert (loaded.report, loaded.seed) == (model.report, model.seed)

    def test_damaged_model_is_refused(self) -> None:
        """Look at an adapter that goes round ``BaseModel.load``."""
        with self._saved() as models:
            for _, _, folder in models:
                for file in sorted(folder.rglob("versions/*/*")):
                    whole = file.read_bytes()
                    file.write_bytes(whole[: len(whole) // 2])

                    assert _is_refused(lambda f=folder: BaseModel.load(f))
                    file.write_bytes(whole)

    def test_foreign_files_are_refused(self) -> None:
        """Look at ``load_model``: it must check the names and the content of what it is given, and never unpickle."""
        for model, _ in self._savable():
            files = self.adapter.save_model(model.native)

            assert self._refuses(model, {})
            assert self._refuses(model, {**files, "weights.pkl": b""})
            for name, content in files.items():
                for foreign in (b"", pickle.dumps({"weights": 1}), content[: len(content) // 2]):
                    assert self._refuses(model, {**files, name: foreign})

    def test_another_task_is_refused(self) -> None:
        """Look at ``load_model``: it must compare the weights with the classes that it is given."""
        for model, _ in self._savable():
            files = self.adapter.save_model(model.native)
            other = (0.0, 1.0, 2.0, 3.0, 4.0)

            assert self._refuses(model, files, classes=other)

    def test_killed_saves_leave_every_version_whole(self) -> None:
        """Look at ``BaseModel.save``, which an extension may have wrapped: an adapter does not touch the disk.

        The environment variable ``BACKTESTER_MODEL_KILLS`` says how many writers are killed; by default ten.
        """
        with self._saved() as models:
            for _, _, folder in models[:1] if hasattr(os, "fork") else []:
                n_kills = os.environ.get("BACKTESTER_MODEL_KILLS", "10")
                answer = subprocess.run(  # noqa: S603 - our own program
                    [sys.executable, "-m", "backtester_model_core.testing.kills", str(folder), n_kills],
                    check=True,
                    capture_output=True,
                )

                assert json.loads(answer.stdout)["after"] == 0

    # -- what the checks share --------------------------------------------------------------------------------------

    def _savable(self) -> list[tuple[BaseModel, pd.DataFrame]]:
        return self.trained() if self.adapter.can("save_model") else []

    @contextmanager
    def _saved(self) -> Iterator[list[tuple[BaseModel, pd.DataFrame, Path]]]:
        """Give each trained model, features, and the folder that it is saved in."""
        with tempfile.TemporaryDirectory() as root:
            models = []
            for number, (model, features) in enumerate(self._savable()):
                folder = Path(root, str(number))
                model.save(folder)
                models.append((model, features, folder))
            yield models

    def _refuses(
        self, model: BaseModel, files: ModelFiles, *, classes: tuple[float, ...] | None = None
    ) -> bool:
        return _is_refused(
            lambda: self.adapter.load_model(
                files, model.config, n_features=len(model.columns), classes=classes or model.classes
            )
        )


def _answers_elsewhere(
    folders: list[tuple[Path, pd.DataFrame]],
) -> list[pd.DataFrame]:
    """Load models in a process that has nothing but their folders, and ask them there."""
    if not folders:
        return []
    from joblib.externals.loky import ProcessPoolExecutor

    with ProcessPoolExecutor(max_workers=1) as executor:
        answers: list[pd.DataFrame] = executor.submit(
            _answers, plugins().registered_in_code(), folders
        ).result()
        return answers


def _answers(
    in_code: list[tuple[str, str, Any]], folders: list[tuple[Path, pd.DataFrame]]
) -> list[pd.DataFrame]:
    plugins().repeat(in_code)
    return [BaseModel.load(folder).predict_distribution(features).frame for folder, features in folders]


def _is_refused(call: Any) -> bool:
    """Say whether a call raises the error of saved models; any other error is the adapter's own, and is raised."""
    try:
        call()
    except ArtifactError:
        return True
    return False
