"""Manifests that say anything, with a digest that fits: the artifact works or is refused, in words.

A digest keeps altered manifests out, so that a fuzzer of bytes does not come to what reads them.
Whoever forges one comes there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import dsunet_runtime
from dsunet_runtime import RuntimeFault, read_manifest
from dsunet_runtime.artifact.document import seal
from dsunet_runtime.artifact.manifest import METADATA_KEY
from dsunet_runtime.artifact.manifest_file import engine_manifest_file
from dsunet_runtime.artifact.onnx_metadata import encode_metadata
from dsunet_runtime.json_text import JsonError
from dsunet_runtime.plain_values import encode
from tests.runtime import artifacts, engines
from tests.runtime.conftest import Machine

SEED, CASES = 13, 400

HOSTILE = (
    *(None, True, 0, -1, 1, 2, 1.5, 1e308, -1e308, 2**31, 2**62, 2**63, 2**64 - 1, 10**18),
    *("", "x", "\x1b[2J", "a\nb", "..", "/dev/zero", "../a.onnx", "a\0b", "x" * 300, "x" * 100_000),
    *([], {}, [[[[1]]]], {"a": {"b": []}}, [1] * 1000, ["image"] * 3, [2**20] * 4, [0, 0, 0]),
)


@pytest.fixture(params=["frames", "tensors", "stripped", "engine"])
def artifact(request: pytest.FixtureRequest, tmp_path: Path, machine: Machine) -> Path:
    """Of each kind; engines are run by a fake TensorRT."""
    match request.param:
        case "frames":
            return artifacts.frames(tmp_path / "a.onnx", external=True)
        case "tensors":
            return artifacts.tensors(tmp_path / "a.onnx")
        case kind:
            return engines.frames(tmp_path / "a.engine", stripped=kind == "stripped")


def test_work_or_are_refused(artifact: Path) -> None:
    random = Random(SEED)
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    write = writer(artifact)
    values = encode(read_manifest(artifact))
    refused = 0
    for number in range(CASES):
        forged = copy.deepcopy(values)
        for _ in range(random.choice((1, 1, 2, 3))):
            change(random, forged)
        try:
            write(seal(forged))
        except JsonError:
            continue
        try:
            with dsunet_runtime.load(artifact) as segmenter:
                assert segmenter(image).shape == (9, 11)
        except RuntimeFault as fault:
            refused += 1
            message = str(fault).replace(str(artifact.parent), "")
            assert message.isprintable(), (number, message)
            assert len(message) < 600, (number, message[:1000])
    assert CASES / 4 < refused < CASES


def writer(path: Path) -> Callable[[str], object]:
    """What puts a document in the place of an artifact's manifest."""
    if path.suffix == ".engine":
        return engine_manifest_file(path).write_text
    graph = path.read_bytes()[: read_manifest(path).graph.size]
    return lambda text: path.write_bytes(graph + encode_metadata(METADATA_KEY, text))


def change(random: Random, document: Any) -> None:
    """One place of a document is left out, takes a hostile value, or that of another place."""
    places = list(_places(document))
    container, key = random.choice(places)
    match random.randrange(8):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container[random.choice(("x", "", "\x1b[2J", "x" * 300))] = container.pop(key)
        case 1 | 2:
            other, name = random.choice(places)
            container[key] = copy.deepcopy(other[name])
        case 3 if isinstance(container[key], int) and not isinstance(container[key], bool):
            container[key] += random.choice((-1, 1))
        case _:
            container[key] = copy.deepcopy(random.choice(HOSTILE))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a document with each of its keys; tuples become lists."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inside in list(pairs):
        if isinstance(inside, tuple):
            inside = value[key] = list(inside)
        yield value, key
        if isinstance(inside, dict | list):
            yield from _places(inside)
