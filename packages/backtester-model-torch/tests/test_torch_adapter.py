"""PyTorch networks keep the adapter contract, learn what can be learned, and say what went wrong."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from backtester_model_core import ModelConfig, walk_forward
from backtester_model_core.config import parse_config
from backtester_model_core.exceptions import ConfigError, ModelError, TrainingError
from backtester_model_core.factory import create_model
from backtester_model_core.testing import AdapterContract, random_bars, random_panel, synthetic_rows
from backtester_model_torch import PyTorchModelConfig, register_module
from backtester_model_torch.adapter import PyTorchAdapter
from backtester_model_torch.devices import devices_here, seeded
from backtester_model_torch.registered import MODULES

ADAPTER = PyTorchAdapter()
DENSE = {
    "model_architecture": {"layers": [{"type": "dense", "units": 16, "activation": "relu", "dropout": 0.1}]},
    "training_config": {"epochs": 20, "batch_size": 32, "learning_rate": 0.01},
}

SEQUENCE = {
    "model_architecture": {"layers": [{"type": "gru", "units": 12}]},
    "training_config": {"epochs": 10, "batch_size": 32, "learning_rate": 0.03},
    "lookback_period": 3,
}

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
needs_mps = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="this machine has no MPS device")


class TestRowsAndWindows(AdapterContract):
    """Layers that take rows, and layers that take windows."""

    framework = "pytorch"
    random = True
    classification: ClassVar = {
        **DENSE,
        "training_config": {"epochs": 10, "batch_size": 50, "learning_rate": 0.03},
    }
    regression: ClassVar = {
        **SEQUENCE,
        "training_config": {"epochs": 10, "batch_size": 50, "learning_rate": 0.05},
    }


# -- what the tests share -------------------------------------------------------------------------------------------


def config(*layers, **fields):
    stack = {"model_architecture": {"layers": list(layers)}} if layers else {}
    return parse_config(PyTorchModelConfig, {**stack, **fields})


def trained(settings, rows, target, ends=None, *, seed=0, **more):
    classes = (0.0, 1.0) if settings.model_type == "classification" else None
    native = ADAPTER.initialize_model(settings)
    return ADAPTER.train_model(native, rows, target, classes=classes, ends=ends, seed=seed, **more)


def rows_of(n_rows=300, *, seed=0, model_type="classification"):
    return synthetic_rows(n_rows, seed=seed, model_type=model_type)


STEPS = 31


def planted(n, *, seed=0, steps=STEPS, lag=None, shuffled=False):
    """Rows of one sign, the direction being that of ``lag`` bars ago; (rows, target, ends)."""
    rng = np.random.default_rng(seed)
    rows = rng.choice([-1.0, 1.0], size=(n + steps - 1, 1))
    ends = np.arange(steps - 1, n + steps - 1)
    target = (rows[ends - (steps - 1 if lag is None else lag), 0] > 0).astype(np.int64)
    return rows, rng.permutation(target) if shuffled else target, ends


def accuracy(native, rows, target, ends):
    return float((ADAPTER.predict(native, rows, ends=ends).argmax(axis=1) == target).mean())


LEARNING = {"epochs": 10, "batch_size": 16, "learning_rate": 0.003, "gradient_clip": 1.0}
LSTM = config({"type": "lstm", "units": 32}, lookback_period=STEPS, training_config=LEARNING)

# -- sequences --------------------------------------------------------------------------------------------------------


def test_an_lstm_learns_a_sign_of_thirty_bars_ago():
    networks = (
        trained(LSTM, *planted(4000), seed=seed) for seed in range(4)
    )  # which begin well, depends on the CPU

    assert any(accuracy(native, *planted(1000, seed=1)) > 0.95 for native in networks)


def test_an_lstm_stays_at_the_base_rate_when_the_pattern_is_shuffled():
    native = trained(LSTM, *planted(4000, shuffled=True))

    assert accuracy(native, *planted(1000, seed=1)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "layers",
    [
        [{"type": "gru", "units": 16}],
        [{"type": "conv1d", "filters": 8, "kernel_size": 4}, {"type": "flatten"}],
        [{"type": "tcn", "filters": 16, "dilations": [1, 2, 4]}],
        [
            {"type": "dense", "units": 16},
            {"type": "positional_encoding", "kind": "learned"},
            {"type": "transformer_encoder", "heads": 4, "feedforward_units": 32},
        ],
        [
            {"type": "dense", "units": 16},
            {"type": "positional_encoding", "kind": "learned"},
            {"type": "attention", "heads": 4},
            {"type": "batch_norm"},
            {"type": "flatten"},
        ],
    ],
    ids=["gru", "conv1d", "tcn", "transformer", "attention"],
)
def test_every_kind_of_sequence_layer_learns_a_sign_of_seven_bars_ago(layers):
    settings = config(*layers, lookback_period=8, training_config={**LEARNING, "learning_rate": 0.01})

    native = trained(settings, *planted(1500, steps=8))

    assert accuracy(native, *planted(500, seed=1, steps=8)) > 0.95


def test_a_forecast_sees_its_own_window_and_nothing_else():
    native = trained(
        config({"type": "gru", "units": 4}, lookback_period=5, training_config={"epochs": 1}),
        *planted(80, steps=5),
    )
    rows, _, ends = planted(60, seed=2, steps=5)
    before = ADAPTER.predict(native, rows, ends=ends)
    rows[20] *= -1

    changed = np.flatnonzero((ADAPTER.predict(native, rows, ends=ends) != before).any(axis=1))

    assert (ends[changed] >= 20).all()
    assert (ends[changed] < 25).all()


def test_windows_may_end_at_any_rows_in_any_order():
    settings = config({"type": "gru", "units": 4}, lookback_period=5, training_config={"epochs": 1})
    rows, target, ends = planted(200, steps=5)
    native = trained(settings, rows, target, ends)

    some = np.array([100, 40, 41, 203])

    assert np.array_equal(
        ADAPTER.predict(native, rows, ends=some), ADAPTER.predict(native, rows, ends=ends)[some - 4]
    )


def test_rows_of_no_window_may_be_unknown():
    settings = config({"type": "gru", "units": 4}, lookback_period=5, training_config={"epochs": 1})
    rows, target, ends = planted(200, steps=5)
    rows[:50] = np.nan
    kept = ends >= 54

    native = trained(settings, rows, target[kept], ends[kept])

    assert np.isfinite(ADAPTER.predict(native, rows, ends=ends[kept])).all()


def test_windows_without_their_ends_are_refused():
    native = ADAPTER.initialize_model(LSTM)

    with pytest.raises(ModelError, match="windows of 31 rows, so it must be told where they end"):
        ADAPTER.train_model(native, *planted(50)[:2], classes=(0.0, 1.0))


@pytest.mark.parametrize(("layers", "context"), [([{"type": "gru", "units": 4}], 30), ([], 0)])
def test_the_history_that_a_forecast_needs_follows_from_the_layers(layers, context):
    assert ADAPTER.context_rows(config(*layers, lookback_period=31)) == context


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("kind", ["lstm", "gru", "tcn"])
def test_an_answer_does_not_depend_on_the_rows_asked_with_it(kind, n_rows):
    layer = {"type": kind, "filters" if kind == "tcn" else "units": 20}
    settings = config(layer, lookback_period=9, training_config={"epochs": 1})
    rows, target, ends = planted(200, steps=9)
    native = trained(settings, rows, target, ends)

    together = ADAPTER.predict(native, rows, ends=ends)

    assert np.array_equal(ADAPTER.predict(native, rows, ends=ends[-n_rows:]), together[-n_rows:])


def test_a_class_that_no_row_had_has_no_probability():
    rows, target = rows_of()
    native = ADAPTER.train_model(
        ADAPTER.initialize_model(config(**DENSE)), rows, target * 2, classes=(-1.0, 0.0, 1.0), seed=0
    )

    assert (ADAPTER.predict(native, rows)[:, 1] == 0).all()
    assert "No training row has the class 0: its probability is 0." in ADAPTER.training_notes(native)


def test_a_target_of_any_size_is_learned():
    settings = config(**DENSE, model_type="regression")
    rows, target = rows_of(model_type="regression")

    small, large = (
        ADAPTER.predict(trained(settings, rows, target * size), rows) / size for size in (1e-3, 1e6)
    )

    assert np.corrcoef(small, target)[0, 1] > 0.9
    assert small == pytest.approx(large, rel=1e-4, abs=1e-4)


def test_features_are_taken_as_they_are_where_they_should_not_be_normalised():
    rows, target = rows_of()

    native = trained(config(**DENSE, normalize_features=False), rows, target)

    assert (native.features.centre.tolist(), native.features.width.tolist()) == ([0.0] * 4, [1.0] * 4)
    assert accuracy(native, rows, target, None) > 0.8


def test_a_quantile_is_foreseen():
    loss = {"name": "quantile", "quantile": 0.9}
    settings = config(
        model_type="regression", training_config={**DENSE["training_config"], "loss": loss, "epochs": 40}
    )
    rows, target = rows_of(1500, model_type="regression")

    native = trained(settings, rows, target)

    assert (target < ADAPTER.predict(native, rows)).mean() == pytest.approx(0.9, abs=0.04)


def test_class_weights_move_the_forecasts():
    rows, target = rows_of()
    means = [
        ADAPTER.predict(
            trained(
                config(training_config={**DENSE["training_config"], "class_weight": weight}), rows, target
            ),
            rows,
        )[:, 1].mean()
        for weight in (None, {"0": 1.0, "1": 20.0})
    ]

    assert means[1] > means[0] + 0.05


def test_features_that_decide_matter_most():
    settings = config(**DENSE)
    rows, target = rows_of(600)
    native = trained(settings, rows, target)

    importance = ADAPTER.feature_importance(native, rows, target, seed=0)

    assert importance[:2].min() > 5 * importance[2:].max()
    assert np.array_equal(importance, ADAPTER.feature_importance(native, rows, target, seed=0))


def test_a_trained_model_can_be_trained_on():
    settings = config(**DENSE)
    rows, target = rows_of()
    native = trained(settings, rows, target)
    before = ADAPTER.predict(native, rows)

    updated = ADAPTER.update_model(native, rows, 1 - target, seed=0)

    assert np.array_equal(ADAPTER.predict(native, rows), before)
    assert np.corrcoef(ADAPTER.predict(updated, rows)[:, 1], before[:, 1])[0, 1] < -0.5


@pytest.mark.parametrize("fields", [DENSE, SEQUENCE], ids=["rows", "windows"])
def test_a_model_stops_early_by_later_purged_rows(fields):
    training = {**fields["training_config"], "early_stopping": {"patience": 2}, "scheduler": "plateau"}
    model = create_model(config(**{**fields, "training_config": training}))

    report = model.train_dataset(model.prepare(random_bars(400, seed=1)))

    assert report.n_validation > 50
    assert "epochs; the best was" in report.notes[-1]


def test_early_stopping_without_later_rows_is_said_to_do_nothing():
    training = {**DENSE["training_config"], "epochs": 2, "early_stopping": {}}

    native = trained(config(**{**DENSE, "training_config": training}), *rows_of())

    assert "No later rows were held back, so the training did not stop early." in ADAPTER.training_notes(
        native
    )


def test_a_walk_forward_of_a_panel_serves_every_symbol():
    bars = random_panel(3, 220, seed=5, lives={"S001": (0, 190)})
    short = {**SEQUENCE["training_config"], "epochs": 1}
    settings = {
        "framework": "pytorch",
        **SEQUENCE,
        "training_config": short,
        "validation": {"train_size": 120},
    }

    result = walk_forward(settings, bars)

    served = result.predictions["expected"].groupby(level="symbol").count()
    assert served["S000"] == served["S002"] > served["S001"] > 0


# -- what is random, and what stays as it was -------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    settings = config(
        {"type": "lstm", "units": 8, "dropout": 0.3}, lookback_period=6, training_config={"epochs": 2}
    )
    rows, target, ends = planted(300, steps=6)

    first, again, other = (
        ADAPTER.predict(trained(settings, rows, target, ends, seed=seed), rows, ends=ends)
        for seed in (1, 1, 2)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_training_leaves_torchs_state_as_it_was():
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    deterministic = torch.backends.cudnn.deterministic

    trained(config(**DENSE), *rows_of())

    assert torch.equal(torch.random.get_rng_state(), state)
    assert (torch.get_num_threads(), torch.backends.cudnn.deterministic) == (threads, deterministic)


def test_without_a_seed_trainings_differ():
    rows, target = rows_of()

    one, other = (trained(config(**DENSE), rows, target, seed=None) for _ in range(2))

    assert not np.array_equal(ADAPTER.predict(one, rows), ADAPTER.predict(other, rows))


def test_a_trained_model_travels_with_its_weights():
    rows, target = rows_of()
    native = trained(config(**DENSE), rows, target)

    twin = pickle.loads(pickle.dumps(native))

    assert np.array_equal(ADAPTER.predict(twin, rows), ADAPTER.predict(native, rows))


def test_a_killed_training_leaves_nothing(tmp_path):
    code = """
        import sys
        from backtester_model_core.testing import random_bars
        from backtester_model_core.factory import create_model, load_config
        model = create_model(load_config({"framework": "pytorch", "training_config": {"epochs": 100000}}))
        dataset = model.prepare(random_bars(600))
        print("training", flush=True)
        model.train_dataset(dataset)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout.readline() == "training\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGKILL)

    assert child.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


