"""Optimization profiles: the ranges of input shapes of an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.profiles import Ranges, make_profiles, parse_batch, parse_size
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.manifest import OptimizationProfile
from tests.runtime import artifacts


class TestProfiles:
    def test_defaults_of_frames(self, tmp_path: Path) -> None:
        manifest = read_manifest(artifacts.frames(tmp_path / "x.onnx"))
        shapes = (1, 64, 64, 3), (1, 720, 1280, 3), (1, 1920, 1920, 3)
        assert make_profiles(manifest, Ranges()) == (OptimizationProfile("image", *shapes),)

    def test_tensors(self, tmp_path: Path) -> None:
        manifest = read_manifest(artifacts.tensors(tmp_path / "x.onnx"))
        hiera, dino = make_profiles(manifest, Ranges(parse_batch("1:2:4")))
        assert hiera == OptimizationProfile("hiera", *((n, 3, 16, 16) for n in (1, 2, 4)))
        assert dino == OptimizationProfile("dino", *((n, 3, 14, 14) for n in (1, 2, 4)))
        with pytest.raises(ExportError, match="--size is for --input frames graphs"):
            make_profiles(manifest, Ranges(size=parse_size("16x16")))

    def test_one_side_fixed(self, tmp_path: Path) -> None:
        manifest = read_manifest(artifacts.frames(tmp_path / "x.onnx", height=30))
        (profile,) = make_profiles(manifest, Ranges(size=parse_size("30x40:30x50:30x60")))
        assert (profile.minimum, profile.maximum) == ((1, 30, 40, 3), (1, 30, 60, 3))
        with pytest.raises(ExportError, match="fixed to 30 on axis H"):
            make_profiles(manifest, Ranges(size=parse_size("29x40:30x50:30x60")))
