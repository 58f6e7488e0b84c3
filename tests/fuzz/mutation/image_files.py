"""Changes to image files: chunks of PNG and WebP, segments of JPEG, entries of TIFF."""

from __future__ import annotations

import struct
import zlib
from random import Random

from tests.fuzz.mutation.byte_changes import change_bytes, change_list, overwrite_number

_PNG = b"\x89PNG\r\n\x1a\n"


def change_image(random: Random, data: bytes) -> bytes:
    """Change a part of a file of any format, with valid checksums, or bytes anywhere."""
    if random.random() < 0.3:
        return change_bytes(random, data)
    if data.startswith(_PNG):
        return _change_png(random, data)
    if data.startswith(b"\xff\xd8"):
        return _change_jpeg(random, data)
    if data.startswith((b"II*\0", b"MM\0*")):
        return _change_tiff(random, data)
    if data.startswith(b"RIFF"):
        return _change_riff(random, data)
    return _change_start(random, data)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Encode a chunk, with its length and checksum."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return kinds and contents of the chunks that are complete."""
    chunks = []
    position = len(_PNG)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        chunks.append((kind, data[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


def join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Write a file of these chunks."""
    return _PNG + b"".join(png_chunk(kind, content) for kind, content in chunks)


def _change_png(random: Random, data: bytes) -> bytes:
    chunks = png_chunks(data)
    if not chunks:
        return change_bytes(random, data)
    match random.randrange(4):
        case 0:
            chunks = change_list(random, chunks)
        case 1:
            chunks.insert(random.randrange(len(chunks)), _extra_chunk(random))
        case 2:
            kind, header = chunks[0]
            chunks[0] = (kind, _other_header(random, header))
        case _:
            index = random.randrange(len(chunks))
            kind, content = chunks[index]
            if kind == b"IDAT" and random.random() < 0.5:
                content = _recompressed(random, content)
            else:
                content = change_bytes(random, content)
            chunks[index] = (kind, content)
    return join_png(chunks)


def _other_header(random: Random, header: bytes) -> bytes:
    """Change width, height, depth, colour type, compression, filter or interlace."""
    if random.random() < 0.5:
        return overwrite_number(random, header, random.choice((0, 4)), 4, "big")
    at = random.randrange(8, 13)
    return (
        header[:at] + random.choice((b"\0", b"\1", b"\2", b"\3", b"\6", b"\x10")) + header[at + 1 :]
    )


def _recompressed(random: Random, content: bytes) -> bytes:
    """Change the rows before they are compressed: filters, values, their number."""
    try:
        rows = zlib.decompress(content)
    except zlib.error:
        return change_bytes(random, content)
    return zlib.compress(change_bytes(random, rows))


def _extra_chunk(random: Random) -> tuple[bytes, bytes]:
    bomb = zlib.compress(bytes(2_000_000), 9)
    return random.choice(
        (
            (b"tRNS", random.randbytes(random.choice((1, 2, 6, 256)))),
            (b"PLTE", random.randbytes(random.choice((3, 4, 768, 900)))),
            (b"iCCP", b"name\0\0" + bomb),
            (b"zTXt", b"key\0\0" + bomb),
            (b"tEXt", b"\x1b[31m\0" + bytes(1000)),
            (b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + random.randbytes(3)),
            (b"acTL", struct.pack(">II", random.choice((0, 1, 2**31)), 0)),
            (b"gAMA", bytes(4)),
            (random.randbytes(4), random.randbytes(10)),
        )
    )


def _change_jpeg(random: Random, data: bytes) -> bytes:
    segments = []
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, position + 2)
        segments.append(data[position : position + 2 + length])
        position += 2 + length
    rest = data[position:]
    if not segments or random.random() < 0.2:
        return data[:position] + change_bytes(random, rest)
    if random.random() < 0.3:
        segments = change_list(random, segments)
    else:
        index = random.randrange(len(segments))
        marker, content = segments[index][:2], segments[index][4:]
        content = change_bytes(random, content)[:0xFFFD]
        if random.random() < 0.2:
            marker = bytes([0xFF, random.choice((0xC0, 0xC2, 0xC4, 0xDB, 0xE1, 0xE2, 0xEE, 0xFE))])
        segments[index] = marker + struct.pack(">H", len(content) + 2) + content
    return data[:2] + b"".join(segments) + rest


def _change_tiff(random: Random, data: bytes) -> bytes:
    """Change the tag, type, count or value of an entry of the first directory."""
    order = ("little", "<") if data.startswith(b"II") else ("big", ">")
    if len(data) < 8:
        return change_bytes(random, data)
    (start,) = struct.unpack_from(f"{order[1]}I", data, 4)
    if start + 2 > len(data):
        return change_bytes(random, data)
    (count,) = struct.unpack_from(f"{order[1]}H", data, start)
    entry = start + 2 + 12 * random.randrange(max(count, 1))
    offset, size = random.choice(((0, 2), (2, 2), (4, 4), (8, 2), (8, 4), (10, 2)))
    if entry + 12 > len(data):
        return change_bytes(random, data)
    if offset == 8 and random.random() < 0.5:
        value = random.choice((1, 2, 3, 5, 8, 12, 16, 32, 64)).to_bytes(size, "little")
        value = value if order[0] == "little" else value[::-1]
        return data[: entry + 8] + value + data[entry + 8 + size :]
    return overwrite_number(
        random, data, entry + offset, size, "little" if order[0] == "little" else "big"
    )


def _change_riff(random: Random, data: bytes) -> bytes:
    chunks = []
    position = 12
    while position + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        chunks.append(data[position : position + 8 + length + length % 2])
        position += 8 + length + length % 2
    if not chunks:
        return change_bytes(random, data)
    if random.random() < 0.4:
        chunks = change_list(random, chunks)
    else:
        index = random.randrange(len(chunks))
        content = change_bytes(random, chunks[index][8:])
        chunks[index] = chunks[index][:4] + struct.pack("<I", len(content)) + content
        chunks[index] += bytes(len(content) % 2)
    body = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + data[8:12] + body


def _change_start(random: Random, data: bytes) -> bytes:
    """Change the first bytes, where sizes are, of a format whose parts are not parsed."""
    start = min(64, len(data))
    return change_bytes(random, data[:start]) + data[start:]
