"""Formats of saved models: what was packed comes back to the bit, and what is damaged, vast or foreign is refused."""

import io
import json
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backtester_model_core.artifacts import expect_files, pack_arrays, pack_json, unpack_arrays, unpack_json
from backtester_model_core.artifacts.formats import DTYPES, MAX_MEMBERS
from backtester_model_core.exceptions import ArtifactError

NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True)
ARRAYS = st.dictionaries(
    NAMES,
    hnp.arrays(st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, min_side=0)),
    max_size=4,
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SMALL = pack_arrays({"weights": np.arange(6.0).reshape(2, 3), "classes": np.array([0, 1])})


def npz(members, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, member in members:
            archive.writestr(name, member)
    return content.getvalue()


def npy(header, data=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def header(descr="'<f8'", fortran="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


# -- arrays ---------------------------------------------------------------------------------------------------------


@given(ARRAYS)
def test_arrays_come_back_to_the_bit(arrays):
    found = unpack_arrays(pack_arrays(arrays), name="weights.npz")

    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype.newbyteorder("="), found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.writeable


def test_a_fortran_array_keeps_its_values():
    array = np.asfortranarray(np.arange(12.0).reshape(3, 4))

    assert np.array_equal(unpack_arrays(pack_arrays({"a": array}), name="w")["a"], array)


def test_the_same_arrays_give_the_same_bytes():
    arrays = {"a": np.arange(3.0), "b": np.array([True])}

    assert pack_arrays(arrays) == pack_arrays(dict(arrays))


def test_numpy_reads_what_was_packed():
    with np.load(io.BytesIO(SMALL), allow_pickle=False) as archive:
        assert archive["weights"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_big_endian_array_comes_back_as_the_same_numbers():
    array = np.array([1.5, -2.0], dtype=">f8")

    assert unpack_arrays(pack_arrays({"a": array}), name="w")["a"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("objects", np.array([{}], dtype=object)),
        ("text", np.array(["a"])),
        ("dates", np.array(["2020-01-01"], dtype="datetime64[D]")),
        ("records", np.zeros(1, dtype=[("a", "f8")])),
        ("complex", np.zeros(1, dtype=complex)),
        ("../leaves", np.zeros(1)),
        ("", np.zeros(1)),
    ],
)
def test_what_is_not_plain_numbers_is_not_packed(name, array):
    with pytest.raises(ArtifactError, match="plain numbers"):
        pack_arrays({name: array})


def test_a_truncated_archive_is_refused_at_every_length():
    for length in range(len(SMALL)):
        with pytest.raises(ArtifactError, match=r"weights\.npz"):
            unpack_arrays(SMALL[:length], name="weights.npz")


def test_a_flipped_bit_gives_plain_numbers_or_is_refused():
    n_refused = 0
    for position in range(len(SMALL)):
        for bit in (0, 7):
            damaged = bytearray(SMALL)
            damaged[position] ^= 1 << bit
            try:
                found = unpack_arrays(bytes(damaged), name="w")
            except ArtifactError:
                n_refused += 1
                continue
            assert all(array.dtype.name in DTYPES for array in found.values())

    assert n_refused > len(SMALL)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps({"weights": 1}),
        npz([("a.npy", pickle.dumps([1]))]),
        npz([("a.npy", npy(header("'|O'", shape="(1,)"), pickle.dumps([1])))]),
        npz([("a.npy", npy(header(), b"0" * 16)), ("a.npy", npy(header(), b"0" * 16))]),
        npz([("a.npy", npy(header(), b"0" * 16))], zipfile.ZIP_DEFLATED),
        npz([("a.npy", npy(header(shape="(10000000000,)")))]),
        npz([("a.npy", npy(header(shape="(99999999, 99999999, 99999999)")))]),
        npz([("a.npy", npy(header(shape="(2, " + "1, " * 20 + ")"), b"0" * 16))]),
        npz([("a.npy", npy(header(shape="(" * 300 + ")" * 300)))]),
        npz([("a.npy", npy(header(shape="(-2,)"), b"0" * 16))]),
        npz([("a.npy", npy(header("[('a', '<f8')]"), b"0" * 16))]),
        npz([("a.npy", npy(header("'>f8'"), b"0" * 16))]),
        npz([("a.npy", npy(header("'<U9'"), b"0" * 16))]),
        npz([("a.npy", npy(header(), b"0" * 15))]),
        npz([("a.npy", npy(header(), b"0" * 17))]),
        npz([("a.npy", npy("__import__('os').system('true')", b"0" * 16))]),
        npz([("a.npy", npy(header() + " " * 60_000, b"0" * 16))]),
        npz([(f"{number}.npy", b"") for number in range(MAX_MEMBERS + 1)]),
    ],
    ids=lambda content: f"{len(content)} bytes",
)
def test_a_hostile_archive_is_refused(content):
    with pytest.raises(ArtifactError, match=r"weights\.npz.*plain arrays"):
        unpack_arrays(content, name="weights.npz")


def test_an_encrypted_member_is_refused():
    encrypted = bytearray(npz([("a.npy", npy(header(), b"0" * 16))]))
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(ArtifactError, match="encrypted"):
        unpack_arrays(bytes(encrypted), name="w")


def test_members_that_share_their_bytes_are_refused():
    member = npy(header(shape="(1000,)"), bytes(8_000))
    content = bytearray(npz([("a.npy", member), ("b.npy", b"")]))
    second = content.rindex(b"PK\x01\x02")
    first = content.index(b"PK\x01\x02")
    content[second + 16 : second + 28] = content[first + 16 : first + 28]  # CRC and both sizes
    content[second + 42 : second + 46] = content[first + 42 : first + 46]  # offset

    with pytest.raises(ArtifactError, match="larger than the file"):
        unpack_arrays(bytes(content), name="w")


# -- plain values ---------------------------------------------------------------------------------------------------


@given(PLAIN)
def test_plain_values_come_back_as_they_were(value):
    found = unpack_json(pack_json(value), name="facts.json")

    assert found == value
    assert pack_json(found) == pack_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", np.float32(1.0), object()])
def test_what_is_not_plain_is_not_packed(value):
    with pytest.raises(ArtifactError, match="pack_arrays"):
        pack_json({"value": value})


def test_a_json_of_any_other_form_is_refused_at_every_length_and_byte():
    whole = pack_json({"shares": [0.25, 0.75], "name": "a"})
    for length in range(len(whole)):
        with pytest.raises(ArtifactError):
            unpack_json(whole[:length], name="facts.json")
    for space in (b" ", b"\n", b"\t"):
        with pytest.raises(ArtifactError, match="canonical"):
            unpack_json(whole + space, name="facts.json")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": 1, "a": 2}', "canonical"),
        (b'{"a": NaN}', "not JSON|compliant|canonical"),
        (b'{"a": Infinity}', "not JSON|compliant|canonical"),
        (b"[" * 100_000, "deep"),
        (b'[{"a":' * 20 + b"1" + b"}]" * 20, "deep"),
        (b'"' + b"\\" * 1_000_000, "Unterminated|escape"),
        (b"1" * 41, "digits"),
        (b"1" * 5_000, "digits"),
        (b"1e" + b"9" * 50, "digits"),
        (b" " * (2**20 + 1), "bytes"),
        (b"\xff\xfe", "decode"),
        (pickle.dumps({"a": 1}), "decode|Expecting"),
        (b"\xef\xbb\xbf{}", "Expecting|BOM"),
    ],
    ids=lambda value: value[:12].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_a_hostile_json_is_refused(content, problem):
    with pytest.raises(ArtifactError, match=f"(?s)facts.json.*({problem})"):
        unpack_json(content, name="facts.json")


def test_brackets_inside_texts_do_not_count_as_depth():
    value = {"text": '[{"[{' * 200}

    assert unpack_json(pack_json(value), name="facts.json") == value


# -- sets of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [[], ["a.json"], ["a.json", "b.npz", "c"], ["b.npz", "c"]])
def test_other_files_than_expected_are_refused_with_both_lists(given):
    with pytest.raises(ArtifactError, match=r"a\.json, b\.npz are wanted"):
        expect_files(dict.fromkeys(given, b""), ["b.npz", "a.json"])


def test_the_expected_files_pass():
    expect_files({"a.json": json.dumps(1).encode(), "b.npz": SMALL}, ["b.npz", "a.json"])
