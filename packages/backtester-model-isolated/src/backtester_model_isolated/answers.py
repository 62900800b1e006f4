"""What a child may answer: each answer's facts, strictly, and the project's own errors by their names."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import pydantic

from backtester_model_core import exceptions
from backtester_model_core.exceptions import BacktesterModelError
from backtester_model_isolated.protocol import Message, ProtocolError

MAX_TEXT = 20_000

ERRORS: dict[str, type[BacktesterModelError]] = {
    name: error
    for name, error in vars(exceptions).items()
    if isinstance(error, type) and issubclass(error, BacktesterModelError)
}
"""What an adapter may raise as itself; any other error is told, and raised as an IsolationError."""

Text = Annotated[str, pydantic.Field(max_length=MAX_TEXT)]
Texts = Annotated[list[Text], pydantic.Field(max_length=1_000)]


class Answer(pydantic.BaseModel):
    """The facts of an answer: plain, and none but those that are known."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Greeting(Answer):
    """The first words of a process."""

    core: Text = pydantic.Field(description="Version of its backtester-model-core.")
    api: int = pydantic.Field(description="Interface level of that.")


class Failure(Answer):
    """An error in place of an answer."""

    error: Text = pydantic.Field(description="Name of its class.")
    message: Text = pydantic.Field(description="What it says.")


class Description(Answer):
    """What an adapter says of a configuration."""

    context_rows: int = pydantic.Field(ge=0, le=1_000_000, description="Rows that a forecast looks back on.")
    uses_validation: bool = pydantic.Field(description="Whether training wants later rows.")
    can: Texts = pydantic.Field(description="The optional methods that it fills in.")
    versions: Texts = pydantic.Field(description="What its forecasts depend on.")


class Trained(Answer):
    """A model that was trained or loaded; its files come along, of a training."""

    notes: Texts = pydantic.Field(description="What is worth knowing about it.")


class Known(Answer):
    """Whether a process has the model that it was asked about; its answer comes along if so."""

    known: bool = pydantic.Field(description="Whether it has the model.")


AnswerT = TypeVar("AnswerT")
FactsT = TypeVar("FactsT", bound=Answer)


def parse_answer(kind: type[FactsT], message: Message) -> FactsT:
    """Read the facts of an answer.

    Raises:
        ProtocolError: When they are others than such an answer has.
    """
    try:
        return kind.model_validate(message.facts)
    except pydantic.ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the whole"
        raise ProtocolError(f"{where}: {fault['msg']}") from error


def failure_of(error: Exception) -> dict[str, Any]:
    """Return an error as facts: the nearest class that the other process knows, and the message."""
    own = next((each.__name__ for each in type(error).__mro__ if each.__name__ in ERRORS), None)
    return Failure(error=(own or type(error).__name__)[:200], message=str(error)[:MAX_TEXT]).model_dump()
