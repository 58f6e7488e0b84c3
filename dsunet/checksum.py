"""SHA-256 over a whole file, kept in the file itself.

Every file that dsunet writes and later reads back has one, whatever its format: `dsunet-sha256:`
and 64 hexadecimal digits, once, within the first 4 KiB or the last 128 bytes.  The digits are the
SHA-256 of all bytes of the file, these digits counted as zeros.  So nothing is left out: neither
names, types and order of tensors nor metadata, padding and the file's length.

It finds damage, not forgery: who alters a file on purpose can write a new checksum.
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
"""What a writer puts into its file, in the place of the checksum."""

_MARK = re.compile(rb"dsunet-sha256:([0-9a-f]{64})(?![0-9a-f])")
_START, _END = 4096, 128
_CHUNK = 1 << 20


class Checksum(enum.Enum):
    """What the checksum in a file says about the file."""

    MATCHES = enum.auto()
    DIFFERS = enum.auto()
    """The file is not as it was written."""
    ABSENT = enum.auto()
    """The file is not dsunet's, or of a version that wrote none."""


def write_with_checksum(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file, whole or not at all, and fill in its checksum.

    `write` is called with a path to write to, and puts PLACEHOLDER where the checksum is to be.
    Raises OutputError if the file cannot be written.
    """
    try:
        with staging_folder(path.parent) as folder:
            beside = folder / path.name
            beside.touch()
            mode = beside.stat().st_mode
            write(beside)
            beside.chmod(mode)  # safetensors would let nobody else read it
            with beside.open("r+b") as file:
                place = _find(file)
                if place is None:
                    raise ValueError("its writer left no place for a checksum")
                digits = _sha256(file, place).encode()
                file.seek(place)
                file.write(digits)
            beside.replace(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {reason(_origin(error))}") from error


def verify_checksum(path: Path) -> Checksum:
    """Compare a file with the checksum in it.  Raises OSError if it cannot be read."""
    with open_regular(path) as file:
        return compare_checksum(file)


def compare_checksum(file: BinaryIO) -> Checksum:
    """The same for a file that is open."""
    place = _find(file)
    if place is None:
        return Checksum.ABSENT
    file.seek(place)
    recorded = file.read(64).decode()
    return Checksum.MATCHES if recorded == _sha256(file, place) else Checksum.DIFFERS


def _find(file: BinaryIO) -> int | None:
    """Where in the file the digits of the checksum begin."""
    size = file.seek(0, 2)
    for start, length in ((0, _START), (max(0, size - _END), _END)):
        file.seek(start)
        found = _MARK.search(file.read(length))
        if found:
            return start + found.start(1)
    return None


def _sha256(file: BinaryIO, place: int) -> str:
    """The digest of a file whose checksum is in a place."""
    digest = hashlib.sha256()
    file.seek(0)
    digest.update(file.read(place))
    digest.update(b"0" * len(file.read(64)))
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _origin(error: BaseException) -> BaseException:
    """The error of the file system behind an error, if there is one: PyTorch covers it."""
    return next((each for each in _chain(error) if isinstance(each, OSError)), error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
