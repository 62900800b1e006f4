"""The check of the built archives finds what it looks for."""

from __future__ import annotations

import io
import runpy
import tarfile
import zipfile
from pathlib import Path

import pytest

CHECK_DIST = runpy.run_path(str(Path(__file__).parents[1] / "tools/check_dist.py"))
members = CHECK_DIST["members"]


def sdist_with(folder: Path, member: tarfile.TarInfo, content: bytes = b"") -> Path:
    path = folder / "package-1.0.tar.gz"
    member.size = len(content)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(content))
    return path


def test_the_members_of_an_archive_are_its_files(tmp_path: Path) -> None:
    sdist = sdist_with(tmp_path, tarfile.TarInfo("package-1.0/LICENSE"), b"MIT")

    assert members(sdist) == {"package-1.0/LICENSE": b"MIT"}


@pytest.mark.parametrize("name", ["package-1.0/../../LICENSE", "/etc/passwd"])
def test_a_member_that_leaves_its_sdist_is_found(tmp_path: Path, name: str) -> None:
    sdist = sdist_with(tmp_path, tarfile.TarInfo(name))

    with pytest.raises(SystemExit, match="leaves the archive"):
        members(sdist)


def test_a_link_in_an_sdist_is_found(tmp_path: Path) -> None:
    link = tarfile.TarInfo("package-1.0/LICENSE")
    link.type, link.linkname = tarfile.SYMTYPE, "../../LICENSE"

    with pytest.raises(SystemExit, match="not a regular file"):
        members(sdist_with(tmp_path, link))


def test_a_member_that_leaves_its_wheel_is_found(tmp_path: Path) -> None:
    wheel = tmp_path / "package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../LICENSE", "MIT")

    with pytest.raises(SystemExit, match="leaves the archive"):
        members(wheel)
