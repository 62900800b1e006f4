"""Saved networks: what is read back answers to the bit; what is hostile or damaged is refused before it is read."""

import io
import json
import pickle
import struct

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from backtester_model_core.artifacts import pack_json
from backtester_model_core.config import parse_config
from backtester_model_core.exceptions import ArtifactError, ModelError
from backtester_model_core.testing import synthetic_rows
from backtester_model_torch import PyTorchModelConfig, register_module
from backtester_model_torch.adapter import PyTorchAdapter
from backtester_model_torch.registered import MODULES
from backtester_model_torch.saved import FACTS, MAX_HEADER_BYTES, WEIGHTS

ADAPTER = PyTorchAdapter()
CLASSES = (0.0, 1.0)
DENSE = {"layers": [{"type": "dense", "units": 4}, {"type": "batch_norm"}]}


def config(**fields):
    return parse_config(
        PyTorchModelConfig, {"model_architecture": DENSE, "training_config": {"epochs": 1}, **fields}
    )


def saved(settings=None):
    settings = settings or config()
    rows, target = synthetic_rows(80, model_type=settings.model_type)
    classes = CLASSES if settings.model_type == "classification" else None
    model = ADAPTER.train_model(ADAPTER.initialize_model(settings), rows, target, classes=classes, seed=0)
    return model, dict(ADAPTER.save_model(model))


def load(files, settings=None, *, n_features=4, classes=CLASSES):
    return ADAPTER.load_model(files, settings or config(), n_features=n_features, classes=classes)


