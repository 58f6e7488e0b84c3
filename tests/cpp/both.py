"""One artifact opened by Python and by the C library: the message of each, or None."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dsunet_runtime
from dsunet_runtime import ArtifactError, RuntimeFault, read_manifest
from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.artifact.integrity import check_hashes, check_sizes
from tests.cpp.c_interface import CallError, Library

MOST = (1 << 63) - 1
"""The C library reads larger integers as this one."""


def refusals(library: Library, path: Path, **options: Any) -> tuple[str | None, str | None]:
    """Return the messages of Python and of C, which compares all hashes too."""
    return of_python(path), of_c(
        library, path, verify_hashes=1, threads=threads_for(path) or 0, **options
    )


def threads_for(path: Path) -> int | None:
    return None if is_engine(path) else 1


def of_python(path: Path) -> str | None:
    try:
        dsunet_runtime.load(path, threads=threads_for(path)).close()
    except RuntimeFault as fault:
        return str(fault)
    return None


def of_pythons_checks(path: Path) -> str | None:
    """Return the message of Python's checks of an engine, which need no TensorRT."""
    try:
        manifest = read_manifest(path)
        check_sizes(path, manifest)
        check_hashes(path, manifest)
    except ArtifactError as error:
        return str(error)
    return None


def of_c(library: Library, path: Path | bytes, **options: Any) -> str | None:
    try:
        library.open(path, **options).close()
    except CallError as error:
        return str(error)
    return None


def shortened(message: str | None) -> str | None:
    """Return a message with integers as C reads them."""
    for value in (1 << 63, (1 << 64) - 1):
        message = message and message.replace(f"{value:,}", f"{MOST:,}")
        message = message and message.replace(str(value), str(MOST))
    return message
