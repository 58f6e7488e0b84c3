"""Changes to safetensors files: the header, the metadata in it, the data."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

from tests.fuzz.mutation.byte_changes import INTEGERS, change_bytes, change_list
from tests.fuzz.mutation.json_documents import (
    Literal,
    Pairs,
    change_json,
    change_value,
    hostile_value,
    parse,
    write,
)

_TYPES = ("BOOL", "U8", "I8", "F8_E4M3", "I16", "F16", "BF16", "I32", "F32", "F64", "I64", "C64")
_METADATA = "__metadata__"


def change_safetensors(random: Random, data: bytes) -> bytes:
    """Change the header or the data of a file; most offsets and lengths stay valid."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        header, values = parse(data[8 : 8 + length].decode()), data[8 + length :]
    except (ValueError, RecursionError, struct.error):
        return change_bytes(random, data)
    match random.randrange(8):
        case 0:
            return change_bytes(random, data)
        case 1:
            number = random.choice((length - 1, length + 1, len(data), *INTEGERS))
            return struct.pack("<Q", number % 2**64) + data[8:]
        case 2:
            values = change_bytes(random, values)
        case 3:
            header = change_value(random, header)
        case 4:
            header = Pairs(change_list(random, header))
        case 5:
            _change_tensor(random, header)
        case _:
            _change_metadata(random, header)
    return join(write(header), values)


def join(header: str, values: bytes) -> bytes:
    """Write a file with the length of its header."""
    encoded = header.encode(errors="surrogatepass")
    return struct.pack("<Q", len(encoded)) + encoded + values


def _change_tensor(random: Random, header: Any) -> None:
    described = [value for key, value in header if key != _METADATA and isinstance(value, Pairs)]
    if not described:
        return
    for pair in random.choice(described):
        match pair[0]:
            case "dtype" if random.random() < 0.5:
                pair[1] = random.choice(_TYPES)
            case "shape" if random.random() < 0.5:
                sizes = [*pair[1], *([0], [1], [2**40], [Literal("-1")])[random.randrange(4)]]
                pair[1] = random.choice((sizes, [], pair[1][::-1], [Literal("9" * 30)]))
            case "data_offsets" if random.random() < 0.5:
                pair[1] = [random.choice((0, 1, offset, 2**62, -1)) for offset in pair[1]]


def _change_metadata(random: Random, header: Any) -> None:
    for pair in header:
        if pair[0] != _METADATA or not isinstance(pair[1], Pairs) or not pair[1]:
            continue
        entry = random.choice(pair[1])
        if str(entry[1]).startswith("{") and random.random() < 0.8:
            changed = change_json(random, str(entry[1]).encode())
            entry[1] = changed.decode(errors="replace")
        else:
            pair[1] = random.choice((hostile_value(random), change_value(random, pair[1])))
        return
    header.append([_METADATA, hostile_value(random)])
