"""Opening of image files in bounded time and memory, with clear error messages."""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from dsunet_runtime.errors import ImageError
from dsunet_runtime.files import open_regular
from dsunet_runtime.message_text import reason

T = TypeVar("T")

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
    Raises ImageError, also for exceptions of `use`.
    """
    try:
        with open_regular(path) as file:
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
    except Exception as error:  # Pillow's decoders raise exceptions of any type
        raise ImageError(_explain(error, path)) from error


def explain(error: Exception) -> str:
    """Explain why an image could not be decoded."""
    if isinstance(error, Image.DecompressionBombError):
        return (
            f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, which is the limit: make "
            "it smaller first, for example with `magick OLD -resize 50% NEW` (in Python, "
            "PIL.Image.MAX_IMAGE_PIXELS raises the limit)"
        )
    return f"damaged, or of an unsupported format: {reason(error)}"


def _explain(error: Exception, path: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        with open_regular(path) as file:
            start = file.read(32)
        for pointer, remedy in _POINTERS.items():
            if start.startswith(pointer):
                return f"is a pointer to data that were not fetched: fetch them with `{remedy}`"
        return "not an image, or of an unsupported format"
    if not isinstance(error, OSError) or error.errno is None:
        return explain(error)
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
