"""Metadata of an ONNX file, read without the onnx package and without reading the weights.

An ONNX file is a protobuf ModelProto.  Only its outermost fields are walked: the graph is skipped
by seeking, so that a file of two gigabytes costs no more than one of two kilobytes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.file_kinds import why_no_artifact

# Field numbers of onnx.proto, and protobuf's wire types.
_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata_props of an ONNX file.  Raises ArtifactError if it is no whole ONNX file."""
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            if end == 0:
                raise _NotProtobufError
            return dict(_entries(file, end))
    except (_NotProtobufError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ArtifactError(f"{path}: {why_no_artifact(path)}") from error
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from error


class _NotProtobufError(Exception):
    pass


def _entries(file: BinaryIO, end: int) -> list[tuple[str, str]]:
    entries = []
    while file.tell() < end:
        field, length = _next_field(file, end)
        if field != _METADATA_PROPS:
            file.seek(length, os.SEEK_CUR)
            continue
        entry_end = file.tell() + length
        strings = {_KEY: b"", _VALUE: b""}
        while file.tell() < entry_end:
            part, part_length = _next_field(file, entry_end)
            strings[part] = file.read(part_length)
        entries.append((strings[_KEY].decode(), strings[_VALUE].decode()))
    return entries


def _next_field(file: BinaryIO, end: int) -> tuple[int, int]:
    """Number and payload length of the field that starts here; the file is left at its payload."""
    tag = _varint(file)
    field, wire = tag >> 3, tag & 7
    if wire == _LENGTH_DELIMITED:
        length = _varint(file)
    elif wire == _VARINT:
        start = file.tell()
        _varint(file)
        length = file.tell() - start
        file.seek(start)
    elif wire in (_FIXED64, _FIXED32):
        length = 8 if wire == _FIXED64 else 4
    else:
        raise _NotProtobufError
    if field == 0 or file.tell() + length > end:
        raise _NotProtobufError
    return field, length


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise _NotProtobufError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _NotProtobufError
