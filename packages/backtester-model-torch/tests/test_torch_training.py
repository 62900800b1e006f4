"""The training loop against one written by hand, and what it does when training goes wrong."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from backtester_model_core.config import TrainingConfig, parse_config
from backtester_model_core.exceptions import ConfigError, TrainingError
from backtester_model_torch import (
    PyTorchModelConfig,
    register_callback,
    register_loss,
    register_optimizer,
)
from backtester_model_torch.choices import build_loss, build_optimizer, build_schedule, pinball_loss
from backtester_model_torch.registered import CALLBACKS, LOSSES, OPTIMIZERS
from backtester_model_torch.training import Callback, Sample, Trainer
from backtester_model_torch.windows import Inputs

CPU = torch.device("cpu")

# -- what the tests share -------------------------------------------------------------------------------------------


def sample(n_rows=100, *, seed=0, weight=None):
    """Rows whose target is the sum of their features."""
    rows = torch.randn(n_rows, 3, generator=torch.Generator().manual_seed(seed))
    return Sample(Inputs.of(rows, steps=None, ends=None), rows.sum(dim=1), weight)


def linear_model():
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def training(**fields):
    return TrainingConfig(**{"epochs": 3, "batch_size": 32, "learning_rate": 0.01, **fields})


def train(config, *, on=None, later=None, network=None, seed=0):
    """Train and return the network with the notes."""
    network = network or linear_model()
    trainer = Trainer(config, build_loss(config, "regression"), CPU, seed)
    return network, trainer.train(network, on or sample(), later)


def weights_of(network):
    return [value.detach().clone() for value in network.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))


@pytest.fixture
def registered():
    """What a test registers is gone after it."""
    catalogs = (CALLBACKS, LOSSES, OPTIMIZERS)
    before = [set(catalog) for catalog in catalogs]
    yield
    for catalog, names in zip(catalogs, before, strict=True):
        for name in set(catalog) - names:
            catalog.discard(name)


@pytest.fixture
def recorded(registered):
    """A callback under the name 'recorder', and what it saw."""
    seen = []

    @register_callback("recorder")
    class Recorder(Callback):
        def __init__(self, *, stop_after=math.inf, poison_in=math.inf):
            self.stop_after, self.poison_in = stop_after, poison_in

        def on_train_begin(self, state):
            seen.append("begin")

        def on_epoch_begin(self, state):
            if state.epoch == self.poison_in:
                with torch.no_grad():
                    next(state.network.parameters()).fill_(math.nan)

        def on_epoch_end(self, state):
            seen.append((state.epoch, state.train_loss, state.validation_loss, state.learning_rate))
            state.stop = state.stop or state.epoch >= self.stop_after

        def on_train_end(self, state):
            seen.append("end")

    return seen


# -- the loop ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, 0.1])
def test_the_loop_takes_the_steps_of_one_written_by_hand(clip):
    network, _ = train(training(shuffle=False, gradient_clip=clip))

    by_hand, rows = linear_model(), sample()
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    for _ in range(3):
        for part in torch.arange(100).split(32):
            optimizer.zero_grad()
            output = by_hand(rows.inputs.windows[part]).squeeze(1)
            functional.mse_loss(output, rows.target[part]).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(by_hand.parameters(), clip)
            optimizer.step()

    assert same(network, by_hand)


def test_weights_decay_as_adamw_has_it():
    network, _ = train(training(shuffle=False, weight_decay=0.5))

    by_hand, rows = linear_model(), sample()
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.01, weight_decay=0.5)
    for _ in range(3):
        for part in torch.arange(100).split(32):
            optimizer.zero_grad()
            functional.mse_loss(by_hand(rows.inputs.windows[part]).squeeze(1), rows.target[part]).backward()
            optimizer.step()

    assert all(
        torch.allclose(a, b, rtol=1e-5) for a, b in zip(weights_of(network), weights_of(by_hand), strict=True)
    )


def test_shuffling_takes_every_row_once_an_epoch_in_a_seeded_order():
    trainer = Trainer(training(batch_size=7), functional.mse_loss, CPU, seed=3)

    first, again = (torch.cat(list(trainer._batches(50, trainer._generator()))) for _ in range(2))

    assert sorted(first.tolist()) == list(range(50))
    assert first.tolist() == again.tolist() != list(range(50))


def test_a_last_row_that_would_stand_alone_joins_the_batch_before_it():
    trainer = Trainer(training(batch_size=8), functional.mse_loss, CPU)

    assert [len(one) for one in trainer._batches(17, trainer._generator())] == [8, 9]
    assert [len(one) for one in trainer._batches(1, trainer._generator())] == [1]


def test_a_row_of_weight_two_counts_as_two_rows():
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    twice = rows[[0, 0, 1]]
    one_batch = training(batch_size=8, epochs=1, optimizer="sgd", shuffle=False)
    weighted = Sample(Inputs.of(rows, steps=None, ends=None), rows[:, 0], torch.tensor([4 / 3, 2 / 3]))
    repeated = Sample(Inputs.of(twice, steps=None, ends=None), twice[:, 0])

    one, _ = train(one_batch, on=weighted)
    other, _ = train(one_batch, on=repeated)

    assert all(torch.allclose(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))


def test_progress_is_logged(caplog):
    caplog.set_level("INFO", logger="backtester_model_torch")
    train(training(epochs=2), later=sample(20, seed=1))

    assert [record.message.split(": loss")[0] for record in caplog.records] == [
        "epoch 1 of 2",
        "epoch 2 of 2",
    ]
    assert "validation loss" in caplog.text


# -- stopping ---------------------------------------------------------------------------------------------------------


def test_training_stops_when_the_later_loss_has_not_fallen_and_goes_back(recorded):
    opposite = sample(seed=1)
    opposite = Sample(opposite.inputs, -opposite.target)
    config = training(epochs=50, early_stopping={"patience": 3}, callbacks=["recorder"])

    network, notes = train(config, later=opposite)

    losses = [entry[2] for entry in recorded[1:-1]]
    assert len(losses) == 4  # every epoch makes it worse, so the first is the best
    assert notes == (f"Trained 4 of 50 epochs; the best was 1, loss {losses[0]:.6g}.",)
    assert same(network, train(training(epochs=1))[0])


def test_the_last_weights_stay_where_the_best_are_not_wanted():
    opposite = Sample(sample(seed=1).inputs, -sample(seed=1).target)
    config = training(epochs=50, early_stopping={"patience": 2, "restore_best": False})

    network, _ = train(config, later=opposite)

    assert same(network, train(training(epochs=3))[0])


def test_a_fall_smaller_than_min_delta_is_none(recorded):
    config = training(epochs=9, early_stopping={"patience": 2, "min_delta": 100.0}, callbacks=["recorder"])

    train(config, later=sample(seed=1))

    assert [entry[0] for entry in recorded[1:-1]] == [1, 2, 3]  # the first falls from infinity


def test_a_loss_that_is_never_finite_is_an_error():
    config = training(optimizer="sgd", learning_rate=100.0, epochs=50, batch_size=8)

    with pytest.raises(TrainingError, match=r"The loss is not finite in epoch 1 of 50. Lower learning_rate"):
        train(config)


def test_a_loss_that_stops_being_finite_ends_training_at_the_best_epoch(recorded, caplog):
    config = training(epochs=9, callbacks=[{"name": "recorder", "poison_in": 3}])

    network, notes = train(config)

    assert notes[0].startswith(
        "The loss was not finite in epoch 3 of 9, so the training stopped and went back to epoch 2"
    )
    assert same(network, train(training(epochs=2))[0])
    assert notes[0] in caplog.text
    assert recorded[-1] == "end"


def test_weights_that_break_in_an_epochs_last_step_are_seen(registered):
    @register_optimizer("breaking")
    class Breaking(torch.optim.SGD):
        n_steps = 0

        def step(self, closure=None):
            super().step(closure)
            Breaking.n_steps += 1
            if Breaking.n_steps == 4:  # the last of the first epoch
                self.param_groups[0]["params"][0].data.fill_(math.inf)

    with pytest.raises(TrainingError, match="not finite in epoch 1 of 3"):
        train(training(optimizer="breaking"))


# -- callbacks --------------------------------------------------------------------------------------------------------


def test_callbacks_see_every_epoch_and_may_stop(recorded):
    config = training(epochs=9, callbacks=[{"name": "recorder", "stop_after": 2}])

    train(config)

    assert [recorded[0], recorded[-1]] == ["begin", "end"]
    assert [(epoch, later, rate) for epoch, _, later, rate in recorded[1:-1]] == [
        (1, None, 0.01),
        (2, None, 0.01),
    ]


def test_an_error_in_a_callback_is_not_swallowed(registered):
    @register_callback("failing")
    class Failing(Callback):
        def on_epoch_end(self, state):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        train(training(callbacks=["failing"]))


# -- learning rates ---------------------------------------------------------------------------------------------------


def rates(scheduler, *, epochs=5, recorded=None, later=None):
    recorded.clear()
    train(training(epochs=epochs, scheduler=scheduler, callbacks=["recorder"]), later=later)
    return [round(entry[3], 6) for entry in recorded[1:-1]]


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"name": "step", "every": 2, "factor": 0.1}, [0.01, 0.01, 0.001, 0.001, 0.0001]),
        ({"name": "exponential", "factor": 0.5}, [0.01, 0.005, 0.0025, 0.00125, 0.000625]),
        ({"name": "cosine", "warmup_epochs": 1}, [0.005, 0.01, 0.008536, 0.005, 0.001464]),
        ({"name": "LinearLR", "start_factor": 0.5, "total_iters": 2}, [0.005, 0.0075, 0.01, 0.01, 0.01]),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else None,
)
def test_a_schedule_sets_the_learning_rate_of_each_epoch(recorded, scheduler, expected):
    assert rates(scheduler, recorded=recorded) == expected


def test_a_plateau_lowers_the_learning_rate_as_far_as_its_minimum(recorded):
    opposite = Sample(sample(seed=1).inputs, -sample(seed=1).target)
    plateau = {"name": "plateau", "patience": 0, "factor": 0.1, "minimum": 0.05}

    assert rates(plateau, recorded=recorded, later=opposite)[:4] == [0.01, 0.01, 0.001, 0.0005]


# -- losses -----------------------------------------------------------------------------------------------------------


def test_the_pinball_loss_is_the_formula():
    losses = pinball_loss(torch.tensor([1.0, 1.0]), torch.tensor([3.0, 0.0]), quantile=0.9)

    assert losses.tolist() == pytest.approx([0.9 * 2, 0.1 * 1])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [("mse", [4.0, 0.25]), ("mae", [2.0, 0.5]), ({"name": "huber", "delta": 1.0}, [1.5, 0.125])],
)
def test_a_loss_has_one_number_for_each_row(loss, expected):
    losses = build_loss(TrainingConfig(loss=loss), "regression")(torch.tensor([2.0, 0.5]), torch.zeros(2))

    assert losses.tolist() == expected


def test_label_smoothing_spreads_a_share_over_all_classes():
    smoothed = build_loss(
        TrainingConfig(loss={"name": "cross_entropy", "label_smoothing": 0.2}), "classification"
    )
    scores = torch.tensor([[1.0, 0.0]])
    log_p = torch.log_softmax(scores, dim=1)[0].tolist()

    assert smoothed(scores, torch.tensor([0])).item() == pytest.approx(-(0.9 * log_p[0] + 0.1 * log_p[1]))


def test_a_registered_loss_takes_its_arguments(registered):
    @register_loss("powered")
    def powered(output, target, *, power=2):
        return (output - target).abs() ** power

    losses = build_loss(TrainingConfig(loss={"name": "powered", "power": 3}), "regression")

    assert losses(torch.tensor([2.0]), torch.zeros(1)).tolist() == [8.0]


# -- names and arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["adam", "AdamW", "RMSprop", "sgd", "NAdam", "Adagrad", "RAdam", "Adafactor"]
)
def test_any_optimizer_of_torch_is_found_by_its_name(name):
    optimizer = build_optimizer(training(optimizer=name), linear_model().parameters())

    assert type(optimizer).__name__.lower() == name.lower()
    assert optimizer.param_groups[0].get("weight_decay", 0.0) == 0.0


def refusal(**fields):
    """What a training is refused with when the model is built."""
    from backtester_model_torch.adapter import PyTorchAdapter

    config = parse_config(PyTorchModelConfig, {"model_type": "regression", "training_config": fields})
    with pytest.raises(ConfigError) as caught:
        PyTorchAdapter().initialize_model(config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adm"}, "Unknown training_config.optimizer 'adm'. Did you mean 'adam'?"),
        ({"optimizer": "LBFGS"}, "it evaluates each batch several times"),
        ({"optimizer": {"name": "sgd", "lr": 1}}, "lr is refused: training_config.learning_rate sets it"),
        ({"optimizer": {"name": "sgd", "momentun": 0.9}}, "'momentun'. Did you mean 'momentum'?"),
        (
            {"optimizer": {"name": "sgd", "momentum": -1}},
            "'sgd' refuses its arguments: Invalid momentum value: -1",
        ),
        ({"scheduler": "CosineAnealingLR"}, "Did you mean 'CosineAnnealingLR'?"),
        ({"scheduler": "StepLR"}, "'StepLR': missing a required argument: 'step_size'"),
        ({"scheduler": {"name": "LambdaLR", "lr_lambda": "x"}}, "LambdaLR"),
        ({"loss": "hubber"}, "Did you mean 'huber'?"),
        ({"callbacks": ["unheard_of"]}, "Register one with backtester_model_torch.register_callback"),
    ],
    ids=str,
)
def test_a_name_or_argument_that_torch_does_not_have_is_refused_before_training(fields, message):
    assert message in refusal(**fields)


def test_a_registered_optimizer_is_found(registered):
    register_optimizer("mine")(torch.optim.SGD)

    built = build_optimizer(
        training(optimizer={"name": "mine", "momentum": 0.5}), linear_model().parameters()
    )

    assert (type(built), built.param_groups[0]["momentum"]) == (torch.optim.SGD, 0.5)


def test_without_a_schedule_the_learning_rate_stays(recorded):
    optimizer = build_optimizer(training(), linear_model().parameters())

    build_schedule(training(), optimizer)(1.0)

    assert optimizer.param_groups[0]["lr"] == 0.01


# -- windows ----------------------------------------------------------------------------------------------------------


def test_windows_are_views_of_the_rows():
    rows = torch.arange(20.0).reshape(10, 2)
    inputs = Inputs.of(rows, steps=4, ends=np.array([3, 9]))

    assert inputs.windows.data_ptr() == rows.data_ptr()
    assert torch.equal(inputs.batch(torch.tensor([1, 0])), torch.stack([rows[6:10], rows[0:4]]))
