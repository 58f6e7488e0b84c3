"""Safe reading of regular files, and atomic writing.

A file is written under a hidden temporary name, `.dsunet-HEX.tmp`, in its destination folder, and
then renamed.  The writer holds a lock on it (`flock`), which the system releases when the process
ends for any reason.  The next writer in that folder removes temporary files that are not locked,
which killed processes have left behind.
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
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, NoReturn

from dsunet_runtime.errors import OutputError
from dsunet_runtime.message_text import reason

if sys.platform != "win32":
    import fcntl

_LEFTOVER = re.compile(r"\.dsunet-[0-9a-f]{32}\.tmp")
_keeps_leftovers = False


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file for reading.

    Raises OSError, with a sentence as `strerror`.  Folders, pipes and devices are rejected without
    blocking: reading from a pipe may never end.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError:  # a NUL character in the name
        raise OSError(errno.EINVAL, "no file can have this name", os.fspath(path)) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", os.fspath(path))
    raise OSError(errno.EINVAL, "is a pipe or a device, not a file", os.fspath(path))


def resolved(path: Path) -> Path:
    """Resolve links in a path.

    Unlike `Path.resolve`, it does not raise on loops of links.  Opening such a path raises OSError.
    """
    return Path(os.path.realpath(path))


def map_file(path: str | os.PathLike[str]) -> mmap.mmap:
    """Map a file into memory.  Raises OSError, also for an empty file."""
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise OSError(errno.EINVAL, "is empty", os.fspath(path))
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def link_or_copy(file: Path, new: Path) -> None:
    """Give a file a second name, or copy it where that is not possible.  Raises OSError."""
    try:
        new.hardlink_to(file)
    except OSError:  # another file system, or no permission
        shutil.copyfile(file, new)


def is_unicode(path: Path) -> bool:
    """Whether the absolute path is valid UTF-8, as ONNX Runtime, TensorRT and PyTorch require."""
    try:
        os.fspath(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def staged_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the context exits without an error.

    Other processes see either the old file or the complete new one.  Raises OSError.
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


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file atomically (see `staged_file`).  Raises OutputError if that fails."""
    try:
        with staged_file(path) as file:
            write(file)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {reason(error)}") from error


def make_folder(folder: Path) -> None:
    """Create a folder to write to.  Raises OutputError if it is not a writable folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder}: is a file: name a folder") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {reason(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: is not writable: name another folder")


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Create a hidden temporary folder in `parent`, which is removed with its content at the end.

    Move files out of it to keep them.  Raises OSError.
    """
    clear_leftovers(parent)
    folder, descriptor = _locked(parent, _create_folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def destination(path: Path) -> Path:
    """Return the final folder of a file that may still be in a staging folder."""
    staged = [parent for parent in path.parents if _LEFTOVER.fullmatch(parent.name)]
    return staged[-1].parent if staged else path.parent


@cache
def clear_leftovers(folder: Path) -> None:
    """Remove temporary files of killed processes from a folder, once per process and folder."""
    if not _keeps_leftovers:
        remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed processes from a folder."""
    with suppress(OSError):  # writing reports a folder without permission
        for path in list(folder.iterdir()):
            if _LEFTOVER.fullmatch(path.name):
                _remove_if_abandoned(path)


def keep_leftovers() -> None:
    """Let this process write without removing temporary files.

    For storage that several machines write to: not all of it shows the locks of other machines.
    """
    global _keeps_leftovers
    _keeps_leftovers = True


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on an existing file, which other processes wait for.

    On file systems without locks, or if the file cannot be read, there is no lock.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            file = stack.enter_context(open_regular(path))
            if sys.platform != "win32":
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Writer(io.BufferedWriter):
    """Hides the file descriptor.

    Pillow and NumPy would write to the descriptor directly, and Pillow ignores incomplete writes on
    a full disk.
    """

    def fileno(self) -> NoReturn:
        raise io.UnsupportedOperation("fileno")


def _create_file(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)


def _create_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY)


def _locked(parent: Path, create: Callable[[Path], int]) -> tuple[Path, int]:
    """Create a file or folder and lock it; return its path and descriptor."""
    while True:
        path = parent / f".dsunet-{uuid.uuid4().hex}.tmp"
        descriptor = create(path)
        if _lock(descriptor) is not _Lock.HELD and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # another process removed it before it was locked


class _Lock(enum.Enum):
    TAKEN = enum.auto()
    HELD = enum.auto()
    """Locked by another process."""
    UNSUPPORTED = enum.auto()
    """The file system does not support locks; leftovers on it are not removed."""


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
