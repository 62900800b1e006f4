"""What passes between the two processes: messages of plain facts, arrays and files, bounded and checked as they arrive.

::

    prefix   magic, version of the protocol, length of the head, length of the body
    head     JSON: facts, the shape of each array, the name of each file
    body     an Arrow IPC stream of one record batch with one row: a list of numbers for each array, in C order, and
             the bytes of each file

Nothing here is ever unpickled, and nothing is allocated for more bytes than the receiver says it expects.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from backtester_model_core.typing import ModelFiles

PROTOCOL = 1
MAX_HEAD_BYTES = 2**20
MAX_REQUEST_BYTES = 2**33
"""What one call may hand over: a billion numbers."""
MAX_ARRAYS = 16
MAX_FILES = 1_000

_PREFIX = struct.Struct("<4sHxxIQ")
_MAGIC = b"BMIP"
_LISTS = (pa.large_list(pa.float64()), pa.large_list(pa.int64()))
_COMPRESSION = 3
"""Place of ``compression`` among the fields of Arrow's RecordBatch table."""


class ProtocolError(ValueError):
    """Bytes that are no message, or more of them than are expected; never leaves this package."""


@dataclass(frozen=True, eq=False)
class Message:
    """One question or answer.

    Attributes:
        facts: What JSON can say.
        arrays: Numbers by name, float64 or int64; read-only where they have arrived.
        files: Content by name.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    files: ModelFiles = field(default_factory=dict)


def encode(message: Message) -> list[memoryview]:
    """Return the parts of a message, in order.

    Raises:
        ProtocolError: When it is larger than may be sent.
    """
    shapes = {name: array.shape for name, array in message.arrays.items()}
    head = json.dumps({"facts": message.facts, "arrays": shapes, "files": list(message.files)}).encode()
    body = _pack(message) if shapes or message.files else None
    n_bytes = 0 if body is None else body.size
    if len(head) > MAX_HEAD_BYTES or n_bytes > MAX_REQUEST_BYTES:
        raise ProtocolError(f"a message of {len(head):,} and {n_bytes:,} bytes is too large to be sent")
    prefix = _PREFIX.pack(_MAGIC, PROTOCOL, len(head), n_bytes)
    return [memoryview(prefix + head), *([] if body is None else [memoryview(body)])]


def rest_of(parts: list[memoryview], n_bytes: int) -> list[memoryview]:
    """Return what is left of parts once so many bytes of them are written."""
    while parts and n_bytes >= len(parts[0]):
        n_bytes -= len(parts[0])
        parts = parts[1:]
    return [parts[0][n_bytes:], *parts[1:]] if parts else []


def key_of(config: str, files: ModelFiles, *, n_features: int, classes: tuple[float, ...] | None) -> str:
    """Return the name by which both processes know one trained model: a digest of all that makes it."""
    digest = hashlib.sha256(json.dumps([config, n_features, classes]).encode())
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode())
        digest.update(files[name])
    return digest.hexdigest()


class Arrival:
    """A message on its way in.

    Args:
        max_bytes: How large its body may be.

    Attributes:
        wanted: Where the next bytes go; empty once all are there.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._prefix = bytearray(_PREFIX.size)
        self._head = bytearray()
        self._body = np.empty(0, dtype=np.uint8)
        self._next: list[memoryview] = []
        self.wanted = memoryview(self._prefix)

    def received(self, n_bytes: int) -> bool:
        """Take note of bytes that were put where they were wanted; say whether the message is whole.

        Raises:
            ProtocolError: As soon as it cannot become one.
        """
        self.wanted = self.wanted[n_bytes:]
        if len(self.wanted):
            return False
        if not self._head:
            head, body = self._lengths()
            self._head, self._body = bytearray(head), np.empty(body, dtype=np.uint8)
            self._next = [memoryview(self._head), *([self._body.data] if body else [])]
        if not self._next:
            return True
        self.wanted = self._next.pop(0)
        return False

    def message(self) -> Message:
        """Read the message, once it is whole.

        Raises:
            ProtocolError: When it is not what its head says, or not what a head may say.
        """
        try:
            return _read(bytes(self._head), self._body)
        except ProtocolError:
            raise
        except (pa.ArrowException, ValueError, LookupError, TypeError, OSError, RecursionError) as error:
            raise ProtocolError(f"it cannot be read: {_one_line(error)}") from error

    def _lengths(self) -> tuple[int, int]:
        magic, protocol, head, body = _PREFIX.unpack(self._prefix)
        if magic != _MAGIC:
            raise ProtocolError(f"it begins with {bytes(self._prefix)!r}, which is no message")
        if protocol != PROTOCOL:
            raise ProtocolError(
                f"it speaks version {protocol} of the protocol, not {PROTOCOL}; "
                "install the same backtester-model-isolated in both environments"
            )
        if not 0 < head <= MAX_HEAD_BYTES or body > self._max_bytes:
            raise ProtocolError(
                f"it claims {head:,} and {body:,} bytes, where at most {self._max_bytes:,} are expected"
            )
        return head, body


