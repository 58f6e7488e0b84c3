"""Where a timed call begins.  Imports nothing heavy: the command line needs it early."""

from __future__ import annotations

import enum


class Origin(enum.StrEnum):
    """Where a timed call begins, and so where it ends."""

    DEVICE = "device"
    """Inputs and outputs stay in GPU memory, so nothing is copied; engines only."""
    INPUTS = "inputs"
    """The network's inputs in host memory, to its outputs there: with copies."""
    ARRAY = "array"
    """Decoded images to masks."""
    FILE = "file"
    """Image files to masks: with decoding."""
