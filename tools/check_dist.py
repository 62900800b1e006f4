"""Check the built archives of every package: what their metadata say, and what they hold.

::

    python tools/check_dist.py <folder of sdists and their wheels> <folder of wheels built from the tree>
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]


def members(archive: Path) -> dict[str, bytes]:
    """Return the files in an archive; a link, or a path that leaves the archive's folder, ends the program."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            files = {info.filename: wheel.read(info) for info in wheel.infolist()}
    else:
        with tarfile.open(archive) as sdist:
            files = {}
            for info in sdist.getmembers():
                content = sdist.extractfile(info) if info.isfile() else None
                expect(content is not None, archive, f"{info.name} is not a regular file")
                files[info.name] = content.read() if content else b""
    for name in files:
        path = PurePosixPath(name)
        expect(not path.is_absolute() and ".." not in path.parts, archive, f"{name} leaves the archive")
    return files


def expect(condition: bool, archive: Path, fault: str) -> None:
    """End the program with the archive's name and its fault, unless the condition holds."""
    if not condition:
        raise SystemExit(f"{archive.name}: {fault}")


def check_wheel(wheel: Path, from_tree: Path) -> None:
    """Check a wheel's metadata and files, and that the tree gives the same wheel as the sdist did."""
    files = members(wheel)
    package = wheel.name.split("-")[0]
    dist_info = f"{package}-{version()}.dist-info"
    expect(f"{dist_info}/METADATA" in files, wheel, f"its version is not {version()}")
    metadata = Parser().parsestr(files[f"{dist_info}/METADATA"].decode())
    expect(metadata["License-Expression"] == "MIT", wheel, "its licence is not MIT")
    expect(metadata["Requires-Python"] == ">=3.11", wheel, "it is not for Python 3.11 and later")
    expect(bool(str(metadata.get_payload()).strip()), wheel, "it has no description")
    pinned = [need for need in metadata.get_all("Requires-Dist", []) if "==" in need.split(";")[0]]
    expect(not pinned, wheel, f"it pins {pinned}")
    expect(f"{package}/py.typed" in files, wheel, "it has no py.typed")
    licence = files.get(f"{dist_info}/licenses/LICENSE")
    expect(licence == (ROOT / "LICENSE").read_bytes(), wheel, "its LICENSE is not the root's")
    strays = [name for name in files if not name.startswith((f"{package}/", f"{dist_info}/"))]
    expect(not strays, wheel, f"it holds {strays}")
    expect(members(from_tree / wheel.name) == files, wheel, "the tree gives another wheel than the sdist")


def check_sdist(sdist: Path) -> None:
    """Check that an sdist keeps to its own folder and brings its licence and its tests."""
    files = members(sdist)
    folder = sdist.name.removesuffix(".tar.gz")
    strays = [name for name in files if not name.startswith(f"{folder}/")]
    expect(not strays, sdist, f"it holds {strays}")
    expect(f"{folder}/LICENSE" in files, sdist, "it has no LICENSE")
    expect(any(name.startswith(f"{folder}/tests/") for name in files), sdist, "it has no tests")


def version() -> str:
    """Return the workspace's one version."""
    return (ROOT / "VERSION").read_text().strip()


def main() -> None:
    """Check every archive of both folders."""
    archives, from_tree = map(Path, sys.argv[1:])
    packages = sorted(folder.name for folder in (ROOT / "packages").iterdir())
    for package in packages:
        stem = f"{package.replace('-', '_')}-{version()}"
        check_sdist(archives / f"{stem}.tar.gz")
        check_wheel(archives / f"{stem}-py3-none-any.whl", from_tree)
    sys.stdout.write(f"checked the sdist and the wheel of {', '.join(packages)}\n")


if __name__ == "__main__":
    main()
