"""A fitted pipeline as a skops file, read back only when everything in it is on the list and in bounds.

A skops file is a zip archive of arrays, and of a schema that says which objects to make of them. It is read in this
order: the archive (nothing is compressed), the headers of its arrays, the schema (trusted types only), the objects,
their agreement with the configuration, and their soundness.
"""

from __future__ import annotations

import copy
import io
import json
import tokenize
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import skops.io
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from backtester_model_core.artifacts import check_archive
from backtester_model_core.exceptions import ArtifactError, ModelError
from backtester_model_sklearn.soundness import check_soundness, drop_search_trees, rebuild_search_trees
from backtester_model_sklearn.trusted import TRUSTED

SCHEMA = "schema.json"
MAX_SCHEMA_BYTES = 2**25
MAX_HEADER_BYTES = 4_096

SET_BY_TRAINING = {"early_stopping", "n_quantiles", "random_state"}
"""Parameters that training may set otherwise than the configuration says."""

BAD_CONTENT: tuple[type[Exception], ...] = (
    *(ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, tokenize.TokenError, zipfile.BadZipFile),
)
"""What zipfile, json, numpy, skops and scikit-learn raise on content that is not theirs."""


def pack_pipeline(pipeline: Pipeline) -> bytes:
    """Return a fitted pipeline as a skops file.

    Raises:
        ModelError: When it holds a type that is not on the list, so that it could not be read back.
    """
    with _without_repeated_warnings():
        content: bytes = skops.io.dumps(drop_search_trees(copy.deepcopy(pipeline)))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_types(_read_schema(archive))
        check_soundness(pipeline)
    except ValueError as error:
        raise ModelError(
            f"{type(pipeline.steps[-1][1]).__name__}, as it is configured, cannot be saved as data: {error}."
        ) from error
    return content


def unpack_pipeline(content: bytes, *, name: str, wanted: Pipeline, n_features: int) -> Pipeline:
    """Read a pipeline that ``pack_pipeline`` wrote, and refuse anything else.

    Args:
        content: The bytes of the file.
        name: Name of the file, for messages.
        wanted: The untrained pipeline of the configuration.
        n_features: Number of columns that it was fitted to.

    Raises:
        ArtifactError: With the first thing that is wrong.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_archive(archive, len(content))
            _check_arrays(archive)
            _check_types(_read_schema(archive))
        with _without_repeated_warnings():
            found = skops.io.loads(content, trusted=sorted({name for _, name in TRUSTED}))
        _check_parameters(found, wanted)
        check_soundness(found, n_features=n_features)
        return rebuild_search_trees(found)
    except BAD_CONTENT as error:
        raise ArtifactError.in_file(name, " ".join(str(error).split())[:300]) from error


@contextmanager
def _without_repeated_warnings() -> Iterator[None]:
    """Leave out what has been said: by the core that versions differ, by training that a class is deprecated."""
    with warnings.catch_warnings():
        for category in (InconsistentVersionWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        yield


# -- before skops reads it -----------------------------------------------------------------------------------------


def _read_schema(archive: zipfile.ZipFile) -> Any:
    if archive.getinfo(SCHEMA).file_size > MAX_SCHEMA_BYTES:
        raise ValueError(f"its schema has more than {MAX_SCHEMA_BYTES:,} bytes")
    return json.loads(archive.read(SCHEMA))


def _check_arrays(archive: zipfile.ZipFile) -> None:
    """Refuse members that are not arrays, and headers that promise other than the bytes that follow."""
    for member in archive.infolist():
        if member.filename == SCHEMA:
            continue
        if not member.filename.endswith(".npy"):
            raise ValueError(f"the member {member.filename!r} is not an array")
        with archive.open(member) as stream:
            shape, dtype = _read_header(stream)
            n_bytes = member.file_size - stream.tell()
        if dtype.hasobject or dtype.itemsize * int(np.prod(shape, dtype=object)) != n_bytes:
            raise ValueError(f"the array {member.filename!r} is not what its header says")


def _read_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array is of another npy version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER_BYTES)
    return shape, dtype


def _check_types(schema: Any) -> None:
    """Refuse a type that is not trusted, an array read twice, and trees of other than one target."""
    if schema.get("protocol") != skops.io._protocol.PROTOCOL:  # noqa: SLF001 - each protocol has loaders of its own
        raise ValueError(
            "it is of another skops protocol. Save the model again with the skops that is installed"
        )
    for node in _nodes(schema):
        loader, name = node.get("__loader__"), f"{node.get('__module__')}.{node.get('__class__')}"
        if (loader, name) not in TRUSTED:
            raise ValueError(f"it holds the type {name}, which is not trusted")
        if "file" in node and node["file"] != f"{node.get('__id__')}.npy":
            raise ValueError("it reads one array in several places")
        if loader == "TreeNode":
            _, n_classes, n_targets = node["__reduce__"]["args"]["content"]
            if n_targets.get("content") != "1" or n_classes.get("__loader__") != "NdArrayNode":
                raise ValueError("it holds a tree of several targets")


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every description of an object, without recursion, which a deep schema would exhaust."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "__loader__" in part or "__class__" in part:
                yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


# -- after skops has read it ---------------------------------------------------------------------------------------


def _check_parameters(found: Any, wanted: Pipeline) -> None:
    """Refuse a pipeline of other steps or parameters than the configuration describes."""
    if type(found) is not Pipeline or [name for name, _ in found.steps] != [name for name, _ in wanted.steps]:
        raise ValueError("it is not the pipeline that the configuration describes")
    have, want = found.get_params(), wanted.get_params()
    for name, value in want.items():
        if name == "steps" or name.rsplit("__", 1)[-1] in SET_BY_TRAINING:
            continue
        same = (
            type(have[name]) is type(value)
            if isinstance(value, BaseEstimator)
            else repr(have[name]) == repr(value)
        )
        if not same:
            raise ValueError(f"{name} is {have[name]!r:.80}, not {value!r:.80} as the configuration says")
    if have.keys() != want.keys():
        raise ValueError(
            f"it has other parameters than the configuration: {sorted(have.keys() - want.keys())}"
        )