def with_header(content, change):
    """The file with another header; the tensors stay where they are."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    text = json.dumps(change(header) or header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


@pytest.fixture(scope="module")
def files():
    return saved()[1]


@pytest.mark.parametrize("model_type", ["classification", "regression"])
def test_a_loaded_network_answers_to_the_bit(model_type):
    settings = config(model_type=model_type)
    model, content = saved(settings)
    state = torch.random.get_rng_state()

    loaded = load(content, settings, classes=CLASSES if model_type == "classification" else None)

    rows = synthetic_rows(50, seed=1)[0]
    assert np.array_equal(ADAPTER.predict(loaded, rows), ADAPTER.predict(model, rows))
    assert loaded.notes == model.notes
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_class_that_was_never_seen_stays_so():
    rows, target = synthetic_rows(80)
    settings, classes = config(), (-1.0, 0.0, 1.0)
    model = ADAPTER.train_model(ADAPTER.initialize_model(settings), rows, 2 * target, classes=classes, seed=0)

    loaded = load(ADAPTER.save_model(model), classes=classes)

    assert (ADAPTER.predict(loaded, rows)[:, 1] == 0).all()


def other_weights(**changes):
    """The weights of the file with tensors exchanged."""

    def change(content):
        tensors = safetensors.torch.load(content)
        return safetensors.torch.save({**tensors, **changes})

    return change


def pickled(_):
    buffer = io.BytesIO()
    torch.save({"network.head.weight": torch.zeros(2, 4)}, buffer)
    return buffer.getvalue()


HOSTILE = {
    "empty": (lambda content: b"", "its header has 0 bytes"),
    "a header longer than the file": (
        lambda content: struct.pack("<Q", 2**63) + content[8:],
        "its header has 9,223,372,036,854,775,808 bytes",
    ),
    "a header beyond its bound": (
        lambda content: struct.pack("<Q", MAX_HEADER_BYTES + 1) + b" " * (2 * MAX_HEADER_BYTES),
        "1,048,576 are allowed",
    ),
    "a header nested without end": (
        lambda content: struct.pack("<Q", 200_000) + b"[" * 200_000,
        "no header as safetensors writes it",
    ),
    "a header that is a list": (lambda content: struct.pack("<Q", 2) + b"[]", "not a table of tensors"),
    "a shape of terabytes": (
        lambda content: with_header(content, lambda h: h["network.head.weight"].update(shape=[2**31, 2**31])),
        "the tensor 'network.head.weight' is F32 of [2147483648, 2147483648], the configuration's F32 of [2, 4]",
    ),
    "an entry that is a number": (
        lambda content: with_header(content, lambda h: h.update({"network.head.weight": 5})),
        "the tensor 'network.head.weight' is None of None",
    ),
    "offsets that overlap": (
        lambda content: with_header(
            content,
            lambda h: h["network.head.weight"].update(data_offsets=h["network.head.bias"]["data_offsets"]),
        ),
        "safetensors cannot read it",
    ),
    "another type": (
        other_weights(**{"network.head.weight": torch.zeros(2, 4, dtype=torch.float64)}),
        "is F64 of [2, 4], the configuration's F32",
    ),
    "another shape": (other_weights(**{"network.head.weight": torch.zeros(3, 4)}), "is F32 of [3, 4]"),
    "a tensor too many": (other_weights(**{"network.more": torch.zeros(3)}), "extra: network.more"),
    "a tensor too few": (
        lambda content: safetensors.torch.save({"network.head.bias": torch.zeros(2)}),
        "missing: features.centre",
    ),
    "a note in the header": (
        lambda content: with_header(content, lambda h: h.update({"__metadata__": {"format": "pt"}})),
        "extra: __metadata__",
    ),
    "weights that are NaN": (
        other_weights(**{"network.head.bias": torch.full((2,), torch.nan)}),
        "'network.head.bias' holds a number that is not finite",
    ),
    "a deviation of zero": (
        other_weights(**{"features.width": torch.zeros(4, dtype=torch.float64)}),
        "'features.width' holds a deviation that is not positive",
    ),
    "bytes behind the tensors": (lambda content: content + b"\0" * 8, "bytes where its tensors take"),
    "a pickle of Python": (lambda content: pickle.dumps({"network": 1}), "its header has"),
    "a pickle of torch": (pickled, "its header has"),
}


@pytest.mark.parametrize(("damage", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_weights_are_refused_with_the_reason(files, damage, message):
    with pytest.raises(ArtifactError) as caught:
        load({**files, WEIGHTS: damage(files[WEIGHTS])})

    assert message in str(caught.value)


def test_a_file_cut_at_any_length_is_refused(files):
    whole = files[WEIGHTS]

    for length in range(0, len(whole), 7):
        with pytest.raises(ArtifactError):
            load({**files, WEIGHTS: whole[:length]})


@pytest.mark.parametrize(
    "facts",
    [
        [],
        {"seen": [True, True]},
        {"seen": None, "notes": []},
        {"seen": [True], "notes": []},
        {"seen": [1, 1], "notes": []},
        {"seen": [False, False], "notes": []},
        {"seen": [True, True], "notes": "text"},
    ],
    ids=str,
)
def test_facts_that_are_not_a_networks_are_refused(files, facts):
    with pytest.raises(ArtifactError, match=FACTS):
        load({**files, FACTS: pack_json(facts)})


@pytest.mark.parametrize(("n_features", "classes"), [(5, CLASSES), (4, (0.0, 1.0, 2.0)), (4, None)])
def test_weights_of_another_task_are_refused(files, n_features, classes):
    with pytest.raises(ArtifactError):
        load(files, n_features=n_features, classes=classes)


def test_weights_of_another_architecture_are_refused(files):
    wider = config(model_architecture={"layers": [{"type": "dense", "units": 5}, {"type": "batch_norm"}]})

    with pytest.raises(ArtifactError, match=r"is F32 of \[4, 4\], the configuration's F32 of \[5, 4\]"):
        load(files, wider)


def test_missing_and_foreign_files_are_refused(files):
    for given in ({}, {WEIGHTS: files[WEIGHTS]}, {**files, "model.pt": b""}):
        with pytest.raises(ArtifactError):
            load(given)


class Tied(nn.Module):
    """One weight in two layers."""

    def __init__(self, given):
        super().__init__()
        self.one, self.other = nn.Linear(given[-1], given[-1]), nn.Linear(given[-1], given[-1])
        self.other.weight = self.one.weight

    def forward(self, rows):
        return self.other(self.one(rows))


def test_a_registered_module_that_cannot_be_written_as_data_is_refused():
    register_module("tied")(Tied)
    try:
        with pytest.raises(ModelError, match="cannot be written as safetensors"):
            saved(config(model_architecture={"layers": [{"type": "framework", "name": "tied"}]}))
    finally:
        MODULES.discard("tied")
