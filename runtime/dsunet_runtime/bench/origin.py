"""Where the input of a timed call is.  Imported by the command line, so imports must stay light."""

from __future__ import annotations

import enum


class Origin(enum.StrEnum):
    """Where the input of a timed call is, and so where its output goes."""

    DEVICE = "device"
    """From and to tensors in GPU memory, without copies; engines only."""
    INPUTS = "inputs"
    """From input tensors to output tensors in host memory, copies included."""
    ARRAY = "array"
    """From decoded images to masks."""
    FILE = "file"
    """From image files to masks, decoding included."""
