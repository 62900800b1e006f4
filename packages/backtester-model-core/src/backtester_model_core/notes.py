"""What adapters say of a training, in the same words whatever the framework."""

from __future__ import annotations

import numpy as np

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.typing import BoolArray, IntArray

NOT_STOPPED_EARLY = "No later rows were held back, so the training did not stop early."


def unseen_classes(classes: tuple[float, ...], seen: BoolArray | IntArray) -> list[str]:
    """Name the classes that no training row had.

    Args:
        classes: The classes' values in their fixed order.
        seen: Which classes training rows had, as a mask or by position.
    """
    missing = np.delete(np.asarray(classes), seen)
    return [f"No training row has the class {value:g}: its probability is 0." for value in missing]


def stopped_early(epoch: int, epochs: int, *, best: int, loss: float) -> str:
    """Say how far a training came that watched later rows, and which epoch was its best."""
    return f"Trained {epoch} of {epochs} epochs; the best was {best}, loss {loss:.6g}."


def went_back(epoch: int, epochs: int, *, best: int) -> str:
    """Say that a training ended at a loss that is not finite, and goes back to its best epoch.

    Raises:
        TrainingError: When there is no such epoch: ``best`` is 0.
    """
    where = f"in epoch {epoch} of {epochs}"
    advice = "Lower learning_rate, set gradient_clip or normalise the features."
    if best == 0:
        raise TrainingError(f"The loss is not finite {where}. {advice}")
    return f"The loss was not finite {where}, so the training stopped and went back to epoch {best}. {advice}"
