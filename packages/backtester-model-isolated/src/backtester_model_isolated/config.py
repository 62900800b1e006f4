"""What an isolated model adds to the configuration: which adapter, in which environment, and its bounds."""

from __future__ import annotations

import json
import os.path
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeAlias

import pydantic

from backtester_model_core.config import ModelConfig
from backtester_model_core.config.groups import Name
from backtester_model_core.config.named import plain_data

MAX_OPTION_DEPTH = 16

Option: TypeAlias = Annotated[Any, plain_data(max_depth=MAX_OPTION_DEPTH, has_tables=True)]

SHARED = frozenset(ModelConfig.model_fields)
"""Fields that every model has; the adapter is given them too, with its own name for the framework."""


class IsolatedModelConfig(ModelConfig):
    """Any adapter by name, the environment that has it, and how long and how often it is waited for."""

    framework: Literal["isolated"] = pydantic.Field(default="isolated", description="Name of this adapter.")
    python: str = pydantic.Field(
        max_length=4096,
        description=(
            "Absolute path of the other environment's interpreter, such as '/opt/tf/bin/python'. Only one that "
            "BACKTESTER_MODEL_INTERPRETERS or allow_interpreter names is ever started."
        ),
    )
    adapter: Name = pydantic.Field(
        description="Name of the adapter that trains and predicts there, such as 'tensorflow'."
    )
    options: dict[Name, Option] = pydantic.Field(
        default_factory=dict,
        max_length=100,
        description=(
            "The adapter's own fields, checked there by its own configuration class; what every model has stands "
            "beside framework, as ever."
        ),
    )
    threads: int | None = pydantic.Field(
        default=None,
        ge=1,
        le=1024,
        description="OpenMP and BLAS threads of the other process; those of this one when not given.",
    )
    time_limit_seconds: float = pydantic.Field(
        default=3600.0,
        gt=0,
        le=604_800,
        description="How long one training or forecast may take before the process is ended.",
    )
    restarts: int = pydantic.Field(
        default=1,
        ge=0,
        le=10,
        description="How often a call whose process died is asked again, each time in a new one.",
    )

    @pydantic.field_validator("python")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if not os.path.isabs(value) or not value.isprintable():
            raise ValueError("the interpreter is named by its absolute path, such as '/opt/tf/bin/python'")
        return value

    @pydantic.field_validator("adapter")
    @classmethod
    def _check_adapter(cls, value: str) -> str:
        if value == "isolated":
            raise ValueError("an isolated adapter is not isolated again: name the adapter that trains")
        return value

    @pydantic.field_validator("options")
    @classmethod
    def _check_options(cls, value: dict[str, Any]) -> dict[str, Any]:
        shared = sorted(value.keys() & SHARED)
        if shared:
            raise ValueError(f"{', '.join(shared)}: every model has that, so it stands beside framework")
        return value

    @pydantic.model_validator(mode="after")
    def _check_size(self) -> Self:
        if len(self.inner) > 2**19:
            raise ValueError(
                f"the adapter's configuration has {len(self.inner):,} characters; at most 524,288"
            )
        return self

    @cached_property
    def inner(self) -> str:
        """The configuration that the adapter is given in its environment, as JSON; one text for each."""
        shared = self.model_dump(mode="json", include=set(SHARED))
        return json.dumps({**shared, **self.options, "framework": self.adapter}, sort_keys=True)
