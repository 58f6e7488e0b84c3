"""The demonstration checkpoint: preset `nano`, trained from scratch on composites and scenes.

docs/DEMONSTRATION.md describes its training and its limits.
"""

from __future__ import annotations

from pathlib import Path


def demonstration_checkpoint() -> Path:
    """Path of the demonstration checkpoint, for `load_model`; the file must not be modified."""
    return Path(__file__).parents[1] / "weights" / "demonstration.safetensors"
