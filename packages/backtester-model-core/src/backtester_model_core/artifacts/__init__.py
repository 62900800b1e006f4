"""Saved models: folders of data that are written whole, verified before they are read, and never run."""

from backtester_model_core.artifacts.formats import (
    check_archive,
    expect_files,
    pack_arrays,
    pack_json,
    unpack_arrays,
    unpack_json,
)
from backtester_model_core.artifacts.manifest import (
    MANIFEST,
    MAX_BYTES,
    Artifact,
    DataRecord,
    Manifest,
    PolicyRecord,
    describe,
)
from backtester_model_core.artifacts.versions import VersionFolder, read_saved

__all__ = [
    "MANIFEST",
    "MAX_BYTES",
    "Artifact",
    "DataRecord",
    "Manifest",
    "PolicyRecord",
    "VersionFolder",
    "check_archive",
    "describe",
    "expect_files",
    "pack_arrays",
    "pack_json",
    "read_saved",
    "unpack_arrays",
    "unpack_json",
]
