"""Sizes and SHA-256 of files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.files import open_regular

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Name, size in bytes and SHA-256 of a file that belongs to an artifact."""

    name: str
    size: int
    sha256: str
    """64 lower-case hexadecimal digits."""


def digest(path: Path, size: int | None = None) -> FileDigest:
    """Compute name, size in bytes and SHA-256 of a file, or of its first `size` bytes.

    Raises OSError if it is not a regular file that can be read.
    """
    sha256 = hashlib.sha256()
    with open_regular(path) as file:
        left = size = os.fstat(file.fileno()).st_size if size is None else size
        while left and (block := file.read(min(left, _BLOCK))):
            sha256.update(block)
            left -= len(block)
    return FileDigest(path.name, size - left, sha256.hexdigest())
