"""Names of modules, with which the names of their nodes and weights begin."""

from __future__ import annotations

import re

PREPROCESS = "preprocess"
POSTPROCESS = "postprocess"
FROZEN = ("hiera.trunk", "dino")
"""The modules that are not trained: both encoders without the adapters."""


def is_in(module: str, name: str | None) -> bool:
    """Return whether a node or constant belongs to a module, by its name."""
    return str(name).startswith(f"{module}/")


def is_frozen(name: str | None) -> bool:
    """Return whether a node or weight belongs to one of the frozen encoders, by its name."""
    return re.match(rf"({'|'.join(map(re.escape, FROZEN))})[./]", str(name)) is not None
