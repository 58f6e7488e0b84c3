"""What messages repeat of foreign text."""

from __future__ import annotations

import time

import pytest

from dsunet_runtime.message_text import clean, printable, quote, reason, shorten


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("größe × 2", "größe × 2"),
        ("two\n lines\tand  more", "two lines and more"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202eb", "a\\u202eb"),
        (b"\xff.jpg".decode("utf-8", "surrogateescape"), "\\xff.jpg"),
        ("\ud800", "\\ud800"),
        ("x" * 301, "x" * 299 + "…"),
        ("x" * 300, "x" * 300),
        (" " * 2000 + "x", "…"),
        ("", ""),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_megabytes_cost_nothing() -> None:
    start = time.process_time()
    assert len(printable("\x1b" * 100_000_000)) == 300
    assert time.process_time() - start < 1  # looking at each would take a minute


def test_quote() -> None:
    assert quote("a\nb") == "'a b'"
    assert quote("x" * 1000, 10) == f"'{'x' * 9}…'"


def test_reason() -> None:
    assert reason(OSError(28, "No space left on device", "/a/b")) == "No space left on device"
    assert reason(ValueError("line\nline")) == "line line"
    assert reason(ValueError()) == "ValueError"


def test_shorten() -> None:
    assert shorten(["a"]) == "a"
    assert shorten(["a", "b\x1b", "c", "d"]) == "a, b\\x1b and 2 more"


def test_clean_keeps_lines_and_paths() -> None:
    path = "/".join(["a" * 200] * 10)
    assert clean(f"{path}: wrong:\n  \x1b]0;title\x07") == f"{path}: wrong:\n  \\x1b]0;title\\x07"
