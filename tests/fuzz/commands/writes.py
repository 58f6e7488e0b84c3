"""Detection of writes outside a folder, by an audit hook."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.harness import FuzzFault

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Writes:
    """Refuses writes of this process outside a folder."""

    _EVENTS = frozenset(
        {
            "open",
            "os.mkdir",
            "os.remove",
            "os.rename",
            "os.rmdir",
            "os.symlink",
            "os.link",
            "os.chmod",
        }
    )

    def __init__(self) -> None:
        self._allowed: str | None = None
        self._is_added = False

    @contextlib.contextmanager
    def only_in(self, folder: Path, arguments: list[str]) -> Iterator[None]:
        """Refuse writes outside a folder; raise FuzzFault for paths that no argument names."""
        if not self._is_added:
            sys.addaudithook(self._audit)
            self._is_added = True
        words = [word for argument in arguments for word in (argument, argument.partition("=")[2])]
        # The temporary file of an output is in the folder of the output.
        self._named = [str(_absolute(word).parent) for word in words if word.startswith(("/", "."))]
        self._outside: list[str] = []
        self._allowed = f"{folder}/"
        try:
            yield
        finally:
            self._allowed = None
        if self._outside:
            raise FuzzFault(f"writes to {self._outside[0]!r}")

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._allowed is None or event not in self._EVENTS:
            return
        path = arguments[0]
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITING):
            return
        if not isinstance(path, str | bytes | os.PathLike):
            return
        where = str(_absolute(os.fsdecode(path)))
        if f"{where}/".startswith(self._allowed) or where == os.devnull:
            return
        if not where.startswith(tuple(self._named)):
            self._outside.append(where)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), where)


def _absolute(path: str) -> Path:
    """Make a path absolute, without `..`; links are not resolved."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


WRITES = Writes()
"""The one of this process: an audit hook cannot be removed."""
