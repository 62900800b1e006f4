"""A trained network as data: weights by safetensors, whose header must say what the configuration already says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from backtester_model_core.artifacts import expect_files, pack_json, unpack_json
from backtester_model_core.exceptions import ArtifactError, ModelError
from backtester_model_core.scaling import Scaling
from backtester_model_core.typing import ModelFiles

WEIGHTS = "weights.safetensors"
FACTS = "network.json"
MAX_HEADER_BYTES = 2**20

NETWORK = "network."
SCALES = ("features", "target")

_DTYPES: Mapping[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def pack_network(network: nn.Module, scalings: Mapping[str, Scaling], facts: Mapping[str, Any]) -> ModelFiles:
    """Return the files of a trained network.

    Args:
        network: The trained network.
        scalings: How features are standardised, and for a regression the target, by ``SCALES``.
        facts: Plain values that belong to it.

    Raises:
        ModelError: When a registered module's weights cannot be written, such as one that is two layers' at once.
    """
    tensors = {**_of_network(network), **_of_scalings(scalings)}
    try:
        content = safetensors.torch.save(
            {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
        )
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise ModelError(f"The network's weights cannot be written as safetensors: {error}") from error
    return {WEIGHTS: content, FACTS: pack_json(dict(facts))}


def unpack_network(
    files: ModelFiles, network: nn.Module, scalings: Mapping[str, Scaling]
) -> tuple[dict[str, Scaling], Any]:
    """Put saved weights into an untrained network; return the scalings that were saved, and the facts.

    Args:
        files: What ``pack_network`` returned.
        network: The network as its configuration builds it, with the shapes that the weights must have.
        scalings: Scalings of the shapes that are wanted.

    Raises:
        ArtifactError: When a file is missing or foreign, or the weights are not those of this network.
    """
    expect_files(files, [WEIGHTS, FACTS])
    wanted = {**_of_network(network), **_of_scalings(scalings)}
    _check_header(files[WEIGHTS], wanted)
    try:
        tensors = safetensors.torch.load(files[WEIGHTS])
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise ArtifactError.in_file(WEIGHTS, f"safetensors cannot read it ({error})") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArtifactError.in_file(WEIGHTS, f"the tensor {name!r} holds a number that is not finite")
    network.load_state_dict(
        {name.removeprefix(NETWORK): one for name, one in tensors.items() if name.startswith(NETWORK)},
        strict=True,
    )
    return {name: _scaling(tensors, name) for name in scalings}, unpack_json(files[FACTS], name=FACTS)


def _of_network(network: nn.Module) -> dict[str, Tensor]:
    return {f"{NETWORK}{name}": one for name, one in network.state_dict().items()}


def _of_scalings(scalings: Mapping[str, Scaling]) -> dict[str, Tensor]:
    parts = {
        f"{name}.{part}": getattr(one, part) for name, one in scalings.items() for part in ("centre", "width")
    }
    return {name: torch.from_numpy(np.array(part, dtype=np.float64)) for name, part in parts.items()}


def _scaling(tensors: Mapping[str, Tensor], name: str) -> Scaling:
    centre, width = (tensors[f"{name}.{part}"].numpy() for part in ("centre", "width"))
    if not (width > 0).all():
        raise ArtifactError.in_file(
            WEIGHTS, f"the tensor '{name}.width' holds a deviation that is not positive"
        )
    return Scaling(centre, width)


def _check_header(content: bytes, wanted: Mapping[str, Tensor]) -> None:
    """Refuse a file whose header is not exactly that of the tensors wanted, before safetensors sees a byte."""
    n_header = int.from_bytes(content[:8], "little")
    if len(content) < 8 or n_header > min(MAX_HEADER_BYTES, len(content) - 8):
        raise ArtifactError.in_file(
            WEIGHTS,
            f"its header has {n_header:,} bytes; the file has {len(content):,}, and {MAX_HEADER_BYTES:,} are allowed",
        )
    try:
        header = json.loads(content[8 : 8 + n_header])
    except (ValueError, RecursionError) as error:
        raise ArtifactError.in_file(WEIGHTS, "it has no header as safetensors writes it") from error
    if not isinstance(header, dict) or header.keys() != wanted.keys():
        raise ArtifactError.in_file(WEIGHTS, _difference(header, wanted))
    for name, tensor in wanted.items():
        given = header[name] if isinstance(header[name], dict) else {}
        shape, dtype = list(tensor.shape), _DTYPES.get(tensor.dtype)
        if given.get("shape") != shape or given.get("dtype") != dtype:
            raise ArtifactError.in_file(
                WEIGHTS,
                f"the tensor {name!r} is {given.get('dtype')} of {given.get('shape')}, the configuration's {dtype} "
                f"of {shape}",
            )
    n_bytes = sum(math.prod(one.shape) * one.element_size() for one in wanted.values())
    if len(content) != 8 + n_header + n_bytes:
        raise ArtifactError.in_file(
            WEIGHTS, f"it has {len(content):,} bytes where its tensors take {n_bytes:,}"
        )


def _difference(header: Any, wanted: Mapping[str, Tensor]) -> str:
    if not isinstance(header, dict):
        return "its header is not a table of tensors"
    missing, extra = sorted(wanted.keys() - header.keys()), sorted(header.keys() - wanted.keys())
    parts = [f"missing: {', '.join(missing[:5])}"] if missing else []
    parts += [f"extra: {', '.join(extra[:5])}"] if extra else []
    return f"its tensors are not those of the configuration's layers; {'; '.join(parts)}"[:500]
