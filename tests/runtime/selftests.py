"""Self-tests for `artifacts.frames`, whose masks NumPy computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.manifest import SelfTestCase
from dsunet_runtime.artifact.manifest_file import encode_manifest
from dsunet_runtime.selftest.coarse import Coarse, shortened
from dsunet_runtime.selftest.pictures import picture
from tests.runtime import artifacts

SIZES = ((40, 60), (40, 60), (33, 17))


def cases_for(sizes: tuple[tuple[int, int], ...] = SIZES) -> tuple[SelfTestCase, ...]:
    """What `artifacts.frames` computes for the pictures, by NumPy."""
    found = []
    for number, (height, width) in enumerate(sizes):
        mask = artifacts.expected_frames_mask(picture(number, height, width))
        coarse = Coarse.of(mask)
        blocks, points = shortened(coarse.blocks), shortened(coarse.points)
        found.append(SelfTestCase(number, height, width, blocks, points, 0.01, 0.04))
    return tuple(found)


def give_selftest(path: Path, cases: tuple[SelfTestCase, ...]) -> Path:
    """Replace the manifest of an artifact by one with a self-test."""
    manifest = read_manifest(path)
    with path.open("r+b") as file:
        file.truncate(manifest.graph.size)
        file.seek(0, 2)
        file.write(encode_manifest(replace(manifest, selftest=cases)))
    return path
