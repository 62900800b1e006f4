"""The manifest of a saved model: everything about it but the weights, with a digest of every byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic

from backtester_model_core.artifacts.formats import pack_json, unpack_json
from backtester_model_core.dataset import TrainReport
from backtester_model_core.exceptions import ArtifactError, ModelError
from backtester_model_core.typing import ModelFiles

FORMAT = 1
MANIFEST = "manifest.json"
MAX_BYTES = 2**30
"""What the files of one saved model may have together."""

FileName = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z0-9_][a-z0-9_.-]{0,63}$")]
Digest = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, pydantic.StringConstraints(max_length=1_000)]


class _Part(pydantic.BaseModel):
    """Anything in a manifest: frozen, strict, and with no key that this version does not know."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,
    )


class FileRecord(_Part):
    """One file beside the manifest."""

    size: int = pydantic.Field(ge=0, le=MAX_BYTES, description="Bytes of the file.")
    sha256: Digest = pydantic.Field(description="Digest of all of them.")


class DataRecord(_Part):
    """The rows that the model was trained on."""

    first: Text = pydantic.Field(description="Instant at which the first row was known.")
    last: Text = pydantic.Field(description="Instant at which the last row was known.")
    fingerprint: Digest = pydantic.Field(description="Digest of features, labels, weights and instants.")


class PolicyRecord(_Part):
    """How forecasts become signals, where that was fitted; sizes of residuals and the calibrator are arrays."""

    signal_threshold: float
    confidence_threshold: float
    strong_confidence: float
    baseline: float
    may_trade: bool
    shrinkage: float | None = pydantic.Field(
        description="Slope of outcomes on forecasts; None without residuals."
    )
    exit_confidence: float | None = pydantic.Field(
        default=None, description="Confidence down to which a side is kept; None where none is."
    )
    pays: bool | None = pydantic.Field(
        default=None, description="Whether thresholds chosen by cost pay; None when they were not."
    )
    calibrator: Text | None = pydantic.Field(
        default=None, description="Name of the calibrator; None without one."
    )
    win: float = pydantic.Field(default=0.0, description="Mean gain of Kelly's bet after costs.")
    loss: float = pydantic.Field(default=0.0, description="Mean loss of Kelly's bet after costs.")


class Manifest(_Part):
    """What a saved model says of itself."""

    format: Literal[1] = pydantic.Field(default=1, description="Version of the artefact's format.")
    content_key: Text = pydantic.Field(description="Digest of configuration, training data and code.")
    model: Text | None = pydantic.Field(description="Registered name; None for an adapter's model.")
    config: dict[str, Any] = pydantic.Field(description="The configuration, as data.")
    features: tuple[Text, ...] = pydantic.Field(min_length=1, description="Features in their trained order.")
    classes: tuple[float, ...] | None = pydantic.Field(description="Classes in their fixed order.")
    data: DataRecord = pydantic.Field(description="What it was trained on.")
    seed: int = pydantic.Field(ge=0, description="Seed of everything random.")
    threads: Text = pydantic.Field(description="OpenMP threads of the training process.")
    versions: dict[Text, Text] = pydantic.Field(description="Versions of what the forecasts depend on.")
    policy: PolicyRecord = pydantic.Field(description="How forecasts become signals.")
    report: TrainReport = pydantic.Field(description="What the training used.")
    files: dict[FileName, FileRecord] = pydantic.Field(min_length=1, description="Every other file.")

    @pydantic.model_validator(mode="after")
    def _check_agreement(self) -> Manifest:
        """Refuse what contradicts itself: names given twice, or another schema than the training reported."""
        if len(set(self.features)) < len(self.features):
            raise ValueError("a feature is named twice")
        if self.report.columns != self.features:
            raise ValueError("the features are not those that the training reported")
        if sum(file.size for file in self.files.values()) > MAX_BYTES:
            raise ValueError(f"its files have more than {MAX_BYTES:,} bytes together")
        if MANIFEST in self.files:
            raise ValueError("the manifest lists itself")
        return self


@dataclass(frozen=True, eq=False)
class Artifact:
    """A model as it is saved.

    Attributes:
        manifest: What it says of itself.
        files: The content of every file beside the manifest.
    """

    manifest: Manifest
    files: ModelFiles


def seal(facts: Mapping[str, Any]) -> bytes:
    """Write plain data as JSON that holds a digest of the rest of itself."""
    return pack_json({**facts, "sha256": hashlib.sha256(pack_json(facts)).hexdigest()})


def unseal(content: bytes, *, name: str) -> dict[str, Any]:
    """Read what ``seal`` wrote, and refuse another format, or a change of a single bit.

    Raises:
        ArtifactError: With what is wrong, and for a newer format what to upgrade.
    """
    facts = unpack_json(content, name=name)
    if not isinstance(facts, dict):
        raise ArtifactError.in_file(name, "it is not a mapping")
    found = facts.get("format")
    if type(found) is int and found > FORMAT:
        raise ArtifactError.refused(
            f"The file {name!r} of format {found}",
            f"this version reads formats up to {FORMAT}",
            "Try: pip install --upgrade backtester-model-core.",
        )
    digest = facts.pop("sha256", None)
    if digest != hashlib.sha256(pack_json(facts)).hexdigest():
        raise ArtifactError.in_file(name, "its digest is not that of its content, so it is damaged")
    return facts


def write_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of the manifest's file."""
    return seal(manifest.model_dump(mode="json"))


def read_manifest(content: bytes) -> Manifest:
    """Read a manifest, and refuse unknown keys and values out of bounds.

    Raises:
        ArtifactError: With the first thing that is wrong.
    """
    facts = unseal(content, name=MANIFEST)
    try:
        return Manifest.model_validate_json(json.dumps(facts))
    except pydantic.ValidationError as error:
        raise ArtifactError.in_file(MANIFEST, _first_fault(error)) from error


def describe(files: ModelFiles, **facts: Any) -> Manifest:
    """Return the manifest of files, with everything else that it says.

    Raises:
        ModelError: When a name, a size or a fact is one that could not be read back.
    """
    records = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    try:
        return Manifest.model_validate({"files": records, **facts})
    except pydantic.ValidationError as error:
        raise ModelError(f"The model cannot be saved: {_first_fault(error)}.") from error


def _first_fault(error: pydantic.ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "the whole"
    return f"{where}: {fault['msg']}"
