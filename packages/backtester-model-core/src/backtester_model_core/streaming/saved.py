"""A stream's state on disk, beside its model: whole or not at all, and verified before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backtester_model_core.artifacts import Manifest, VersionFolder
from backtester_model_core.exceptions import ArtifactError, ModelError
from backtester_model_core.saving import CORE_ARRAYS, to_artifact
from backtester_model_core.storage import replace_file
from backtester_model_core.streaming.serving import Serving

STATE = "state.json"
STATE_FORMAT = 1
MAX_STATE_BYTES = 2**28


def save_stream(folder: Path, serving: Serving, *, is_gated: bool, state: Mapping[str, Any]) -> None:
    """Save a stream's model with the policy in force, where they are not saved there yet, and its state.

    Args:
        folder: Where to.
        serving: What is in force.
        is_gated: Whether evidence opens and shuts the gate: then it is as the model's own policy has it, and a
            gate that moved makes no other version.
        state: The state.

    Raises:
        ModelError: When each symbol has a model, or the model cannot be written as data.
        ArtifactError: When the folder cannot be written.
    """
    model, policy = serving.single, serving.first.policy
    if is_gated:
        policy = replace(policy, may_trade=model.policy.may_trade)
    versions, artifact = VersionFolder(folder / "model"), to_artifact(model, policy)
    if versions.current() is None or not _is_same(versions.read().manifest, artifact.manifest):
        versions.promote(versions.publish(artifact))
    write_state(folder, state)


def check_state(state: Mapping[str, Any], *, model: Mapping[str, Any], name: str) -> None:
    """Refuse a state of another format, or of a model with other features.

    Args:
        state: The state.
        model: What it must say of its model.
        name: Name of the model that it is to be restored beside.

    Raises:
        ModelError: With what to do.
    """
    if state.get("format") != STATE_FORMAT:
        raise ModelError(
            f"The stream's state has the format {state.get('format')!r}; this version reads {STATE_FORMAT}. "
            "Warm a new stream up."
        )
    if state["model"] != model:
        raise ModelError(
            f"The stream's state is of a model with other features than {name!r} has. "
            "Restore it beside the model it was made with."
        )


def write_state(folder: Path, state: Mapping[str, Any]) -> Path:
    """Write a stream's state into a folder, in place of the one that is there.

    Raises:
        ArtifactError: When the folder cannot be written; the state that was there stays.
    """
    text = json.dumps(state, sort_keys=True)
    content = json.dumps({"sha256": _digest(text), "state": text})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return replace_file(folder / STATE, content.encode())
    except OSError as error:
        raise ArtifactError.unwritable(folder / STATE, str(error.strerror or error)) from error


def read_state(folder: Path) -> dict[str, Any]:
    """Read a state that :func:`write_state` wrote.

    Raises:
        ArtifactError: When there is none, or it is damaged.
    """
    file = folder / STATE
    try:
        return _unsealed(file)
    except FileNotFoundError as error:
        raise ArtifactError.refused(folder, f"there is no {STATE}", "Save a stream there first.") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError.refused(file, f"it is damaged ({error})", "Warm a new stream up.") from error


def _is_same(one: Manifest, other: Manifest) -> bool:
    """Say whether two models were made of the same, forecast the same and act on it in the same way.

    The frameworks' own files are not compared: some write the same model with other bytes each time.
    """
    return (one.content_key, one.policy, one.files[CORE_ARRAYS]) == (
        other.content_key,
        other.policy,
        other.files[CORE_ARRAYS],
    )


def _unsealed(file: Path) -> dict[str, Any]:
    if file.stat().st_size > MAX_STATE_BYTES:
        raise ValueError(f"it is larger than {MAX_STATE_BYTES:,} bytes")
    sealed = json.loads(file.read_bytes())
    if set(sealed) != {"sha256", "state"} or _digest(sealed["state"]) != sealed["sha256"]:
        raise ValueError("its digest is another")
    state: dict[str, Any] = json.loads(sealed["state"])
    return state


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
