"""Origins of the input of a timed call.  The command line imports this, so imports must be fast."""

from __future__ import annotations

import enum


class Origin(enum.StrEnum):
    """Where a timed call takes its input from and writes its output to."""

    DEVICE = "device"
    """From and to tensors in GPU memory, without copies; engines only."""
    INPUTS = "inputs"
    """From input tensors to output tensors in host memory, copies included."""
    ARRAY = "array"
    """From decoded images to masks."""
    FILE = "file"
    """From image files to masks, decoding included."""
