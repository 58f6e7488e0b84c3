"""Foreign text in messages: shortened, and printable on any terminal.

Names and keys from files, and the messages of other libraries, may hold megabytes, line breaks or a
terminal's control sequences.  What a message repeats of them passes through here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

_NAME = 80
_SENTENCE = 300
_MESSAGE = 20_000
_NEXT = "\n  "
"""How the lines of a list begin; another line break is part of what a message repeats."""


def printable(text: object, limit: int = _SENTENCE) -> str:
    r"""`str(text)` on one line of at most `limit` characters.

    White space becomes single spaces, what does not print becomes an escape such as `\x1b`, and
    what is longer than `limit` ends in `…`.
    """
    whole = str(text)
    # Of megabytes only the start is looked at; a character has up to ten as an escape.
    line = " ".join(whole[: 4 * limit].split())
    cleaned = _escaped(line)
    if len(cleaned) <= limit and len(whole) <= 4 * limit:
        return cleaned
    return cleaned[: limit - 1] + "…"


def quote(text: object, limit: int = _NAME) -> str:
    """`printable` text in quotation marks, for names and values inside a sentence."""
    return f"'{printable(text, limit)}'"


def clean(message: str) -> str:
    """A message of ours, a line and a list under it at most, as what a terminal may be sent.

    The last guard for what a message repeats, paths above all, which keep their full length.
    """
    return _NEXT.join(_escaped(line) for line in message[:_MESSAGE].split(_NEXT))


def reason(error: BaseException) -> str:
    """What an exception says, as one printable line: an OSError's cause without its path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(text) or type(error).__name__


def readable(path: PurePath | str) -> str:
    """A path or a line for documents, pages and tables, which are UTF-8: whole, with what does not
    print escaped.
    """
    return _escaped(str(path))


def shorten(names: Iterable[object], shown: int = 2) -> str:
    """The first few names, printable, and how many more there are."""
    found = list(names)
    text = ", ".join(printable(name, _NAME) for name in found[:shown])
    return text + (f" and {len(found) - shown:,} more" if len(found) > shown else "")


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")
