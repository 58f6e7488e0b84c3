"""Opening of image files in bounded time and memory."""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

from dsunet_runtime.errors import ImageError
from dsunet_runtime.files import open_regular
from dsunet_runtime.message_text import reason

T = TypeVar("T")

_LARGEST_CONTENT = 1 << 30
"""Maximum size in bytes of an image that is not a named file."""
_PART = 1 << 20
_CONTENT = "the file object"
_NOT_BYTES = "{name} gives {kind}, not bytes: open the file with mode 'rb'"
_START = 32
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTATION_KEYS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""PNG texts in which Pillow looks for an orientation."""
_BEYOND_LIMITS = ("too large", "Too much memory")
"""Pillow's messages about texts and profiles above its limits."""
_POINTERS = {b"version https://git-lfs": "git lfs pull", b"/annex/objects/": "git annex get"}


def with_image(path: Path, use: Callable[[Image.Image], T]) -> T:
    """Open an image file, without loading its pixels, and return the result of `use`.

    PNG files whose texts or colour profile exceed Pillow's limits are opened without these.
    Exceptions of `use` are converted to ImageError, too.
    """
    try:
        with open_regular(path) as file:
            return _opened(file, use)
    except OSError as error:
        raise ImageError(_why_not_opened(error, path)) from error


def with_content(content: bytes | BinaryIO, use: Callable[[Image.Image], T]) -> T:
    """Like `with_image`, for the bytes of an image file, or a binary file object that has them.

    A file object that can seek is read from its start, whatever its position.
    """
    return _opened(io.BytesIO(_bytes_of(content)), use)


def _bytes_of(content: bytes | BinaryIO) -> bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        return content
    try:
        if content.seekable():
            content.seek(0)
        return read_content(content, _CONTENT)
    except ImageError:
        raise
    except UnicodeDecodeError as error:
        raise ImageError(_NOT_BYTES.format(name=_CONTENT, kind="text")) from error
    except Exception as error:  # file objects of other libraries raise exceptions of any type
        raise ImageError(f"{_CONTENT} cannot be read: {reason(error)}") from error


def read_content(file: BinaryIO, name: str) -> bytes:
    """Read the remaining bytes of a file object.

    Args:
        file: A file object in binary mode.
        name: Its name, with which the messages begin.

    Raises:
        ImageError: It returns text, or more than 1 GiB.
        Exception: Its methods raise it.
    """
    parts, size = [], 0
    while part := file.read(_PART):
        if not isinstance(part, bytes):
            raise ImageError(_NOT_BYTES.format(name=name, kind=type(part).__name__))
        parts.append(part)
        size += len(part)
        if size > _LARGEST_CONTENT:
            raise ImageError(f"{name} has more than {_LARGEST_CONTENT:,} bytes: name a file")
    return b"".join(parts)


def _opened(file: BinaryIO, use: Callable[[Image.Image], T]) -> T:
    try:
        try:
            with Image.open(file) as image:
                return use(image)
        except ValueError as error:
            file.seek(0)
            if not any(words in str(error) for words in _BEYOND_LIMITS):
                raise
            if file.read(len(_PNG)) != _PNG:
                raise
            pixels = io.BytesIO(_PNG + b"".join(_needed_chunks(file.read())))
        with Image.open(pixels) as image:
            return use(image)
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        file.seek(0)
        raise ImageError(_why_no_image(file.read(_START))) from error
    except Exception as error:  # Pillow's decoders raise exceptions of any type
        if isinstance(error, OSError) and error.errno is not None:  # a failing disk
            raise
        raise ImageError(why_not_decoded(error)) from error


def why_not_decoded(error: Exception) -> str:
    """Explain why an image could not be decoded."""
    if isinstance(error, Image.DecompressionBombError):
        return (
            f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, which is the limit: make "
            "it smaller first, for example with `magick OLD -resize 50% NEW` (in Python, "
            "PIL.Image.MAX_IMAGE_PIXELS raises the limit)"
        )
    return f"damaged, or of an unsupported format: {reason(error)}"


def _why_no_image(start: bytes) -> str:
    """Explain why a file that begins with these bytes is not an image."""
    if not start:
        return "is empty"
    for pointer, remedy in _POINTERS.items():
        if start.startswith(pointer):
            return f"is a pointer to data that were not fetched: fetch them with `{remedy}`"
    return "not an image, or of an unsupported format"


def _why_not_opened(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT and path.is_symlink():
        return "is a broken link: fetch the data that it points to, or remove it"
    return f"cannot be read: {reason(error)}"


def _needed_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks of a PNG file without colour profile and texts, except its orientation."""
    start = 0
    while start < len(data):
        if len(data) - start < 8:
            yield data[start:]
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + length + 12  # with length, name and checksum
        is_text = kind in _TEXTS and not data.startswith(_ORIENTATION_KEYS, start + 8)
        if kind != b"iCCP" and not is_text:
            yield data[start:end]
        start = end
