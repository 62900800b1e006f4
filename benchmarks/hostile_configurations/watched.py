"""Use hostile configurations and expressions, watched by an audit hook (:pep:`578`), and tell what came of them.

A program, run in an empty folder:

- ``watched.py injections``: each text at each place of each installed configuration class that takes one, or with
  ``--every N`` one in N of the texts, other ones at each place;
- ``watched.py documents``: each text, as it is, within files of YAML, TOML and JSON, and as an expression;
- ``watched.py fuzz --cases N``: N files and N expressions that hypothesis makes.

What every configuration has is tried once, with the first framework.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hypothesis import HealthCheck, Phase, given, settings

import backtester_model_core
from backtester_model_core.bars import Panel, check_bars
from backtester_model_core.exceptions import BacktesterModelError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.features import evaluate, parse_expression
from backtester_model_core.plugins import config_class, plugins
from backtester_model_core.sources import DataRetrieval
from backtester_model_core.testing import random_bars
from backtester_model_core.testing.watch import NEVER
from hostile_configurations.fuzzing import documents, expressions
from hostile_configurations.places import MEANT, places_in, put_at_mark
from hostile_configurations.strings import STRINGS

SECONDS = 20
BARS = random_bars(90)
PANEL = Panel.of(check_bars(BARS))
TRAINED = {"sklearn", "scipy"}
"""Frameworks whose models are trained, too; the others take seconds for each."""

OWN = Path(backtester_model_core.__file__).parent
MAX_SURPRISES = 20


class TookTooLongError(BaseException):
    """A case that did not end."""


class Watch:
    """Counts cases and writes down whatever should not have happened in one."""

    def __init__(self, folder: Path) -> None:
        self.cases = self.accepted = 0
        self.surprises: list[str] = []
        self._events: list[str] = []
        self._folder = os.path.realpath(folder)
        self._is_on = False
        signal.signal(signal.SIGALRM, self._interrupt)
        sys.addaudithook(self._hear)

    def case(self, work: Callable[[], Any], shown: str) -> None:
        """Do some work, which may end in an error of ours and in no other way."""
        self.cases += 1
        said = ""
        try:
            with self._listening():
                work()
            self.accepted += 1
        except BacktesterModelError:
            pass
        except (Exception, TookTooLongError) as error:  # noqa: BLE001 - it is told
            said = f"{type(error).__name__}: {error}"
        for each in [*filter(None, [said]), *self._events]:
            if len(self.surprises) < MAX_SURPRISES:
                self.surprises.append(f"{shown[:300]} -> {each[:300]}")
        self._events.clear()

    def told(self) -> dict[str, Any]:
        """Return what came of all cases since this was last asked."""
        told = {"cases": self.cases, "accepted": self.accepted, "surprises": self.surprises}
        self.cases, self.accepted, self.surprises = 0, 0, []
        return told

    @contextmanager
    def _listening(self) -> Iterator[None]:
        signal.alarm(SECONDS)
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False
            signal.alarm(0)

    def _interrupt(self, *_: Any) -> None:
        raise TookTooLongError(f"longer than {SECONDS} seconds")

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        is_code = event == "compile" and arguments[1] != "<unknown>"  # ast.parse has no name for its text
        is_place = event in {"os.listdir", "os.scandir", "glob.glob"} and not self._is_own(arguments[0])
        is_file = event == "open" and not isinstance(arguments[0], int) and not self._may_open(*arguments)
        if event.startswith(NEVER) or is_code or is_place or is_file:
            self._events.append(f"{event} {arguments!r:.200}")

    def _may_open(self, path: Any, _: Any, flags: int) -> bool:
        return not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self._is_own(path)

    def _is_own(self, path: Any) -> bool:
        """Say whether a path is within the folder of the configurations, or among what the packages bring."""
        place = os.path.realpath(os.fspath(path))
        return any(os.path.commonpath([folder, place]) == folder for folder in (self._folder, str(OWN)))


def use(file: Path) -> None:
    """Do with a configuration's file what its owner would: read it, get its bars, prepare, train and ask a model."""
    config = load_config(file)
    model = create_model(config)
    if config.data_config.path is not None:
        DataRetrieval(config.data_config).get_data()
    dataset = model.prepare(BARS)
    if config.framework in TRAINED:
        model.train_dataset(dataset)
        model.generate_signals(BARS)


def use_expression(text: str) -> None:
    """Read an expression and compute it."""
    evaluate({"feature": parse_expression(text)}, PANEL)


def make_folder() -> Path:
    """Make the folder of the configurations, beside which there are bars that none of them may reach."""
    Path("configurations").mkdir()
    os.chdir("configurations")
    folder = Path()
    BARS.to_csv(folder / "bars.csv")
    outside = Path(tempfile.mkdtemp(prefix="backtester-model-outside-"))
    atexit.register(shutil.rmtree, outside)
    BARS.to_csv(outside / "rows.csv")
    (folder / "linked.csv").symlink_to(outside / "rows.csv")
    (folder / "outside").symlink_to(outside)
    return folder


