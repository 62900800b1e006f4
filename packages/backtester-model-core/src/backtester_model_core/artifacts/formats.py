"""Data formats that are bounded before they are read and run no code: arrays as npz, plain values as JSON."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.typing import ModelFiles

MAX_JSON_BYTES = 2**20
MAX_JSON_DEPTH = 32
MAX_NUMBER_DIGITS = 40
MAX_MEMBERS = 10_000
MAX_DIMENSIONS = 8

DTYPES: tuple[str, ...] = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""What an array may hold: plain little-endian numbers, no objects, records, texts or dates."""

_DESCR = {np.dtype(name).newbyteorder("<").str: np.dtype(name).newbyteorder("<") for name in DTYPES}
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)(?P<text>\{'descr': '(?P<descr>[<|][a-z]\d)', "
    rb"'fortran_order': (?P<fortran>True|False), 'shape': \((?P<shape>(?:\d{1,15}(?:,|, |(?=\))))*)\), \} {0,200}\n)",
    re.DOTALL,
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|$)|[\[\]{}]', re.DOTALL)


def expect_files(files: ModelFiles, names: Iterable[str]) -> None:
    """Refuse a saved model whose files are not exactly the named ones.

    Raises:
        ArtifactError: With both lists; another framework's model is what it usually is.
    """
    wanted, given = sorted(names), sorted(files)
    if wanted != given:
        raise ArtifactError.refused(
            "The saved model",
            f"it has the files {', '.join(given) or 'none'} where {', '.join(wanted)} are wanted",
            "Load it by the framework and version that saved it.",
        )


# -- arrays ------------------------------------------------------------------------------------------------------


def pack_arrays(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Write named arrays as an uncompressed npz; the same arrays give the same bytes.

    Args:
        arrays: By name; names match ``[A-Za-z0-9_.-]{1,200}``, and types are those of ``DTYPES``.

    Raises:
        ArtifactError: When an array has another type, or a name cannot be written.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if array.dtype.name not in DTYPES or not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", name):
                raise ArtifactError.refused(
                    f"The array {name!r} of type {array.dtype}",
                    "it is not plain numbers under a plain name",
                    f"Turn it into one of {', '.join(DTYPES)}.",
                )
            content = io.BytesIO()
            plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"))
            np.lib.format.write_array(content, plain, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())  # its date is always 1980
    return packed.getvalue()


def unpack_arrays(content: bytes, *, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Read arrays that ``pack_arrays`` wrote; nothing is inflated, allocated or run before it has been bounded.

    Args:
        content: The bytes of the file.
        name: Name of the file, for messages.

    Raises:
        ArtifactError: When the archive is damaged or compressed, or an array is not what its header says.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_archive(archive, len(content))
            return {
                member.filename.removesuffix(".npy"): _read_array(archive.read(member))
                for member in archive.infolist()
            }
    except (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise ArtifactError.in_file(
            name, f"it is not an archive of plain arrays ({_short(error)})"
        ) from error


def check_archive(archive: zipfile.ZipFile, n_bytes: int) -> None:
    """Refuse a zip archive that would take more memory than the file has bytes.

    Raises:
        ValueError: When a member is compressed, encrypted or named twice, or members overlap.
    """
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"it has {len(members):,} members; at most {MAX_MEMBERS:,} are allowed")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("a member is there twice")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"the member {member.filename!r} is compressed")
        if member.flag_bits & 0x1:
            raise ValueError(f"the member {member.filename!r} is encrypted")
    if sum(member.file_size for member in members) > n_bytes:
        raise ValueError("its members are larger than the file")


def _read_array(content: bytes) -> np.ndarray[Any, Any]:
    """Read one npy member whose header, as numpy writes it, says exactly the bytes that follow."""
    header = _HEADER.match(content)
    if header is None or header["descr"].decode() not in _DESCR:
        raise ValueError("an array has no header of plain numbers")
    dtype = _DESCR[header["descr"].decode()]
    shape = tuple(int(length) for length in re.findall(rb"\d+", header["shape"]))
    if len(shape) > MAX_DIMENSIONS or int.from_bytes(header["length"], "little") != len(header["text"]):
        raise ValueError(f"an array has a header of another shape: {shape}")
    data = memoryview(content)[header.end() :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} and type {dtype} does not take {len(data):,} bytes")
    flat = np.frombuffer(data, dtype=dtype).copy()  # a copy is aligned, and may be written to
    return flat.reshape(shape, order="F" if header["fortran"] == b"True" else "C")


# -- plain values ------------------------------------------------------------------------------------------------


def pack_json(value: Any) -> bytes:
    """Write numbers, texts, lists and mappings as canonical JSON: the same value gives the same bytes.

    Raises:
        ArtifactError: When a value is not plain, or a number not finite.
    """
    try:
        return _canonical(value)
    except (TypeError, ValueError) as error:
        raise ArtifactError.refused(
            "What should be saved as JSON",
            str(error),
            "Give finite numbers, texts, lists and mappings; arrays go through pack_arrays.",
        ) from error


def unpack_json(content: bytes, *, name: str) -> Any:
    """Read what ``pack_json`` wrote: at most 1 MiB, 32 deep, of numbers of at most 40 digits.

    Only the canonical form is taken, so there is one file for each value, and no key twice.

    Raises:
        ArtifactError: When the file is larger, deeper or otherwise written.
    """
    try:
        return _parsed(content)
    except ValueError as error:
        raise ArtifactError.in_file(name, f"it is not the JSON that was saved ({_short(error)})") from error


def _canonical(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _parsed(content: bytes) -> Any:
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"it has {len(content):,} bytes; at most {MAX_JSON_BYTES:,} are allowed")
    text = content.decode()
    if _depth(text) > MAX_JSON_DEPTH:
        raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} deep")
    value = json.loads(text, parse_int=_bounded(int), parse_float=_bounded(float))
    if _canonical(value) != content:
        raise ValueError("it is not in the canonical form")
    return value


def _bounded(read: type[int | float]) -> Any:
    def number(text: str) -> int | float:
        if len(text) > MAX_NUMBER_DIGITS:
            raise ValueError(f"a number has {len(text)} digits; at most {MAX_NUMBER_DIGITS} are allowed")
        return read(text)

    return number


def _depth(text: str) -> int:
    """Return how deep brackets are nested, those inside texts apart."""
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
