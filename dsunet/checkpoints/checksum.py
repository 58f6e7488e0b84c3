"""SHA-256 over a whole file, kept in the file itself.

Every file that dsunet writes and reads again has one, in any format: `dsunet-sha256:` and 64
hexadecimal digits, once, within the first 4 KiB or the last 128 bytes.  The digits are the SHA-256
of all bytes of the file, with these digits counted as zeros.  It therefore covers names, types and
order of tensors, metadata, padding and the length of the file.

The checksum detects damage, not forgery: anyone who alters a file can compute a new checksum.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular, staging_folder
from dsunet_runtime.message_text import reason

PLACEHOLDER = "dsunet-sha256:" + "0" * 64
"""Text that a writer puts in its file where the checksum belongs."""

_MARK = re.compile(rb"dsunet-sha256:([0-9a-f]{64})(?![0-9a-f])")
_START, _END = 4096, 128
_CHUNK = 1 << 20


class Checksum(enum.Enum):
    """Result of comparing a file with the checksum in it."""

    MATCHES = enum.auto()
    DIFFERS = enum.auto()
    """The file was changed after it was written."""
    ABSENT = enum.auto()
    """The file was not written by dsunet, or by a version without checksums."""


def write_with_checksum(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically, and fill in its checksum.

    `write` receives the path of a temporary file and writes PLACEHOLDER where the checksum belongs.
    Raises OutputError if the file cannot be written.
    """
    try:
        with staging_folder(path.parent) as folder:
            beside = folder / path.name
            beside.touch()
            mode = beside.stat().st_mode
            write(beside)
            beside.chmod(mode)  # safetensors makes files readable by their owner only
            with beside.open("r+b") as file:
                offset = _find(file)
                if offset is None:
                    raise ValueError("its writer left no placeholder for the checksum")
                digits = _sha256(file, offset).encode()
                file.seek(offset)
                file.write(digits)
            beside.replace(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {reason(_origin(error))}") from error


def verify_checksum(path: Path) -> Checksum:
    """Compare a file with its checksum.  Raises OSError if the file cannot be read."""
    with open_regular(path) as file:
        return compare_checksum(file)


def compare_checksum(file: BinaryIO) -> Checksum:
    """Compare an open file with its checksum."""
    offset = _find(file)
    if offset is None:
        return Checksum.ABSENT
    file.seek(offset)
    recorded = file.read(64).decode()
    return Checksum.MATCHES if recorded == _sha256(file, offset) else Checksum.DIFFERS


def _find(file: BinaryIO) -> int | None:
    """Offset of the checksum's digits in a file, or None."""
    size = file.seek(0, 2)
    for start, length in ((0, _START), (max(0, size - _END), _END)):
        file.seek(start)
        match = _MARK.search(file.read(length))
        if match:
            return start + match.start(1)
    return None


def _sha256(file: BinaryIO, offset: int) -> str:
    """SHA-256 of a file, with the digits of its checksum at `offset` counted as zeros."""
    digest = hashlib.sha256()
    file.seek(0)
    digest.update(file.read(offset))
    digest.update(b"0" * len(file.read(64)))
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _origin(error: BaseException) -> BaseException:
    """The file-system error that caused an error, which PyTorch hides; else the error itself."""
    return next((each for each in _chain(error) if isinstance(each, OSError)), error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
