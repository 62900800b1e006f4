"""The store: versions that no writer loses and no reader sees half of; whoever dies, or runs out of disk."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from backtester_model_core import ModelStore
from backtester_model_core.artifacts import VersionFolder
from backtester_model_core.artifacts.manifest import seal
from backtester_model_core.artifacts.versions import MAX_HISTORY
from backtester_model_core.exceptions import ArtifactError, NotTrainedError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.model import BaseModel
from backtester_model_core.testing import random_bars

BARS = random_bars(200)
POSIX_ONLY = pytest.mark.skipif(os.name != "posix", reason="asks for POSIX signals and limits")


@pytest.fixture(autouse=True)
def _own_plugins(own_plugins):
    """Run every test with the adapters of these tests."""


def model(name="spy", **fields):
    made = create_model(
        load_config({"framework": "echo", "model_name": name, "lookback_period": 2, **fields})
    )
    made.train_dataset(made.prepare(BARS))
    return made


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


def in_a_process(script, *arguments, timeout=120):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    return done.stdout


# -- versions -------------------------------------------------------------------------------------------------------


def test_a_published_version_waits_to_be_promoted(store):
    first = store.publish(model())

    assert (first, store.latest("spy"), store.current("spy")) == (1, 1, None)
    with pytest.raises(ArtifactError, match="no version in force; its versions: 1"):
        store.load("spy")


def test_a_promoted_version_is_the_one_that_is_loaded(store):
    store.publish(model(loudness=0.1))
    store.publish(model(loudness=0.2))
    store.promote("spy", 1)

    assert store.current("spy") == 1
    assert store.load("spy").config.loudness == 0.1
    assert store.load("spy", 2).config.loudness == 0.2
    assert store.manifest("spy").config["loudness"] == 0.1


def test_rolling_back_goes_through_the_versions_that_were_in_force(store):
    for _ in range(4):
        store.publish(model())
    for version in (1, 3, 4):
        store.promote("spy", version)

    assert [store.roll_back("spy"), store.roll_back("spy")] == [3, 1]
    with pytest.raises(ArtifactError, match="no earlier version"):
        store.roll_back("spy")
    assert store.current("spy") == 1


def test_promoting_the_version_in_force_changes_nothing(store):
    for _ in range(2):
        store.publish(model())
    for version in (1, 2, 2):
        store.promote("spy", version)

    assert store.roll_back("spy") == 1


def test_a_hundred_versions_in_force_are_remembered(store):
    for _ in range(2):
        store.publish(model())
    for number in range(MAX_HISTORY + 5):
        store.promote("spy", number % 2 + 1)

    history = json.loads((store.folder / "spy" / "CURRENT").read_bytes())["history"]
    assert len(history) == MAX_HISTORY


def test_names_are_those_of_models_that_have_a_version(store, tmp_path):
    assert store.names() == []
    for name in ("spy", "qqq"):
        store.publish(model(name))
    (store.folder / "empty").mkdir()

    assert store.names() == ["qqq", "spy"]


def test_save_and_the_store_write_the_same_folder(store):
    model().save(store.folder / "spy")

    assert store.current("spy") == 1
    assert store.load("spy").is_trained


@pytest.mark.parametrize("name", ["spx", "../spy", "", ".", "spy/versions"])
def test_a_name_that_is_not_there_is_refused_with_the_nearest(store, name):
    store.publish(model())

    with pytest.raises(ArtifactError, match="no model"):
        store.load(name)


@pytest.mark.parametrize("version", [0, 3, -1, 10**9])
def test_a_version_that_is_not_there_is_refused_with_those_that_are(store, version):
    store.publish(model())
    store.publish(model())

    for call in (store.load, store.promote):
        with pytest.raises(ArtifactError, match=rf"no version {version}; its versions: 1, 2"):
            call("spy", version)


def test_an_untrained_model_is_not_published(store):
    with pytest.raises(NotTrainedError):
        store.publish(create_model(load_config({"framework": "echo"})))

    assert not store.folder.exists()


@pytest.mark.parametrize("history", ["1", [1.0], [True], {"a": 1}, None])
def test_a_pointer_of_another_shape_is_refused(store, history):
    store.publish(model())
    (store.folder / "spy" / "CURRENT").write_bytes(seal({"format": 1, "history": history}))

    with pytest.raises(ArtifactError, match="not a list of versions"):
        store.load("spy")


def test_a_pointer_to_a_version_that_was_removed_is_refused(store):
    model().save(store.folder / "spy")
    shutil.rmtree(store.folder / "spy" / "versions" / "000001")
    store.publish(model())
    store.publish(model())
    VersionFolder(store.folder / "spy").promote(2)
    shutil.rmtree(store.folder / "spy" / "versions" / "000001")

    with pytest.raises(ArtifactError, match="no version 1"):
        store.roll_back("spy")


def test_other_folders_among_the_versions_do_not_count(store):
    store.publish(model())
    for name in ("latest", "1", "000002-copy", "²²²²²²"):
        (store.folder / "spy" / "versions" / name).mkdir()

    assert store.versions("spy") == (1,)
    assert store.publish(model()) == 2


def test_a_number_that_was_reserved_and_never_filled_is_given(store):
    store.publish(model())
    (store.folder / "spy" / "versions" / "000002").mkdir()

    assert store.publish(model()) == 3


# -- writers that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("at", range(7))
def test_an_interrupt_at_any_sync_leaves_the_old_version_in_force(store, monkeypatch, interrupt, at):
    model(loudness=0.5).save(store.folder / "spy")
    real, calls = os.fsync, []

    def interrupted(handle):
        calls.append(handle)
        if len(calls) == at + 1:
            raise interrupt
        real(handle)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(interrupt):
        model(loudness=0.7).save(store.folder / "spy")
    monkeypatch.undo()

    assert store.load("spy").config.loudness == (0.7 if at == 6 else 0.5)
    assert list(store.folder.glob("**/.tmp-*")) == []
    assert all(store.load("spy", version) for version in store.versions("spy"))


def test_a_file_that_did_not_reach_the_disk_is_noticed(store, monkeypatch):
    from backtester_model_core.artifacts import folder

    def cut_short(path, content):
        path.write_bytes(content[:-1])

    monkeypatch.setattr(folder, "write_synced", cut_short)

    with pytest.raises(ArtifactError):
        store.publish(model())
    assert store.names() == []


def test_a_place_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "models").write_bytes(b"")

    with pytest.raises(ArtifactError, match="cannot be written"):
        model().save(tmp_path / "models")


@POSIX_ONLY
def test_a_disk_that_fills_up_leaves_the_old_version(tmp_path):
    model(loudness=0.5).save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    largest = max(len(content) for content in before.values())
    printed = in_a_process(
        """
        import resource, sys
        from pathlib import Path
        from backtester_model_core.artifacts import VersionFolder
        from backtester_model_core.exceptions import ArtifactError

        versions = VersionFolder(sys.argv[1])
        artifact = versions.read()
        for limit in range(0, int(sys.argv[2]), 200):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                versions.publish(artifact)
            except ArtifactError as error:
                print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        try:
            versions._point([1, 1])
        except ArtifactError as error:
            print(error)
        """,
        tmp_path,
        largest,
    )

    assert printed.count("cannot be written: File too large. Free the disk or name another folder.") == (
        len(range(0, largest, 200)) + 1
    )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert BaseModel.load(tmp_path).config.loudness == 0.5


@POSIX_ONLY
def test_ctrl_c_leaves_whole_versions_only(tmp_path):
    model().save(tmp_path)
    script = """
        import signal, sys
        from backtester_model_core.artifacts import VersionFolder

        signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
        versions = VersionFolder(sys.argv[1])
        artifact = versions.read()
        try:
            print("started", flush=True)
            while True:
                versions.promote(versions.publish(artifact))
        except KeyboardInterrupt:
            print("stopped")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.send_signal(2)

    assert process.communicate(timeout=60)[0] == "stopped\n"
    model().save(tmp_path)
    assert list(tmp_path.glob(".tmp-*")) == []
    assert all(VersionFolder(tmp_path).read(number) for number in VersionFolder(tmp_path).versions())


