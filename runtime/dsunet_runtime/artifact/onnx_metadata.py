"""Reading and writing the metadata of an ONNX file, without the onnx package and the weights.

An ONNX file is a protobuf ModelProto.  Only its top-level fields are parsed, and the graph is
skipped by seeking, so the cost does not depend on the size of the file.  Protobuf allows further
fields at the end of a message, so metadata can be appended to a file.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from dsunet_runtime.artifact.file_kinds import why_no_artifact
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.files import open_regular
from dsunet_runtime.json_text import MAX_BYTES
from dsunet_runtime.message_text import quote, reason

# Field numbers of onnx.proto, and protobuf's wire types.
_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_MAX_FIELD = (1 << 29) - 1
_MAX_FIELDS = 100_000
"""Maximum number of top-level fields; the exporter writes about ten."""


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata_props of an ONNX file.

    Raises ArtifactError if it is not a complete ONNX file, a key occurs twice, or the metadata
    exceed the limit.
    """
    try:
        with open_regular(path) as file:
            end = os.fstat(file.fileno()).st_size
            if end == 0:
                raise NotProtobufError
            entries = _entries(file, end)
    except (NotProtobufError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ArtifactError(f"{path}: {why_no_artifact(path)}") from error
    except OSError as error:
        raise ArtifactError(f"{path}: {reason(error)}") from error
    except _TooLargeError as error:
        raise ArtifactError(
            f"{path}: has more than {MAX_BYTES:,} bytes of metadata: it was not exported by "
            f"dsunet-export"
        ) from error
    metadata = dict(entries)
    if len(metadata) < len(entries):
        ((twice, _),) = Counter(key for key, _ in entries).most_common(1)
        raise ArtifactError(
            f"{path}: has two entries of metadata called {quote(twice)}: changed since it was "
            f"exported; export it again"
        )
    return metadata


def encode_metadata(key: str, value: str) -> bytes:
    """Encode a metadata entry, to be appended to an ONNX file."""
    return _field(_METADATA_PROPS, _field(_KEY, key.encode()) + _field(_VALUE, value.encode()))


class NotProtobufError(Exception):
    """The bytes are not a complete protobuf message."""


class _TooLargeError(Exception):
    pass


def _entries(file: BinaryIO, end: int) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    left = MAX_BYTES
    for _ in range(_MAX_FIELDS):
        if file.tell() >= end:
            return entries
        field, length = next_field(file, end)
        if field != _METADATA_PROPS:
            file.seek(length, os.SEEK_CUR)
            continue
        left -= length
        if left < 0:
            raise _TooLargeError
        entries.append(read_entry(file, file.tell() + length))
    raise NotProtobufError


def read_entry(file: BinaryIO, end: int) -> tuple[str, str]:
    """Read the StringStringEntryProto from the current position to `end`."""
    strings = {_KEY: b"", _VALUE: b""}
    for _ in range(len(strings)):
        if file.tell() < end:
            field, length = next_field(file, end)
            if field not in strings:
                raise NotProtobufError
            strings[field] = file.read(length)
    if file.tell() < end:
        raise NotProtobufError
    return strings[_KEY].decode(), strings[_VALUE].decode()


def next_field(file: BinaryIO, end: int) -> tuple[int, int]:
    """Read a field's header: return its number and payload length, and stop at the payload."""
    tag = _read_varint(file)
    field, wire = tag >> 3, tag & 7
    if wire == _LENGTH_DELIMITED:
        length = _read_varint(file)
    elif wire == _VARINT:
        start = file.tell()
        _read_varint(file)
        length = file.tell() - start
        file.seek(start)
    elif wire in (_FIXED64, _FIXED32):
        length = 8 if wire == _FIXED64 else 4
    else:
        raise NotProtobufError
    if not 1 <= field <= _MAX_FIELD or file.tell() + length > end:
        raise NotProtobufError
    return field, length


def _read_varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise NotProtobufError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise NotProtobufError


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
