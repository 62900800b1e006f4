"""The models that serve a stream: one for all symbols, or one for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from backtester_model_core.exceptions import ModelError
from backtester_model_core.model import BaseModel
from backtester_model_core.signals import SignalPolicy
from backtester_model_core.streaming.answers import Answers

Models: TypeAlias = BaseModel | Mapping[str, BaseModel]
Policies: TypeAlias = SignalPolicy | Mapping[str, SignalPolicy]


class Serving:
    """Trained models in force, each with its policy.

    Args:
        models: A trained model, or one for each symbol.
        policy: How forecasts become signals, in the same form; the models' own when not given.
        fast: Whether compiled steps may be used.

    Raises:
        NotTrainedError: When a model is not trained.
    """

    def __init__(self, models: Models, policy: Policies | None = None, *, fast: bool) -> None:
        self._fast = fast
        if isinstance(models, BaseModel):
            own = policy if isinstance(policy, SignalPolicy) else None
            self._answers = {"": Answers(models, own, fast=fast)}
        else:
            policies = policy if isinstance(policy, Mapping) else {}
            self._answers = {
                symbol: Answers(model, policies.get(symbol), fast=fast) for symbol, model in models.items()
            }
        self.first = next(iter(self._answers.values()))

    def of(self, symbol: str) -> Answers | None:
        """Return what answers for a symbol; ``None`` where no model does."""
        return self._answers.get(symbol) or self._answers.get("")

    @property
    def is_pooled(self) -> bool:
        """Whether one model serves all symbols."""
        return set(self._answers) == {""}

    @property
    def single(self) -> BaseModel:
        """The one model.

        Raises:
            ModelError: When each symbol has its own.
        """
        if not self.is_pooled:
            raise ModelError(
                "This stream has a model for each symbol. Save each model, and snapshot() beside them."
            )
        return self.first.model

    @property
    def has_fast_step(self) -> bool:
        """Whether every model answers through a compiled step."""
        return all(answers.step is not None for answers in self._answers.values())

    @property
    def may_trade(self) -> bool:
        """Whether signals are let through."""
        return all(answers.policy.may_trade for answers in self._answers.values())

    def gate(self, *, may_trade: bool) -> None:
        """Let signals through, or not."""
        for answers in self._answers.values():
            answers.gated(may_trade=may_trade)

    def succeeded_by(self, models: Models, policy: Policies | None) -> Serving:
        """Return other models in force.

        Raises:
            ModelError: When they have other features.
        """
        after = Serving(models, policy, fast=self._fast)
        one, other = self.first.model, after.first.model
        if other.columns != one.columns or other.context_rows != one.context_rows:
            raise ModelError(
                f"The model {other.config.model_name!r} has other features than {one.config.model_name!r}. "
                "Make a new stream for it, and warm it up."
            )
        return after
