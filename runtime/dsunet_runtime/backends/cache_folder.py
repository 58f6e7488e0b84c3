"""The folder beside an artifact in which a library keeps what it compiled."""

from __future__ import annotations

import os
from pathlib import Path

from dsunet_runtime.manifest import Manifest


def cache_folder(path: Path, manifest: Manifest, provider: str) -> Path | None:
    """Return the folder of a provider's cache, which may not exist; None if not writable.

    Libraries identify what they compiled by file and node names, not by weights; so the name of the
    folder contains the hash of the graph.
    """
    folder = path.with_name(f"{path.name}.{manifest.graph.sha256[:16]}.{provider}")
    return folder if os.access(path.parent, os.W_OK) else None
