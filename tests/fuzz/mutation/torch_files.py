"""Changes to files of `torch.save`: members of the zip archive, opcodes of the pickle."""

from __future__ import annotations

import functools
import io
import pickletools
import warnings
import zipfile
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.mutation.byte_changes import INTEGERS, change_bytes, change_list
from tests.fuzz.mutation.json_documents import HOSTILE_TEXTS

_GLOBALS = (
    ("os", "system"),
    ("builtins", "eval"),
    ("torch", "FloatStorage"),
    ("torch._utils", "_rebuild_sparse_tensor"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"),
    ("torch._utils", "_rebuild_parameter"),
    ("collections", "OrderedDict"),
    ("x" * 10_000, "\x1b[31m"),
)


def change_torch_zip(random: Random, data: bytes) -> bytes:
    """Change, omit, repeat or rename a member of an archive; checksums stay valid."""
    if random.random() < 0.2:
        return change_bytes(random, data)
    try:
        members = list(read_members(data))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError):
        return change_bytes(random, data)
    if random.random() < 0.2:
        return write_members(change_list(random, members), random.choice((0, 0, 8)))
    pickles = [index for index, (name, _) in enumerate(members) if name.endswith(".pkl")]
    is_pickle = bool(pickles) and random.random() < 0.7
    index = random.choice(pickles) if is_pickle else random.randrange(len(members))
    name, content = members[index]
    if random.random() < 0.1:
        members[index] = (random.choice(("a/../../b", "", name.upper(), "x" * 5000)), content)
    else:
        change = change_pickle if is_pickle else change_bytes
        members[index] = (name, change(random, content))
    return write_members(members, zipfile.ZIP_STORED)


@functools.lru_cache
def read_members(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return names and contents, in the order of the archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return tuple((info.filename, archive.read(info)) for info in archive.infolist())


def write_members(members: list[tuple[str, bytes]], compression: int) -> bytes:
    """Write an archive of these members; names may repeat."""
    written = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(written, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of repeated names
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            # PyTorch maps storages from the file, so their offsets must be multiples of 64.
            start = written.tell() + 30 + len(name.encode()) + 4
            info.extra = b"FB" + (-start % 64).to_bytes(2, "little") + b"Z" * (-start % 64)
            archive.writestr(info, content)
    return written.getvalue()


def change_pickle(random: Random, data: bytes) -> bytes:
    """Change, omit, repeat or move an opcode of a pickle.

    PyTorch's older format has several pickles one after the other: one of them is changed.
    """
    if random.random() < 0.2:
        return change_bytes(random, data)
    start = 0
    streams = []
    try:
        while start < len(data) and data[start : start + 1] == b"\x80":
            opcodes = _opcodes(data, start)
            streams.append(list(opcodes))
            start += sum(map(len, opcodes))
    except Exception:  # the rest is no pickle; pickletools raises any exception
        pass
    if not streams:
        return change_bytes(random, data)
    index = max(range(len(streams)), key=lambda i: len(streams[i]))
    index = random.choice((index, index, random.randrange(len(streams))))
    streams[index] = _change_opcodes(random, streams[index])
    return b"".join(b"".join(stream) for stream in streams) + data[start:]


@functools.lru_cache
def _opcodes(data: bytes, start: int) -> tuple[bytes, ...]:
    """Return each opcode of the pickle at `start` with its argument."""
    stream = io.BytesIO(data[start:])
    positions = [position or 0 for _, _, position in pickletools.genops(stream)]
    ends = [*positions[1:], stream.tell()]
    return tuple(data[start + a : start + b] for a, b in zip(positions, ends, strict=True))


def _change_opcodes(random: Random, opcodes: Sequence[bytes]) -> list[bytes]:
    if random.random() < 0.2:
        return change_list(random, opcodes)
    changed = list(opcodes)
    kinds = sorted({opcode[:1] for opcode in opcodes})
    kind = random.choice(kinds)
    index = random.choice([i for i, opcode in enumerate(opcodes) if opcode[:1] == kind])
    changed[index] = _change_opcode(random, opcodes[index])
    return changed


def _change_opcode(random: Random, opcode: bytes) -> bytes:
    """Replace the argument of a number, a text or a global; other opcodes by any bytes."""
    match opcode[:1]:
        case b"K" | b"M" | b"J":
            number = random.choice((*INTEGERS, 1000))
            return b"\x8a" + _length_and_integer(random.choice((number, -number)))
        case b"X" | b"\x8c":
            return _text(random.choice(HOSTILE_TEXTS))
        case b"c":
            module, name = random.choice(_GLOBALS)
            return f"c{module}\n{name}\n".encode()
    return random.choice((b"N", b"}", b"]", b")", b"0", b"2", _text("x"), b"G" + b"\x7f\xf8" * 4))


def _text(text: str) -> bytes:
    encoded = text.encode(errors="surrogatepass")
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def _length_and_integer(number: int) -> bytes:
    size = number.bit_length() // 8 + 1
    return bytes([size]) + number.to_bytes(size, "little", signed=True)


def saved(payload: Any, *, zipped: bool = True) -> bytes:
    """Return the file of an object, as `torch.save` writes it."""
    import torch

    written = io.BytesIO()
    torch.save(payload, written, _use_new_zipfile_serialization=zipped)
    return written.getvalue()
