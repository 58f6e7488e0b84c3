"""The folder beside an artifact in which a library keeps what it compiled."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from dsunet_runtime.manifest import Manifest


def cache_folder(path: Path, manifest: Manifest, provider: str) -> Path | None:
    """Return the folder of a provider's cache, which may not exist; None if not writable.

    Libraries identify what they compiled by file and node names, not by weights; so the name of the
    folder contains the hash of the graph, or of the graph and its external weights.
    """
    folder = path.with_name(f"{path.name}.{_content(manifest)[:16]}.{provider}")
    return folder if os.access(path.parent, os.W_OK) else None


def _content(manifest: Manifest) -> str:
    """Return a hash of the graph and its external weights, which it names but does not contain."""
    if not manifest.files:
        return manifest.graph.sha256
    digests = (manifest.graph.sha256, *(file.sha256 for file in manifest.files))
    return hashlib.sha256("".join(digests).encode()).hexdigest()
