"""The checkpoint that ships with the package: `nano`, trained from scratch on generated scenes.

How it was made, and what it can and cannot do: docs/DEMONSTRATION.md.
"""

from __future__ import annotations

from pathlib import Path


def demonstration_checkpoint() -> Path:
    """The file, in this project's own format: read it with `load_model`, do not write to it."""
    return Path(__file__).parent / "weights" / "demonstration.safetensors"