# -- devices ----------------------------------------------------------------------------------------------------------


def test_the_notes_name_the_device():
    native = trained(config(**DENSE), *rows_of())

    assert ADAPTER.training_notes(native)[0].startswith(f"Trained on {devices_here()[-1]}")


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_absent_is_refused_before_training(name):
    if name in devices_here() or f"{name}:0" in devices_here():
        pytest.skip(f"this machine has {name}")

    with pytest.raises(ConfigError, match=f"device '{name}' is not there: torch .* finds cpu.* 'auto'"):
        ADAPTER.initialize_model(config(device=name))


def test_the_best_device_there_is_comes_last(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    assert devices_here() == ["cpu", "mps", "cuda:1", "cuda:0"]


def test_mixed_precision_without_a_gpu_is_said_to_do_nothing():
    settings = config(device="cpu", training_config={"epochs": 1, "mixed_precision": True})

    notes = ADAPTER.training_notes(trained(settings, *rows_of()))

    assert "mixed_precision needs a CUDA device: on cpu all is in single precision." in notes


@needs_cuda
@pytest.mark.parametrize("mixed", [False, True])
def test_a_gpu_learns_as_the_cpu_does(mixed):
    settings = config(
        **{**DENSE, "training_config": {**DENSE["training_config"], "mixed_precision": mixed}}, device="cuda"
    )
    rows, target = rows_of()
    state = torch.cuda.get_rng_state()

    first, again = (ADAPTER.predict(trained(settings, rows, target), rows) for _ in range(2))
    on_cpu = ADAPTER.predict(trained(config(**DENSE, device="cpu"), rows, target), rows)

    assert np.array_equal(first, again)
    assert np.corrcoef(first[:, 1], on_cpu[:, 1])[0, 1] > 0.95
    assert torch.equal(torch.cuda.get_rng_state(), state)


@needs_mps
def test_an_apple_gpu_learns_as_the_cpu_does():
    rows, target = rows_of()

    on_mps, on_cpu = (
        ADAPTER.predict(trained(config(**DENSE, device=device), rows, target), rows)
        for device in ("mps", "cpu")
    )

    assert np.corrcoef(on_mps[:, 1], on_cpu[:, 1])[0, 1] > 0.95


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, of its compiler
def test_a_compiled_network_learns_the_same():
    """Torch is asked to compile and told to run what it would have compiled: a real one takes most of a minute."""
    rows, target = rows_of()
    plain = config({"type": "dense", "units": 4}, training_config={"epochs": 2})
    compiled = config({"type": "dense", "units": 4}, training_config={"epochs": 2, "compile": True})

    with torch.compiler.set_stance("force_eager"):
        one, other = (
            ADAPTER.predict(trained(settings, rows, target), rows) for settings in (plain, compiled)
        )

    assert np.array_equal(one, other)


def test_what_is_drawn_inside_a_seed_is_the_same_twice():
    drawn = []
    for _ in range(2):
        with seeded(5, torch.device("cpu")):
            drawn.append(torch.rand(3).tolist())

    assert drawn[0] == drawn[1]


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_another_frameworks_configuration_is_refused():
    with pytest.raises(ConfigError, match="'pytorch' takes a PyTorchModelConfig, not a ModelConfig"):
        ADAPTER.initialize_model(ModelConfig(framework="other"))


@pytest.mark.parametrize("inside", [False, True])
def test_a_module_that_nobody_registered_is_refused_before_training(inside):
    layer = {"type": "framework", "name": "unheard_of"}

    with pytest.raises(ConfigError, match=r"Unknown registered module 'unheard_of'.*register_module"):
        ADAPTER.initialize_model(config({"type": "residual", "layers": [layer]} if inside else layer))


def test_shapes_that_do_not_meet_the_features_are_refused_when_these_are_known():
    settings = config({"type": "attention", "heads": 3}, lookback_period=4)

    with pytest.raises(
        ConfigError, match=r"layers\[0\] \(attention\) cannot take \(4, 1\), which is what goes in"
    ):
        trained(settings, *planted(50, steps=4))


def test_features_other_than_the_input_shape_says_are_refused():
    with pytest.raises(ConfigError, match=r"input_shape is \(7,\), but the features give \(4,\)"):
        trained(config(**DENSE, input_shape=[7]), *rows_of())


def test_a_training_that_diverges_says_at_which_epoch():
    fast = {"optimizer": "sgd", "learning_rate": 100.0, "epochs": 30, "batch_size": 8}
    settings = config({"type": "dense", "units": 16}, model_type="regression", training_config=fast)

    with pytest.raises(TrainingError, match="The loss is not finite in epoch 1 of 30"):
        trained(settings, *rows_of(model_type="regression"))


def test_asking_before_training_is_refused():
    with pytest.raises(ModelError, match="not built yet"):
        ADAPTER.predict(ADAPTER.initialize_model(config()), np.zeros((3, 4)))


# -- modules of one's own ---------------------------------------------------------------------------------------------


class Gated(nn.Module):
    """A network whose graph depends on the data."""

    def __init__(self, given, *, units=8):
        super().__init__()
        self.small, self.large = nn.Linear(given[-1], units), nn.Linear(given[-1], units)

    def forward(self, rows):
        if rows.abs().mean() > 0.1:
            return torch.relu(self.large(rows))
        return torch.relu(self.small(rows))


def test_a_registered_module_with_a_dynamic_graph_learns():
    register_module("gated")(Gated)
    try:
        rows, target = rows_of(600)
        layer = {"type": "framework", "name": "gated", "arguments": {"units": 16}}
        native = trained(config(layer, training_config=DENSE["training_config"]), rows[:400], target[:400])

        assert accuracy(native, rows[400:], target[400:], None) > 0.8
    finally:
        MODULES.discard("gated")


def test_importing_the_configuration_imports_no_torch():
    code = "import sys, backtester_model_torch; print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
