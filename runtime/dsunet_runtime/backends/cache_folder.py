"""The folder beside an artifact in which a library keeps what it compiled."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from dsunet_runtime.artifact.manifest import Manifest


def cache_folder(path: Path, manifest: Manifest, provider: str) -> Path | None:
    """Return the folder of a provider's cache, which may not exist; None if it cannot be used.

    That is if it cannot be written, or if it exists and others could write to it: libraries trust
    what is in it.

    Libraries identify what they compiled by file and node names, not by weights; so the name of the
    folder contains the hash of the graph, or of the graph and its external weights.
    """
    folder = path.with_name(f"{path.name}.{_content(manifest)[:16]}.{provider}")
    return folder if os.access(path.parent, os.W_OK) and _is_ours(folder) else None


def _is_ours(folder: Path) -> bool:
    """Whether a folder, if there is one, is a real one of this user that not everyone may write."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if not hasattr(os, "geteuid"):  # Windows, where folders inherit the rights of their parents
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & stat.S_IWOTH


def _content(manifest: Manifest) -> str:
    """Return a hash of the graph and its external weights, which it names but does not contain."""
    if not manifest.files:
        return manifest.graph.sha256
    digests = (manifest.graph.sha256, *(file.sha256 for file in manifest.files))
    return hashlib.sha256("".join(digests).encode()).hexdigest()
