"""Messages between the two processes: what goes in comes out, and anything else is refused before it is used."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backtester_model_isolated import protocol
from backtester_model_isolated.answers import ERRORS, Greeting, failure_of, parse_answer
from backtester_model_isolated.protocol import Arrival, Message, ProtocolError, encode, key_of

PREFIX = struct.Struct("<4sHxxIQ")


def arrive(content: bytes, *, max_bytes: int = 2**20, piece: int = 2**16) -> Message:
    """Let bytes arrive piece by piece, and read the message that they are."""
    arrival = Arrival(max_bytes=max_bytes)
    while True:
        part = content[: min(piece, len(arrival.wanted))]
        assert part, "the message is longer than its bytes"
        content = content[len(part) :]
        arrival.wanted[: len(part)] = part
        if arrival.received(len(part)):
            assert not content
            return arrival.message()


def sent(message: Message) -> bytes:
    return b"".join(encode(message))


def frame(head: bytes, body: bytes = b"", *, magic: bytes = b"BMIP", version: int = 1) -> bytes:
    return PREFIX.pack(magic, version, len(head), len(body)) + head + body


def stream(*columns: tuple[str, pa.Array], n_batches: int = 1, compression: str | None = None) -> bytes:
    batch = pa.RecordBatch.from_arrays([column for _, column in columns], names=[name for name, _ in columns])
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        for _ in range(n_batches):
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def numbers(values, kind=None) -> pa.Array:
    return pa.array([values], type=pa.large_list(kind or pa.float64()))


def head(arrays=None, files=(), facts=None) -> bytes:
    return json.dumps({"facts": facts or {}, "arrays": arrays or {}, "files": list(files)}).encode()


plain = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=3)
some_arrays = st.dictionaries(
    st.sampled_from(["features", "target", "weight"]),
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=6))
    | hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=6)),
    max_size=3,
)
some_files = st.dictionaries(st.sampled_from(["a.json", "b.npz"]), st.binary(max_size=50), max_size=2)


@given(facts=plain, arrays=some_arrays, files=some_files, piece=st.integers(1, 100))
def test_every_message_arrives_as_it_was_sent(facts, arrays, files, piece):
    arrived = arrive(sent(Message(facts, arrays, files)), piece=piece)

    assert (arrived.facts, arrived.files) == (facts, files)
    assert list(arrived.arrays) == list(arrays)
    for name, array in arrays.items():
        assert arrived.arrays[name].dtype == array.dtype
        assert np.array_equal(arrived.arrays[name], array, equal_nan=array.dtype.kind == "f")


def test_rows_in_another_order_of_memory_arrive_in_place():
    rows = np.asfortranarray(np.arange(12.0).reshape(4, 3))[::2]

    arrived = arrive(sent(Message({}, {"rows": rows})))

    assert np.array_equal(arrived.arrays["rows"], rows)
    assert not arrived.arrays["rows"].flags.writeable


@given(place=st.integers(0, 10**6), change=st.binary(min_size=1, max_size=8), cut=st.integers(0, 40))
def test_every_damaged_message_is_a_message_or_refused(place, change, cut):
    whole = bytearray(sent(Message({"a": 1}, {"rows": np.arange(6.0).reshape(3, 2)}, {"f": b"xyz"})))
    at = place % len(whole)
    whole[at : at + len(change)] = change
    arrival = Arrival(max_bytes=2**12)

    content = bytes(whole[: len(whole) - cut])
    try:
        while content:
            part = content[: len(arrival.wanted)]
            arrival.wanted[: len(part)] = part
            content = content[len(part) :]
            if arrival.received(len(part)):
                arrived = arrival.message()
                break
        else:
            arrived = None
    except ProtocolError:
        arrived = None

    assert arrived is None or isinstance(arrived.facts, dict)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Traceback (most recent call last)", "no message"),
        (pickle.dumps({"facts": {}})[:20].ljust(20, b"."), "no message"),
        (frame(head(), version=2), "version 2 of the protocol, not 1"),
        (PREFIX.pack(b"BMIP", 1, 2**21, 0), "claims 2,097,152"),
        (PREFIX.pack(b"BMIP", 1, 0, 0), "claims 0"),
        (PREFIX.pack(b"BMIP", 1, 10, 2**50), "at most 1,048,576 are expected"),
        (frame(b"{"), "cannot be read"),
        (frame(b"[" * 100_000), "cannot be read"),
        (frame(b"\xff\xfe"), "cannot be read"),
        (frame(b"[]"), "head"),
        (frame(b'{"facts": {}}'), "head"),
        (frame(b'{"facts": [], "arrays": {}, "files": []}'), "head"),
        (frame(head(), b"more"), "a body that its head does not know"),
        (frame(head({"a": [1]})), "0 messages"),
        (frame(head({"a": [1]}, ["a"]), b"x"), "names 1 arrays and 1 files"),
        (frame(head({str(number): [0] for number in range(17)}), b"x"), "names 17 arrays"),
        (frame(head({"a": [1]}), b"not arrow"), "cannot be read"),
    ],
)
def test_what_is_no_message_is_refused(content, reason):
    with pytest.raises(ProtocolError, match=reason):
        arrive(content)


@pytest.mark.parametrize(
    ("said", "body", "reason"),
    [
        ({"a": [2]}, stream(("b", numbers([1.0, 2.0]))), "columns"),
        ({"a": [2]}, stream(("a", numbers([1.0, 2.0], pa.float32()))), "columns"),
        ({"a": [2]}, stream(("a", pa.array([[1.0, 2.0]]))), "columns"),
        ({"a": [2]}, stream(("a", pa.array([["x", "y"]], type=pa.large_list(pa.string())))), "columns"),
        ({"a": [2]}, stream(("a", pa.array(["x"]).dictionary_encode())), "3 messages"),
        ({"a": [3]}, stream(("a", numbers([1.0, 2.0]))), "2 numbers has the shape"),
        ({"a": [2]}, stream(("a", numbers([1.0, None]))), "2 numbers has the shape"),
        ({"a": [-1, -2]}, stream(("a", numbers([1.0, 2.0]))), "has the shape"),
        ({"a": [1, 1, 2]}, stream(("a", numbers([1.0, 2.0]))), "has the shape"),
        ({"a": [True, 2]}, stream(("a", numbers([1.0, 2.0]))), "has the shape"),
        ({"a": "2"}, stream(("a", numbers([1.0, 2.0]))), "has the shape"),
        ({"a": [0]}, stream(("a", numbers(None))), "nothing in one"),
        (
            {"a": [2]},
            stream(("a", pa.chunked_array([numbers([1.0]), numbers([2.0])]).combine_chunks())),
            "2 rows",
        ),
        ({"a": [1000]}, stream(("a", numbers([0.0] * 1000)), compression="zstd"), "compressed"),
        ({"a": [1000]}, stream(("a", numbers([0.0] * 1000)), compression="lz4"), "compressed"),
    ],
)
def test_a_body_that_is_not_what_the_head_says_is_refused(said, body, reason):
    with pytest.raises(ProtocolError, match=reason):
        arrive(frame(head(said), body))


@pytest.mark.parametrize("n_batches", [0, 2])
def test_a_body_of_no_batch_or_of_several_is_refused(n_batches):
    body = stream(("a", numbers([1.0])), n_batches=n_batches)

    with pytest.raises(ProtocolError, match=f"{1 + n_batches} messages"):
        arrive(frame(head({"a": [1]}), body))


def test_metadata_that_is_no_table_counts_as_compressed():
    assert protocol._is_compressed(b"")
    assert protocol._is_compressed(struct.pack("<I", 2**31) + b"\0" * 8)
    assert protocol._is_compressed(struct.pack("<Ii", 4, 0) + b"\0" * 8)


def test_a_message_that_is_too_large_is_not_sent(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_REQUEST_BYTES", 100)

    with pytest.raises(ProtocolError, match="too large to be sent"):
        encode(Message({}, {"rows": np.zeros(1000)}))


@pytest.mark.parametrize(
    "other",
    [
        {"config": "{}"},
        {"files": {"a": b"xy"}},
        {"files": {"b": b"x"}},
        {"files": {"a": b"x", "b": b""}},
        {"n_features": 2},
        {"classes": None},
    ],
)
def test_anything_else_about_a_model_is_another_key(other):
    facts = {"config": "{'a': 1}", "files": {"a": b"x"}, "n_features": 1, "classes": (0.0, 1.0)}

    def key(config, files, **rest):
        return key_of(config, files, **rest)

    assert key(**facts) != key(**{**facts, **other})


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"core": "0.1.0"}, "api"),
        ({"core": "0.1.0", "api": "1"}, "api"),
        ({"core": "0.1.0", "api": 1, "more": 1}, "more"),
        ({"core": "x" * 30_000, "api": 1}, "core"),
    ],
)
def test_facts_that_an_answer_does_not_have_are_refused(facts, reason):
    with pytest.raises(ProtocolError, match=reason):
        parse_answer(Greeting, Message(facts))


def test_an_error_is_told_by_the_nearest_class_that_both_know():
    class TooShortError(ERRORS["TrainingError"]):
        """An adapter's own subclass."""

    assert failure_of(TooShortError("x")) == {"error": "TrainingError", "message": "x"}
    assert failure_of(KeyError("x")) == {"error": "KeyError", "message": "'x'"}
    assert len(failure_of(ValueError("x" * 10**6))["message"]) == 20_000
