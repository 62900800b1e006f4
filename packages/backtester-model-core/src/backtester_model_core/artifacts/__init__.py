"""Saved models: folders of data that are written whole, verified before they are read, and never run."""

from backtester_model_core.artifacts.formats import (
    check_archive,
    expect_files,
    pack_arrays,
    pack_json,
    unpack_arrays,
    unpack_json,
)

__all__ = [
    "check_archive",
    "expect_files",
    "pack_arrays",
    "pack_json",
    "unpack_arrays",
    "unpack_json",
]
