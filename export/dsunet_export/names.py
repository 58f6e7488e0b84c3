"""What nodes and constants of image arithmetic are called: after the modules of `FramesGraph`."""

from __future__ import annotations

PREPROCESS = "preprocess"
POSTPROCESS = "postprocess"


def is_in(module: str, name: str | None) -> bool:
    """Whether a node or a constant belongs to a module."""
    return str(name).startswith(f"{module}/")