@POSIX_ONLY
def test_two_hundred_kills_leave_whole_versions_only(tmp_path):
    model().save(tmp_path)

    answer = json.loads(in_a_process(KILLS, tmp_path))

    assert answer["versions"] > 0
    assert answer["left"] > 0  # or nothing was ever interrupted
    assert answer["after"] == 0


KILLS = """
    import runpy, sys
    sys.argv = ["kills", sys.argv[1], "200"]
    runpy.run_module("backtester_model_core.testing.kills", run_name="__main__")
"""

# -- many writers, and readers among them ---------------------------------------------------------------------------

N_EACH = 200
"""Versions that each of four writers publishes."""

WRITER = """
    import sys
    from backtester_model_core.artifacts import VersionFolder

    versions = VersionFolder(sys.argv[1])
    artifact = versions.read(1)
    numbers = [versions.publish(artifact) for _ in range(int(sys.argv[2]))]
    versions.promote(numbers[-1])
    print(*numbers)
"""
READER = """
    import sys
    from backtester_model_core.artifacts import VersionFolder

    versions, read, n_reads = VersionFolder(sys.argv[1]), 0, 0
    while read < 1 + 4 * int(sys.argv[2]):
        found = versions.versions()
        versions.read()
        for number in found[read:]:
            versions.read(number)
        n_reads += len(found) > read
        read = len(found)
    print(n_reads)
"""


def test_four_writers_of_two_hundred_versions_each_lose_none_and_a_reader_sees_no_half(tmp_path):
    model().save(tmp_path)
    programs = [READER, WRITER, WRITER, WRITER, WRITER]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), str(N_EACH)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for program in programs
    ]
    reads, *written = [process.communicate(timeout=300)[0] for process in processes]
    numbers = [int(number) for line in written for number in line.split()]

    assert [process.returncode for process in processes] == [0] * 5
    assert sorted(numbers) == list(range(2, 2 + 4 * N_EACH))
    assert VersionFolder(tmp_path).versions() == tuple(range(1, 2 + 4 * N_EACH))
    assert VersionFolder(tmp_path).current() in {int(line.split()[-1]) for line in written}
    assert int(reads) > 1  # or it never looked while they wrote
