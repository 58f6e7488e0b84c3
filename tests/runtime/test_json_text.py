"""JSON within bounds, beside Python's own reader."""

from __future__ import annotations

import json

import pytest

from dsunet_runtime.json_text import JsonError, parse_json, parse_object


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1, 2.5, -3e-7, true, null]",
        '{"a": {"b": ["c", "größe", "\\ud83d\\ude00"]}}',
        "1e300",
        str((1 << 64) - 1),
        str(-(1 << 63)),
        "[" * 32 + "]" * 32,
    ],
)
def test_what_python_reads(text: str) -> None:
    assert parse_json(text) == json.loads(text)
    assert parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON: Expecting value: line 1 column 1"),
        ("{'a': 1}", "is not JSON: Expecting property name"),
        (b"\xff", "is not UTF-8 text"),
        ("[" * 33 + "]" * 33, "is nested more than 32 levels deep"),
        (str(1 << 64), "an integer beyond 64 bits: 18446744073709551616"),
        ("1e999", "a number too large for a float: 1e999"),
        ("NaN", "contains NaN, which is not JSON"),
        ("[-Infinity]", "contains -Infinity"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ('"\\ud800"', "text that is not Unicode"),
        ('{"\\udfff\\u001b": 1}', r"not Unicode: '\\udfff\\x1b'"),
    ],
)
def test_what_is_refused(text: str | bytes, expected: str) -> None:
    with pytest.raises(JsonError, match=expected):
        parse_json(text)


@pytest.mark.parametrize("start", ["[", '{"a":'])
def test_nesting_that_overflows_the_stack(start: str) -> None:
    with pytest.raises(JsonError, match="is nested more than 32 levels deep"):
        parse_json(start * 100_000)


def test_what_is_too_large() -> None:
    with pytest.raises(JsonError, match=r"integer beyond 64 bits: 9{19}…"):
        parse_json("9" * 5000)
    with pytest.raises(JsonError, match="has 67,108,865 bytes; the limit is 67,108,864"):
        parse_json(" " * (64 << 20) + "1")


def test_objects() -> None:
    assert parse_object('{"a": 1}') == {"a": 1}
    with pytest.raises(JsonError, match="is a list, not an object"):
        parse_object("[]")
