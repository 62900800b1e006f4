"""What adapters say of a training, word for word."""

import numpy as np
import pytest

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.notes import stopped_early, unseen_classes, went_back


@pytest.mark.parametrize(
    "seen", [np.array([True, False, True, False]), np.array([0, 2])], ids=["mask", "positions"]
)
def test_classes_that_no_row_had_are_named_by_their_values(seen):
    assert unseen_classes((-1.0, 0.0, 0.5, 1.0), seen) == [
        "No training row has the class 0: its probability is 0.",
        "No training row has the class 1: its probability is 0.",
    ]


def test_nothing_is_said_where_every_class_was_seen():
    assert unseen_classes((0.0, 1.0), np.array([True, True])) == []


def test_a_training_that_watched_later_rows_names_its_best_epoch():
    note = stopped_early(12, 50, best=7, loss=0.69314718)

    assert note == "Trained 12 of 50 epochs; the best was 7, loss 0.693147."


def test_a_loss_that_is_not_finite_leads_back_to_the_best_epoch():
    assert went_back(9, 50, best=8) == (
        "The loss was not finite in epoch 9 of 50, so the training stopped and went back to epoch 8. "
        "Lower learning_rate, set gradient_clip or normalise the features."
    )


def test_a_loss_that_was_never_finite_is_an_error():
    with pytest.raises(
        TrainingError, match=r"^The loss is not finite in epoch 1 of 50\. Lower learning_rate, set"
    ):
        went_back(1, 50, best=0)
