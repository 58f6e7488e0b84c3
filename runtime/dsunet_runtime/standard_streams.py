"""Standard input and output in the place of files: `-` on command lines."""

from __future__ import annotations

import sys
from pathlib import Path

from dsunet_runtime.errors import ImageError, OutputError
from dsunet_runtime.images.files import read_content
from dsunet_runtime.message_text import reason

STANDARD_STREAM = Path("-")
"""Stands for standard input among images, and for standard output among results."""


def read_standard_input() -> bytes:
    """Read an image from standard input.  Raises ImageError if there is none."""
    if sys.stdin.isatty():
        raise ImageError("standard input is a terminal: send an image to it, as in `… < IMAGE`")
    try:
        content = read_content(sys.stdin.buffer, "standard input")
    except OSError as error:
        raise ImageError(f"standard input: cannot be read: {reason(error)}") from error
    if not content:
        raise ImageError("standard input is empty: send an image to it")
    return content


def write_standard_output(content: bytes) -> None:
    """Write a result to standard output.

    Raises BrokenPipeError if the reader has closed the pipe, and otherwise OutputError.
    """
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the commands end silently
        raise
    except OSError as error:
        raise OutputError(f"standard output: cannot be written: {reason(error)}") from error
