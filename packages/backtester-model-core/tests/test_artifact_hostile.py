"""Hostile folders in a process of their own: none runs code, opens another file, or takes much memory."""

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import textwrap
import zipfile

import pytest

from backtester_model_core.artifacts import MANIFEST
from backtester_model_core.artifacts.manifest import seal
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.testing import random_bars
from backtester_model_core.testing.watch import watch_loading

pytestmark = pytest.mark.skipif(os.name != "posix", reason="measures memory as POSIX systems do")

MEMORY = 512 * 2**20
BOMB_BYTES = 800 * 2**20


class Poison:
    """Makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def header(shape, descr="<f8"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def archive(members, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, parts in members.items():
            with file.open(name, "w", force_zip64=True) as member:
                for part in parts:
                    member.write(part)
    return content.getvalue()


def zip_bomb(_):
    chunk = bytes(2**20)
    members = {"sample.npy": [header(f"({BOMB_BYTES // 8},)"), *[chunk] * (BOMB_BYTES // len(chunk))]}
    content = archive(members, zipfile.ZIP_DEFLATED)
    assert len(content) < 2**20
    return {"core.npz": content}


def header_bomb(_):
    return {"core.npz": archive({"sample.npy": [header("(10000000000,)")]})}


def nested_header(_):
    return {"core.npz": archive({"sample.npy": [header("(" * 20_000 + ")" * 20_000)]})}


def nested_json(_):
    return {"heard.json": b"[" * (2**20 - 1)}


def wide_json(_):
    return {"heard.json": b"[" + b"[]," * 349_000 + b"[]]\n"}


def digits(_):
    return {"heard.json": b"1" * (2**20 - 1)}


def object_array(target):
    return {"core.npz": archive({"sample.npy": [header("(1,)", "|O"), pickle.dumps(Poison(target))]})}


def bare_pickle(target):
    return {"heard.json": pickle.dumps(Poison(target))}


def pickled_core(target):
    return {"core.npz": pickle.dumps(Poison(target))}


def many_members(_):
    return {"core.npz": archive({f"{number}.npy": [b""] for number in range(20_000)})}


FILES = [
    zip_bomb,
    header_bomb,
    nested_header,
    nested_json,
    wide_json,
    digits,
    object_array,
    bare_pickle,
    pickled_core,
]
FILES.append(many_members)


def deep_manifest(version):
    (version / MANIFEST).write_bytes(b'{"config":' * 100_000)


def manifest_of_a_module(version):
    change_manifest(version, model="os.system")


def manifest_of_a_path(version):
    facts = json.loads((version / MANIFEST).read_bytes())
    change_manifest(
        version, files={**facts["files"], "../../../../etc/hostname": {"size": 0, "sha256": "0" * 64}}
    )


def manifest_of_a_framework_path(version):
    facts = json.loads((version / MANIFEST).read_bytes())
    change_manifest(version, config={**facts["config"], "framework": "os:system"})


def linked_outside(version):
    (version / "core.npz").unlink()
    (version / "core.npz").symlink_to("/etc/hostname")


def vast_and_sparse(version):
    with (version / "core.npz").open("r+b") as file:
        file.truncate(2**40)


MANIFESTS = [
    deep_manifest,
    manifest_of_a_module,
    manifest_of_a_path,
    manifest_of_a_framework_path,
    linked_outside,
]
MANIFESTS.append(vast_and_sparse)


def change_manifest(version, **changes):
    facts = json.loads((version / MANIFEST).read_bytes())
    facts.pop("sha256")
    (version / MANIFEST).write_bytes(seal({**facts, **changes}))


def rewrite(version, files):
    """Change files and let all digests agree again."""
    for name, content in files.items():
        (version / name).write_bytes(content)
    change_manifest(
        version,
        files={
            path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in version.iterdir()
            if path.name != MANIFEST
        },
    )


@pytest.fixture
def honest(tmp_path, own_plugins):
    model = create_model(load_config({"framework": "echo", "lookback_period": 2}))
    model.train_dataset(model.prepare(random_bars(200)))
    return model.save(tmp_path / "honest")


def test_no_hostile_folder_runs_code_or_takes_much_memory(honest, tmp_path):
    folders, target = [], tmp_path / "poisoned"
    for make in FILES:
        folders.append(shutil.copytree(honest, tmp_path / make.__name__))
        rewrite(folders[-1], make(target))
    for change in MANIFESTS:
        folders.append(shutil.copytree(honest, tmp_path / change.__name__))
        change(folders[-1])

    told = watch_loading(honest, folders)

    assert [folder.name for folder, answer in zip(folders, told.answers, strict=True) if not answer] == []
    assert [events for events in told.events if events] == []
    assert told.peak_bytes < MEMORY
    assert not target.exists()


def test_an_honest_folder_is_loaded_and_shows_nothing(honest):
    told = watch_loading(honest, [honest])

    assert (told.answers, told.events) == (("",), ((),))


CARELESS = r"""
    import json, pickle, sys
    from pathlib import Path
    from backtester_model_core.testing import echo, watch

    careful = echo.unpack_json

    def careless(content, *, name):
        return pickle.loads(content) if content[:1] == b"\x80" else careful(content, name=name)

    echo.unpack_json = careless
    print(json.dumps(watch._tell(Path(sys.argv[1]), [Path(sys.argv[2])])))
"""


def test_the_watch_sees_what_a_careless_loader_lets_happen(honest, tmp_path):
    target, bad = tmp_path / "poisoned", shutil.copytree(honest, tmp_path / "bad")
    rewrite(bad, bare_pickle(target))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CARELESS), str(honest), str(bad)],
        capture_output=True,
        text=True,
        check=True,
    )

    events = json.loads(done.stdout)["events"][0]

    assert target.exists()
    assert [event.split()[0] for event in events] == ["pickle.find_class", "os.mkdir"]
