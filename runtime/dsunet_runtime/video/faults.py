"""Errors of PyAV in messages."""

from __future__ import annotations

from dsunet_runtime.message_text import printable, reason


def why(error: Exception) -> str:
    """Return the message of an error of FFmpeg or the system, without numbers and file names."""
    text = getattr(error, "strerror", None)
    return printable(text) if text else reason(error)
