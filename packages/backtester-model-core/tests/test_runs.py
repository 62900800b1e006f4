"""Run folders: whole entries or none, whoever writes, is killed, or runs out of disk; damage is named, never used."""

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from backtester_model_core import catalog
from backtester_model_core.exceptions import RunError
from backtester_model_core.runs import (
    Entry,
    RunFolder,
    digest_of,
    digest_of_code,
    encode_json,
    logging_into,
    new_log_folder,
)

NAN = float("nan")
POSIX_ONLY = pytest.mark.skipif(os.name != "posix", reason="asks for POSIX signals and limits")

# -- what the tests share -------------------------------------------------------------------------------------------


def entry(value=1.0, seconds=0.5):
    arrays = {
        "expected": np.array([value, NAN]),
        "known_at": np.array(["2024-01-01", "NaT"], "datetime64[ns]"),
    }
    return Entry(arrays, {"reports": [{"n_rows": 3, "baseline": value}], "refusals": []}, {"train": seconds})


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def temporaries(folder):
    return [path.name for path in folder.glob(".tmp-*")]


def in_a_process(code, *arguments, seconds=120):
    """Run code in a fresh interpreter and return what it prints."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# -- entries --------------------------------------------------------------------------------------------------------


def test_an_entry_comes_back_as_it_was(tmp_path):
    store = RunFolder(tmp_path / "run")
    store.publish_entry("key", entry())

    found = RunFolder(tmp_path / "run").read_entry("key")

    assert np.array_equal(found.arrays["expected"], [1.0, NAN], equal_nan=True)
    assert found.arrays["known_at"].tolist() == entry().arrays["known_at"].tolist()
    assert found.arrays["known_at"].dtype == "datetime64[ns]"
    assert found.facts == {"reports": [{"n_rows": 3, "baseline": 1.0}], "refusals": []}
    assert found.timings == {"train": 0.5}


def test_an_entry_that_nobody_has_finished_is_none(tmp_path):
    assert RunFolder(tmp_path).read_entry("key") is None


def test_an_entry_that_is_there_already_stays(tmp_path):
    store = RunFolder(tmp_path)
    store.publish_entry("key", entry(1.0))

    store.publish_entry("key", entry(2.0))

    assert store.read_entry("key").arrays["expected"][0] == 1.0
    assert temporaries(tmp_path) == []


def test_the_same_window_is_the_same_bytes_but_for_its_timings(tmp_path):
    RunFolder(tmp_path / "one").publish_entry("key", entry(seconds=0.5))
    RunFolder(tmp_path / "two").publish_entry("key", entry(seconds=0.7))

    for name in ("prediction.npz", "entry.json"):
        one, two = (tmp_path / run / "entries" / "key" / name for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_facts_that_json_does_not_have_come_back_as_what_it_has(tmp_path):
    facts = {"count": np.int64(3), "share": np.float64(0.5), "unknown": NAN, "pair": (1, 2), "flag": np.True_}
    store = RunFolder(tmp_path)
    store.publish_entry("key", Entry({}, facts, {}))

    assert store.read_entry("key").facts == {
        "count": 3,
        "share": 0.5,
        "unknown": None,
        "pair": [1, 2],
        "flag": True,
    }


FILES = ("prediction.npz", "entry.json", "timings.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-7]),
        lambda file: file.write_bytes(file.read_bytes() + b" "),
        lambda file: file.write_bytes(b"[]"),
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: file.write_bytes(file.read_bytes().replace(b'"format": 1', b'"format": 2') + b"\n"),
    ],
    ids=["missing", "empty", "cut", "longer", "a list", "not text", "other format"],
)
def test_a_damaged_entry_is_refused_by_its_folder(tmp_path, name, damage):
    store = RunFolder(tmp_path)
    store.publish_entry("key", entry())
    folder = tmp_path / "entries" / "key"
    damage(folder / name)

    with pytest.raises(RunError, match="Delete that folder and run again") as caught:
        store.read_entry("key")

    assert str(folder) in str(caught.value)
    shutil.rmtree(folder)
    assert store.read_entry("key") is None


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found(tmp_path, name):
    store = RunFolder(tmp_path)
    store.publish_entry("key", entry())
    file = tmp_path / "entries" / "key" / name
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(whole), 150, replace=False):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        file.write_bytes(flipped)

        with pytest.raises(RunError):
            store.read_entry("key")


def test_arrays_of_one_entry_do_not_pass_for_anothers(tmp_path):
    store = RunFolder(tmp_path)
    store.publish_entry("one", entry(1.0))
    store.publish_entry("two", entry(2.0))
    shutil.copy(tmp_path / "entries/one/prediction.npz", tmp_path / "entries/two/prediction.npz")

    with pytest.raises(RunError, match="damaged"):
        store.read_entry("two")


# -- runs and results -----------------------------------------------------------------------------------------------


def test_runs_are_remembered_by_key(tmp_path):
    store = RunFolder(tmp_path)
    store.record_run("b", {"config": {"cv_folds": 5}})
    store.record_run("a", {"config": {"cv_folds": 3}})
    store.record_run("a", {"config": {"cv_folds": 9}})

    assert store.runs() == {"a": {"config": {"cv_folds": 3}}, "b": {"config": {"cv_folds": 5}}}
    assert list(store.runs()) == ["a", "b"]


def test_what_is_no_run_is_not_one(tmp_path):
    store = RunFolder(tmp_path)
    (tmp_path / "runs" / ".DS_Store").write_text("")

    assert store.runs() == {}


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_a_damaged_run_is_named(tmp_path, content):
    store = RunFolder(tmp_path)
    store.record_run("a", {})
    file = tmp_path / "runs" / "a" / "run.json"
    file.unlink() if content is None else file.write_bytes(content)

    with pytest.raises(RunError, match=r"The run .*/runs/a cannot be read"):
        store.runs()


def test_a_result_is_replaced_whole(tmp_path):
    store = RunFolder(tmp_path)
    store.write_result("metrics.json", b"old")

    path = store.write_result("metrics.json", b"new")

    assert path == tmp_path / "metrics.json"
    assert path.read_bytes() == b"new"
    assert files_of(tmp_path) == ["metrics.json"]


def test_a_folder_in_the_way_of_a_result_is_named(tmp_path):
    store = RunFolder(tmp_path)
    (tmp_path / "metrics.json").mkdir()

    with pytest.raises(RunError, match=r"metrics\.json cannot be written: Is a directory"):
        store.write_result("metrics.json", b"new")

    assert temporaries(tmp_path) == []


def test_a_file_in_the_way_of_an_entry_is_named(tmp_path):
    store = RunFolder(tmp_path)
    (tmp_path / "entries" / "key").write_text("")

    with pytest.raises(RunError, match="entries/key cannot be written: Not a directory"):
        store.publish_entry("key", entry())
    with pytest.raises(RunError, match="entries/key cannot be read"):
        store.read_entry("key")

    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_run_folder_that_is_a_file_is_refused(tmp_path, path):
    (tmp_path / "file").write_text("")

    with pytest.raises(RunError, match=r"cannot be a run folder: .*Name another folder"):
        RunFolder(tmp_path / path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    store = RunFolder(tmp_path / "run")
    (tmp_path / "run").chmod(0o500)

    with pytest.raises(RunError, match="Permission denied"):
        store.publish_entry("key", entry())
    with pytest.raises(RunError, match="Permission denied"):
        store.write_result("metrics.json", b"")

    (tmp_path / "run").chmod(0o700)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch, interrupt):
    store = RunFolder(tmp_path)
    store.write_result("metrics.json", b"old")

    def interrupted(handle):
        raise interrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    for write in (
        lambda: store.publish_entry("key", entry()),
        lambda: store.record_run("key", {}),
        lambda: store.write_result("metrics.json", b"new"),
    ):
        with pytest.raises(interrupt):
            write()

    assert files_of(tmp_path) == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_bytes() == b"old"
    assert temporaries(tmp_path) == []


@POSIX_ONLY
def test_a_full_disk_leaves_what_was_there(tmp_path):
    store = RunFolder(tmp_path)
    store.write_result("metrics.json", b"old")

    printed = in_a_process(
        """
        import resource, sys
        import numpy as np
        from backtester_model_core.exceptions import RunError
        from backtester_model_core.runs import Entry, RunFolder
        store = RunFolder(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        for write in (
            lambda: store.write_result("metrics.json", b"x" * 20_000),
            lambda: store.publish_entry("key", Entry({"expected": np.zeros(5_000)}, {}, {})),
            lambda: store.record_run("key", {"text": "x" * 20_000}),
        ):
            try:
                write()
            except RunError as error:
                print(error)
        """,
        tmp_path,
    )

    assert printed.count("cannot be written: File too large. Free the disk or name another folder.") == 3
    assert (tmp_path / "metrics.json").read_bytes() == b"old"
    assert files_of(tmp_path) == ["metrics.json"]
    assert temporaries(tmp_path) == []
    assert store.read_entry("key") is None


# -- many writers ---------------------------------------------------------------------------------------------------

WRITER = """
    import sys
    import numpy as np
    from backtester_model_core.runs import Entry, RunFolder
    folder, me = sys.argv[1], sys.argv[2]
    store = RunFolder(folder)
    for number in range(25):
        for key in (f"shared-{number}", f"own-{me}-{number}"):
            store.publish_entry(key, Entry({"expected": np.full(50, number)}, {"by": me}, {}))
            assert store.read_entry(key).arrays["expected"].tolist() == [number] * 50
        store.record_run("the-same", {"by": me})
        store.write_result("metrics.json", me.encode() * 1000)
        RunFolder(folder)
"""


def test_four_writers_share_a_folder(tmp_path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), me], stderr=subprocess.PIPE
        )
        for me in "abcd"
    ]
    failures = [writer.communicate(timeout=120)[1].decode() for writer in writers]

    assert failures == ["", "", "", ""]
    store = RunFolder(tmp_path)
    keys = sorted(path.name for path in (tmp_path / "entries").iterdir())
    assert len(keys) == 25 + 4 * 25
    for key in keys:
        found = store.read_entry(key)
        assert found.arrays["expected"].tolist() == [int(key.split("-")[-1])] * 50
        assert key.startswith("shared") or found.facts == {"by": key.split("-")[1]}
    assert list(store.runs()) == ["the-same"]
    assert (tmp_path / "metrics.json").read_bytes() in {me * 1000 for me in (b"a", b"b", b"c", b"d")}
    assert temporaries(tmp_path) == []


KILLED = """
    import json, os, random, signal, sys, time
    from pathlib import Path
    import numpy as np
    from backtester_model_core.runs import Entry, RunFolder

    folder = Path(sys.argv[1])

    def publish_for_ever(round_):
        store, number = RunFolder(folder), 0
        while True:
            number += 1
            store.publish_entry(f"{round_}-{number}", Entry({"expected": np.full(20_000, number)}, {"n": number}, {}))
            store.write_result("result.json", json.dumps([number] * 5_000).encode())

    left = set()
    for round_ in range(30):
        child = os.fork()
        if child == 0:
            publish_for_ever(round_)
        time.sleep(random.Random(round_).uniform(0.002, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left |= {path.name for path in folder.glob(".tmp-*")}
        if (folder / "result.json").exists():
            assert len(set(json.loads((folder / "result.json").read_bytes()))) == 1
    store = RunFolder(folder)
    whole = 0
    for path in (folder / "entries").iterdir():
        found = store.read_entry(path.name)
        assert (found.arrays["expected"] == found.facts["n"]).all() and len(found.arrays["expected"]) == 20_000
        whole += 1
    print(whole, len(left), len(list(folder.glob(".tmp-*"))))
"""


@POSIX_ONLY
def test_thirty_kills_leave_whole_entries_only(tmp_path):
    whole, left, after = map(int, in_a_process(KILLED, tmp_path).split())

    assert whole > 0
    assert left > 0  # or nothing was ever interrupted
    assert after == 0


# -- digests --------------------------------------------------------------------------------------------------------


def test_a_digest_does_not_depend_on_the_order_of_keys_or_the_kind_of_number():
    assert digest_of({"a": 1, "b": (1.5, True)}) == digest_of(
        {"b": [np.float64(1.5), np.True_], "a": np.int64(1)}
    )


def test_digests_differ_where_data_does():
    values = [
        None,
        NAN,
        math.inf,
        -math.inf,
        0,
        1,
        0.5,
        "1",
        "nan",
        [],
        {},
        [None],
        {"a": 1},
        {"a": 2},
        False,
    ]

    assert len({digest_of(value) for value in values}) == len(values)


def test_parts_of_a_digest_are_not_run_together():
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of([1], [2]) != digest_of([1, 2])


def test_json_has_one_form_for_each_value():
    value = {
        "z": NAN,
        "a": (np.int64(1), np.float32(0.5), np.bool_(False), None),
        "t": np.datetime64("2024-01-01", "s"),
    }

    assert json.loads(encode_json(value)) == {
        "a": [1, 0.5, False, None],
        "t": "2024-01-01T00:00:00Z",
        "z": None,
    }
    assert encode_json(value).startswith(b'{\n  "a": [')
    assert encode_json({"never": np.datetime64("NaT")}) == b'{\n  "never": null\n}\n'
    assert encode_json(json.loads(encode_json(value))) == encode_json(value)


def test_what_is_not_plain_data_is_no_json():
    with pytest.raises(TypeError, match="not JSON serializable"):
        encode_json({"model": object()})


# -- code -----------------------------------------------------------------------------------------------------------


def module_from(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def coded(tmp_path):
    """Write a module whose class is then digested, and forget it afterwards."""
    made = []

    def load(content, name="coded_for_a_test.py"):
        (tmp_path / name).write_text(content)
        made.append(module_from(tmp_path / name))
        return made[-1]

    yield load
    for module in made:
        sys.modules.pop(module.__name__, None)


CODE = "class Model:\n    def fit(self):\n        return 1\n"


def test_changed_code_is_other_code(coded):
    one = digest_of_code([coded(CODE).Model])
    same = digest_of_code([coded(CODE).Model])
    other = digest_of_code([coded(CODE.replace("1", "2")).Model])

    assert one == same
    assert one != other


def test_a_package_counts_whole(tmp_path, monkeypatch):
    package = tmp_path / "packed_for_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(CODE)
    (package / "layers.py").write_text("units = 1")
    monkeypatch.syspath_prepend(tmp_path)
    from packed_for_a_test.model import Model  # type: ignore[import-not-found]

    before = digest_of_code([Model])
    (package / "layers.py").write_text("units = 2")
    edited = digest_of_code([Model])
    (package / "layers.py").rename(package / "blocks.py")
    renamed = digest_of_code([Model])

    assert len({before, edited, renamed}) == 3


def test_a_module_a_class_and_a_function_stand_for_their_files():
    module, class_, function = (
        digest_of_code([thing]) for thing in (catalog, catalog.Catalog, catalog.Catalog.add)
    )

    assert module == class_ == function


def test_the_order_and_number_of_things_does_not_matter(coded):
    model = coded(CODE).Model

    assert digest_of_code([model, catalog]) == digest_of_code([catalog, model, model.fit])


def test_code_that_no_file_holds_is_never_the_same_again():
    assert digest_of_code([int]) != digest_of_code([int])


def test_a_class_of_a_notebook_or_prompt_can_be_digested():
    printed = in_a_process(
        """
        from backtester_model_core.runs import digest_of_code
        class Model:
            def fit(self):
                return 1
        print(digest_of_code([Model]) == digest_of_code([Model]))
        """
    )

    assert printed == "False\n"


def test_each_training_logs_into_a_folder_of_its_own(tmp_path):
    with logging_into(tmp_path / "logs" / "k"):
        folders = [new_log_folder() for _ in range(2)]

    assert folders == [tmp_path / "logs" / "k" / name for name in ("001", "002")]
    assert all(folder.is_dir() for folder in folders)


def test_without_a_run_folder_nothing_is_logged():
    assert new_log_folder() is None
