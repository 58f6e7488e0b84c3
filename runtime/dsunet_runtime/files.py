"""Files read without surprises, and written whole or not at all.

What is being written is hidden and has a name of its own, `.dsunet-HEX.tmp`, beside the place that
it goes to.  Its writer holds a lock on it (`flock`), which the system releases when the process
ends, however it ends.  So the next writer into the folder can tell what a killed process left
behind from what another one is still writing, and removes the former.
"""

from __future__ import annotations

import enum
import errno
import io
import mmap
import os
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, NoReturn

if sys.platform != "win32":
    import fcntl

_LEFTOVER = re.compile(r"\.dsunet-[0-9a-f]{32}\.tmp")


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file for reading.

    Raises OSError, at once and with a sentence as its `strerror`, also for what is no file: a
    folder, or a pipe or device, from which reading may never end.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError:  # a NUL in the name
        raise OSError(errno.EINVAL, "no file can have this name", os.fspath(path)) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", os.fspath(path))
    raise OSError(errno.EINVAL, "is a pipe or a device, not a file", os.fspath(path))


def resolved(path: Path) -> Path:
    """A path without links.  Unlike `Path.resolve` it leaves links that form a loop: whoever opens
    them says so, as an OSError.
    """
    return Path(os.path.realpath(path))


def map_file(path: str | os.PathLike[str]) -> mmap.mmap:
    """The content of a file, mapped into memory.  Raises OSError, also if the file is empty."""
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise OSError(errno.EINVAL, "is empty", os.fspath(path))
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def is_unicode(path: Path) -> bool:
    """Whether a path is UTF-8 with its folders, as ONNX Runtime, TensorRT and PyTorch need it."""
    try:
        os.fspath(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def staged_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to write, which becomes `path` when the context is left without an error.

    Whoever looks sees the old file or the whole new one.  Raises OSError.
    """
    clear_leftovers(path.parent)
    beside, descriptor = _locked(path.parent, _create_file)
    try:
        with _Writer(io.FileIO(descriptor, "wb")) as file:
            yield file
            file.flush()
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A new hidden folder in `parent` to write files in; what is left in it in the end is removed.

    Move out what is to stay.  Raises OSError.
    """
    clear_leftovers(parent)
    folder, descriptor = _locked(parent, _create_folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def destination(path: Path) -> Path:
    """The folder that a file goes to in the end: that of the file, or of what it is staged in."""
    staged = [parent for parent in path.parents if _LEFTOVER.fullmatch(parent.name)]
    return staged[-1].parent if staged else path.parent


@cache
def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes were writing in a folder; looked for once in a process."""
    with suppress(OSError):  # whether it can be written to, the writing tells
        for path in list(folder.iterdir()):
            if _LEFTOVER.fullmatch(path.name):
                _remove_if_abandoned(path)


class _Writer(io.BufferedWriter):
    """Hides its descriptor: Pillow and NumPy write to one past Python, and Pillow takes no notice
    of a write that ends early because the disk is full.
    """

    def fileno(self) -> NoReturn:
        raise io.UnsupportedOperation("fileno")


def _create_file(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)


def _create_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY)


def _locked(parent: Path, create: Callable[[Path], int]) -> tuple[Path, int]:
    """A new file or folder and its descriptor, through which it is locked."""
    while True:
        path = parent / f".dsunet-{uuid.uuid4().hex}.tmp"
        descriptor = create(path)
        if _lock(descriptor) is not _Lock.HELD and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # another process took it for a leftover before it was locked


class _Lock(enum.Enum):
    TAKEN = enum.auto()
    HELD = enum.auto()
    """By another process."""
    UNSUPPORTED = enum.auto()
    """By this file system: nothing on it is ever taken for a leftover."""


def _lock(descriptor: int) -> _Lock:
    if sys.platform == "win32":
        return _Lock.UNSUPPORTED
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _Lock.HELD
    except OSError:
        return _Lock.UNSUPPORTED
    return _Lock.TAKEN


def _remove_if_abandoned(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        if _lock(descriptor) is _Lock.TAKEN:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
