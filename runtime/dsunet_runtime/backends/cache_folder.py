"""The folder beside an artifact in which a library caches what it compiles."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from dsunet_runtime.artifact.manifest import Manifest


def cache_folder(path: Path, manifest: Manifest, provider: str) -> Path | None:
    """Return the folder of a provider's cache, which may not exist; None if it cannot be used.

    It cannot be used if it is not writable, or if other users can write to it, because libraries
    trust its content.

    Libraries identify compiled graphs by the names of files and nodes, not by weights.  Therefore
    the folder's name contains the hash of the graph and its external weights.
    """
    folder = path.with_name(f"{path.name}.{_content(manifest)[:16]}.{provider}")
    return folder if os.access(path.parent, os.W_OK) and _is_ours(folder) else None


def _is_ours(folder: Path) -> bool:
    """Whether a folder is absent, or is no link, belongs to this user and is not world-writable."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    if not hasattr(os, "geteuid"):  # Windows, where folders inherit the rights of their parents
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH


def _content(manifest: Manifest) -> str:
    """Return a hash of the graph and of its external weights."""
    if not manifest.files:
        return manifest.graph.sha256
    digests = (manifest.graph.sha256, *(file.sha256 for file in manifest.files))
    return hashlib.sha256("".join(digests).encode()).hexdigest()