# -- inside ------------------------------------------------------------------------------------------------------


def _pack(message: Message) -> pa.Buffer:
    """Write arrays and files as one record batch of one row."""
    columns: dict[str, pa.Array] = {}
    for name, array in message.arrays.items():
        flat = np.ascontiguousarray(array).reshape(-1)
        offsets = pa.array([0, flat.size], type=pa.int64())
        columns[name] = pa.LargeListArray.from_arrays(offsets, pa.array(flat))
    for name, content in message.files.items():
        offsets = pa.py_buffer(np.array([0, len(content)], dtype=np.int64))
        columns[name] = pa.Array.from_buffers(
            pa.large_binary(), 1, [None, offsets, pa.py_buffer(content)], null_count=0
        )
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _read(head: bytes, body: NDArray[np.uint8]) -> Message:
    said = json.loads(head)
    if not isinstance(said, dict) or said.keys() != {"facts", "arrays", "files"}:
        raise ProtocolError("its head does not say what a message needs")
    facts, shapes, names = said["facts"], said["arrays"], said["files"]
    if not isinstance(facts, dict) or not isinstance(shapes, dict) or not isinstance(names, list):
        raise ProtocolError("its head does not say what a message needs")
    if (
        len(shapes) > MAX_ARRAYS
        or len(names) > MAX_FILES
        or len({*shapes, *names}) < len(shapes) + len(names)
    ):
        raise ProtocolError(f"it names {len(shapes)} arrays and {len(names)} files")
    if not shapes and not names:
        if body.size:
            raise ProtocolError("it has a body that its head does not know")
        return Message(facts)
    batch = _unpack(body, n_arrays=len(shapes), names=[*shapes, *names])
    arrays = {name: _array(batch.column(name), shape) for name, shape in shapes.items()}
    return Message(facts, arrays, {name: batch.column(name)[0].as_py() for name in names})


def _unpack(body: NDArray[np.uint8], *, n_arrays: int, names: list[str]) -> pa.RecordBatch:
    """Read the one record batch, whose columns are known before anything of it is decoded."""
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(pa.py_buffer(body)))
    messages = list(islice(reader, 3))
    if [message.type for message in messages] != ["schema", "record batch"]:
        raise ProtocolError(
            f"its body holds {len(messages)} messages where a schema and one record batch are wanted"
        )
    schema, content = pa.ipc.read_schema(messages[0]), messages[1]
    lists = [one.type in _LISTS for one in schema][:n_arrays]
    files = [one.type == pa.large_binary() for one in schema][n_arrays:]
    if schema.names != names or not all(lists) or not all(files):
        raise ProtocolError("its columns are not those that its head names")
    if _is_compressed(content.metadata.to_pybytes()):
        raise ProtocolError("its record batch is compressed")
    batch = pa.ipc.read_record_batch(content, schema)
    batch.validate(full=True)
    if batch.num_rows != 1 or any(column.null_count for column in batch.columns):
        raise ProtocolError(f"its record batch has {batch.num_rows} rows, or nothing in one")
    return batch


def _array(column: pa.Array, shape: Any) -> NDArray[Any]:
    """Return the numbers of a column in the shape that the head gives them."""
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise ProtocolError(f"an array has the shape {shape}")
    flat = column.flatten()
    if flat.null_count or math.prod(shape) != len(flat) or not 1 <= len(shape) <= 2:
        raise ProtocolError(f"an array of {len(flat):,} numbers has the shape {shape}")
    return np.asarray(flat.to_numpy(zero_copy_only=True)).reshape(shape)


def _is_compressed(metadata: bytes) -> bool:
    """Say whether a batch would be inflated: Arrow would allocate whatever its compressed buffers claim.

    The metadata is a flatbuffer: a table begins with the distance back to the list of where its fields are.
    """
    try:
        root = struct.unpack_from("<I", metadata)[0]
        header = _field(metadata, root, 2)
        if header is None:
            return True
        batch = header + struct.unpack_from("<I", metadata, header)[0]
        return _field(metadata, batch, _COMPRESSION) is not None
    except struct.error:
        return True


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Return where a table's field of that number is, or ``None`` where the table does not have it."""
    places = table - struct.unpack_from("<i", buffer, table)[0]
    slot = 4 + 2 * number
    if places < 0 or slot >= struct.unpack_from("<H", buffer, places)[0]:
        return None
    offset = struct.unpack_from("<H", buffer, places + slot)[0]
    return table + offset if offset else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
