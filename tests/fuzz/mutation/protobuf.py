"""Changes to protobuf messages, of any schema: fields at any depth, their numbers and lengths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from tests.fuzz.mutation.byte_changes import INTEGERS, Change, change_bytes, change_list
from tests.fuzz.mutation.json_documents import change_json

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message, as it is on disk."""

    number: int
    wire: int
    payload: bytes
    """The bytes of a varint or of a fixed number, or those after a length."""
    length: int | None = None
    """The length that is written; None: that of the payload."""

    def __bytes__(self) -> bytes:
        tag = varint(self.number << 3 | self.wire)
        if self.wire != _BYTES:
            return tag + self.payload
        length = len(self.payload) if self.length is None else self.length
        return tag + varint(length) + self.payload


def change_protobuf(random: Random, data: bytes, change_document: Change = change_json) -> bytes:
    """Change one or two fields of a message, or bytes anywhere.

    `change_document` changes fields that hold JSON.
    """
    if random.random() < 0.2:
        return change_bytes(random, data)
    for _ in range(random.choice((1, 1, 2))):
        data = _change_message(random, data, change_document)
    return data


def varint(number: int) -> bytes:
    """Encode a number as seven bits a byte, the least significant first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def parse(data: bytes) -> list[Field]:
    """Parse the fields of a message, one level deep.  Raises ValueError for other bytes."""
    fields = []
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        number, wire = tag >> 3, tag & 7
        start = position
        if wire == _VARINT:
            _, position = _read_varint(data, position)
        elif wire == _BYTES:
            length, start = _read_varint(data, position)
            position = start + length
        elif wire in _SIZES:
            position = start + _SIZES[wire]
        else:
            raise ValueError("no message")
        if number == 0 or position > len(data):
            raise ValueError("no message")
        fields.append(Field(number, wire, data[start:position]))
    return fields


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position == len(data):
            raise ValueError("no message")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("no message")


def _change_message(random: Random, data: bytes, change_document: Change) -> bytes:
    try:
        fields = parse(data)
    except ValueError:
        return change_bytes(random, data)
    if not fields or random.random() < 0.1:
        return b"".join(map(bytes, change_list(random, fields)))
    index = random.randrange(len(fields))
    fields[index] = _change_field(random, fields[index], change_document)
    return b"".join(map(bytes, fields))


def _change_field(random: Random, field: Field, change_document: Change) -> Field:
    if field.wire == _BYTES and field.payload and random.random() < 0.8:
        if field.payload.startswith(b"{"):
            return replace(field, payload=change_document(random, field.payload))
        return replace(field, payload=_change_message(random, field.payload, change_document))
    match random.randrange(4):
        case 0:
            return replace(field, number=random.choice((0, 1, 7, 8, 14, 25, 2**29 - 1)))
        case 1:
            return replace(field, wire=random.randrange(8))
        case 2 if field.wire == _BYTES:
            return replace(field, length=random.choice((0, 1, len(field.payload) + 1, *INTEGERS)))
        case _ if field.wire == _VARINT:
            return replace(field, payload=random.choice((*map(varint, INTEGERS), b"\x80" * 11)))
        case _:
            return replace(field, payload=change_bytes(random, field.payload))
