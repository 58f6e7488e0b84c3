"""Text of messages: untrusted text is shortened and made printable on any terminal.

Names and keys from files, and messages of other libraries, may contain megabytes, line breaks or
terminal control sequences.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

_NAME = 80
_SENTENCE = 300
_MESSAGE = 20_000
_NEXT = "\n  "
"""Separator of the lines of a list; any other line break is untrusted text."""


def printable(text: object, limit: int = _SENTENCE) -> str:
    r"""Return `str(text)` as one line of at most `limit` characters.

    White space becomes single spaces, unprintable characters become escapes such as `\x1b`, and
    text longer than `limit` is cut and ends in `…`.
    """
    whole = str(text)
    # Only the start of long text is processed; an escape has up to ten characters.
    line = " ".join(whole[: 4 * limit].split())
    cleaned = _escaped(line)
    if len(cleaned) <= limit and len(whole) <= 4 * limit:
        return cleaned
    return cleaned[: limit - 1] + "…"


def quote(text: object, limit: int = _NAME) -> str:
    """Quote `printable` text, for names and values inside a sentence."""
    return f"'{printable(text, limit)}'"


def clean(message: str) -> str:
    """Make a complete message printable: one line, or one line and a list.

    It is the last guard for untrusted text in messages, such as paths, which are not shortened.
    """
    return _NEXT.join(_escaped(line) for line in message[:_MESSAGE].split(_NEXT))


def reason(error: BaseException) -> str:
    """Return the message of an exception as one printable line.

    For errors of the system and of FFmpeg, it has no number and no path.
    """
    text = getattr(error, "strerror", None) or str(error)
    return printable(text) or type(error).__name__


def readable(path: PurePath | str) -> str:
    """Escape unprintable characters of a path or line, for UTF-8 documents and tables."""
    return _escaped(str(path))


def shorten(names: Iterable[object], shown: int = 2) -> str:
    """List the first few names, printable, and the number of the others."""
    found = list(names)
    text = ", ".join(printable(name, _NAME) for name in found[:shown])
    return text + (f" and {len(found) - shown:,} more" if len(found) > shown else "")


def counted(number: int, noun: str) -> str:
    """Format a number with its noun, in the plural except for 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")
