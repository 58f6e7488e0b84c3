"""Dataclasses from and to plain JSON values, and the names of fields in refusals."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dsunet_runtime.plain_values import FieldError, SystemText, decode, encode


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    shape: tuple[int | str, ...]
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Everything:
    inputs: tuple[Tensor, ...]
    colour: Colour
    pair: tuple[int, str]
    sizes: dict[str, int]
    tensors: dict[str, Tensor]
    folders: dict[str, tuple[Path, ...]]
    anything: Any
    path: Path
    source: SystemText | None
    main: Tensor | None = None
    limit: float | None = None
    is_on: bool = False


EVERYTHING = Everything(
    inputs=(Tensor("image", ("N", 3), 0.5), Tensor("mask", (1,))),
    colour=Colour.BLUE,
    pair=(1, "b"),
    sizes={"hiera": 352},
    tensors={"main": Tensor("main", (1, "N"))},
    folders={"masks": (Path("a"), Path(os.fsdecode(b"caf\xe9")))},
    anything=[{"a": None}],
    path=Path("a/b"),
    source="timm:vit",
    main=Tensor("main", ()),
    limit=2.0,
    is_on=True,
)


def plain(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(encode(EVERYTHING)))
    return values | changes


@pytest.mark.parametrize("exact", [True, False])
def test_round_trip(exact: bool) -> None:
    assert decode(Everything, plain(), exact=exact) == EVERYTHING
    nothing = dataclasses.replace(EVERYTHING, source=None, main=None, limit=None)
    assert decode(Everything, json.loads(json.dumps(encode(nothing))), exact=exact) == nothing


def test_an_integer_is_a_number() -> None:
    found = decode(Everything, plain(limit=3), exact=True).limit
    assert (found, type(found)) == (3.0, float)


def test_paths_that_are_no_utf8() -> None:
    name = os.fsdecode(b"caf\xe9")
    odd = dataclasses.replace(EVERYTHING, path=Path(name), source=name)
    values = encode(odd)
    assert values["path"] == values["source"] == {"bytes": "636166e9"}
    assert decode(Everything, json.loads(json.dumps(values)), exact=True) == odd


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"colour": "green"}, "colour is 'green', not one of red, blue"),
    ({"colour": ["red"]}, 'colour is ["red"], not one of red, blue'),
    ({"pair": [1]}, "pair is [1], not a list of 2"),
    ({"pair": [1, 2]}, "pair[1] is 2, not text"),
    ({"pair": {"a": 1}}, 'pair is {"a": 1}, not a list of 2'),
    ({"sizes": [352]}, "sizes is [352], not an object"),
    ({"sizes": {"hiera": True}}, "sizes.hiera is true, not an integer"),
    ({"sizes": {"\x1b[2J" + "x" * 10**6: 1.0}},
     rf"sizes.\x1b[2J{'x' * 32}… is 1.0, not an integer"),
    ({"inputs": "image"}, "inputs is 'image', not a list"),
    ({"inputs": [3]}, "inputs[0] is 3, not an object"),
    ({"inputs": [{"name": "a", "shape": [1, 2.5], "scale": 1}]},
     "inputs[0].shape[1] is 2.5, not an integer or text"),
    ({"inputs": [{"name": "a", "shape": [None], "scale": 1}]},
     "inputs[0].shape[0] is null, not an integer or text"),
    ({"inputs": [{"name": None, "shape": [], "scale": 1}]}, "inputs[0].name is null, not text"),
    ({"main": "x"}, "main is 'x', not an object"),
    ({"limit": "x" * 10**6}, f"limit is '{'x' * 79}…', not a number"),
    ({"limit": [0] * 10**6}, f"limit is [{'0, ' * 26}…, not a number"),
    ({"is_on": 1}, "is_on is 1, not true or false"),
    ({"is_on": None}, "is_on is null, not true or false"),
    ({"path": None}, "path is null, not a path"),
    ({"path": {"bytes": "xyz"}}, 'path is {"bytes": "xyz"}, not a path'),
    ({"source": {"bytes": 3}}, 'source is {"bytes": 3}, not text'),
    ({"anything": 0, "inputs": [{"name": {"bytes": "61"}, "shape": [], "scale": 1}]},
     'inputs[0].name is {"bytes": "61"}, not text'),
]  # fmt: skip


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("changes", "message"), MISFITS)
def test_misfits_are_named(changes: dict[str, Any], message: str, exact: bool) -> None:
    with pytest.raises(FieldError) as caught:
        decode(Everything, plain(**changes), exact=exact)
    assert str(caught.value) == message


def test_fields_that_are_missing_or_unknown() -> None:
    values = plain()
    del values["limit"], values["inputs"][1]["scale"]
    values["colours"] = values["inputs"][0]["dtype"] = "x"
    expected = dataclasses.replace(EVERYTHING, limit=None)
    assert decode(Everything, values, exact=False) == expected
    with pytest.raises(FieldError, match=r"^it lacks limit$"):
        decode(Everything, values, exact=True)
    values["limit"] = None
    with pytest.raises(FieldError, match=r"^it has unknown fields: colours$"):
        decode(Everything, values, exact=True)
    del values["colours"]
    with pytest.raises(FieldError, match=r"^inputs\[0\] has unknown fields: dtype$"):
        decode(Everything, values, exact=True)
    del values["inputs"][0]["dtype"]
    with pytest.raises(FieldError, match=r"^inputs\[1\] lacks scale$"):
        decode(Everything, values, exact=True)
    del values["inputs"][1]["name"], values["inputs"][1]["shape"]
    with pytest.raises(FieldError, match=r"^inputs\[1\] lacks name, shape$"):
        decode(Everything, values, exact=False)


def test_the_whole_has_no_name() -> None:
    with pytest.raises(FieldError, match=r"^it is null, not an object$"):
        decode(Everything, None, exact=False)
