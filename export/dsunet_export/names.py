"""Names of the modules of `FramesGraph`, with which the names of their nodes begin."""

from __future__ import annotations

PREPROCESS = "preprocess"
POSTPROCESS = "postprocess"


def is_in(module: str, name: str | None) -> bool:
    """Return whether a node or constant belongs to a module, by its name."""
    return str(name).startswith(f"{module}/")