def needs_more(framework: str) -> bool:
    """Say whether a configuration of the framework says more than its name."""
    return bool(config_class(framework).model_json_schema().get("required"))


def warm_up(folder: Path, frameworks: list[str]) -> None:
    """Do all that imports anything on first use."""
    fields = {
        "lookback_period": 5,
        "data_config": {"path": "bars.csv"},
        "label": {"session_timezone": "Asia/Tokyo"},
    }
    for framework in frameworks:
        if needs_more(framework):
            continue
        for ending, text in (
            ("json", json.dumps({"framework": framework, **fields})),
            ("toml", f'framework="{framework}"'),
        ):
            (folder / f"good.{ending}").write_text(text)
            use(folder / f"good.{ending}")
    (folder / "good.yaml").write_text(
        f"framework: {frameworks[0]}\ndata_config: {{start: 2020-01-31, end: 2021-01-31 16:00:00}}"
    )
    load_config(folder / "good.yaml")
    for wrong in (
        "{",
        "framework: !!bad x",
        "framework: nobody",
        f"framework: {frameworks[0]}\nlabel: {{session_timezone: Nowhere}}",
        "framework: sklearn\nmodel_class: Nobody",  # for whose hint scikit-learn imports all of its estimators
    ):
        (folder / "wrong.yaml").write_text(wrong)
        try:
            use(folder / "wrong.yaml")
        except BacktesterModelError:
            continue
    use_expression("close / rolling_mean(close, 5) - ref(open, 1)")


def try_injections(watch: Watch, folder: Path, frameworks: list[str], *, every: int) -> None:
    """Put texts at each place that takes one."""
    file = folder / "model.json"
    shared: set[str] = set()
    for framework in frameworks:
        places = [*places_in(config_class(framework).model_json_schema()), *MEANT.get(framework, ())]
        own = [place for place in places if _without_framework(place) not in shared]
        for number, place in enumerate(own):
            for text in STRINGS[number % every :: every]:
                values = put_at_mark(place, text)
                written = json.dumps({"framework": framework, "lookback_period": 5, **values})
                file.write_text(written)
                watch.case(partial(use, file), written)
        shared |= {_without_framework(place) for place in places}


def _without_framework(place: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in place.items() if name != "framework"}, sort_keys=True)


def try_documents(watch: Watch, folder: Path, framework: str) -> None:
    """Put each text into files as it is, not as a quoted value."""
    for text in STRINGS:
        for ending, written in {
            "yaml": f"framework: {framework}\nmodel_name: {text}\n",
            "yml": f"{text}\nframework: {framework}\n",
            "toml": f"framework = '{framework}'\nmodel_name = {text}\n",
            "json": f'{{"framework": "{framework}", "model_name": {text}}}',
        }.items():
            file = folder / f"model.{ending}"
            file.write_text(written)
            watch.case(partial(use, file), written)
        watch.case(partial(use_expression, text), text)


def fuzz(watch: Watch, folder: Path, frameworks: list[str], *, n_cases: int) -> None:
    """Try files and expressions that hypothesis makes; half of the cases are either."""
    schemas = {framework: config_class(framework).model_json_schema() for framework in frameworks}

    @exploring(n_cases - n_cases // 2)
    @given(documents({framework: places_in(schema) for framework, schema in schemas.items()}))
    def try_files(document: tuple[str, bytes]) -> None:
        ending, content = document
        file = folder / f"fuzz.{ending}"
        file.write_bytes(content)
        watch.case(partial(use, file), repr(content))

    @exploring(n_cases // 2)
    @given(expressions())
    def try_expressions(text: str) -> None:
        watch.case(partial(use_expression, text), repr(text))

    try_files()
    try_expressions()


def exploring(n_cases: int) -> settings:
    """Return how hypothesis looks for cases: exactly as many, none of them kept on disk."""
    return settings(
        max_examples=n_cases,
        database=None,
        deadline=None,
        derandomize="CI" in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def main() -> None:
    """Do the works that are named and print a line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("works", nargs="+", choices=["injections", "documents", "fuzz"])
    parser.add_argument("--framework", action="append", help="only these, instead of all that are installed")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--cases", type=int, default=100)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    frameworks = sorted(
        asked.framework or plugins().frameworks(),
        key=lambda name: (needs_more(name), name not in TRAINED, name),
    )
    folder = make_folder()
    warm_up(folder, frameworks)
    watch = Watch(folder)
    works = {
        "injections": partial(try_injections, watch, folder, frameworks, every=asked.every),
        "documents": partial(try_documents, watch, folder, frameworks[0]),
        "fuzz": partial(fuzz, watch, folder, frameworks, n_cases=asked.cases),
    }
    told = {}
    for name in asked.works:
        works[name]()
        told[name] = watch.told()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
