"""Changes to lists with one item a line."""

from __future__ import annotations

from random import Random

from tests.fuzz.mutation.byte_changes import change_bytes, change_list
from tests.fuzz.mutation.json_documents import HOSTILE_TEXTS

_LINES = (
    *HOSTILE_TEXTS,
    "*",
    "[",
    "[!]",
    "[" * 2000,
    "*a" * 2000,
    "?" * 100_000,
    "# " + "x" * 1000,
    "@other",
    "\ufeff*",
    "a\u2028b",
)


def change_lines(random: Random, data: bytes) -> bytes:
    """Change, omit or repeat lines, or change line ends, or bytes anywhere."""
    if random.random() < 0.3:
        return change_bytes(random, data)
    lines = data.split(b"\n")
    match random.randrange(4):
        case 0:
            lines = change_list(random, lines)
        case 1:
            lines = lines * random.choice((2, 1000))
        case 2:
            return random.choice((b"\r", b"\r\n", b"\0", b",")).join(lines)
        case _:
            line = random.choice(_LINES).encode(errors="surrogatepass")
            lines[random.randrange(len(lines))] = line
    return b"\n".join(lines)
