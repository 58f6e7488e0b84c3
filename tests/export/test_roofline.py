"""The roofline's counts of a whole network beside those of PyTorch, on `nano`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dsunet import DSUNetConfig
from dsunet_runtime import read_manifest
from dsunet_runtime.bench.roofline import ceiling, layer_profile
from dsunet_runtime.bench.roofline.branches import Branch, assign_branches, branch_of
from dsunet_runtime.bench.roofline.layer_profile import LayerProfile
from dsunet_runtime.bench.roofline.ort_profile import count_graph, profile_onnx
from tests.runtime.bench.test_bench import document, run

NETWORK = {Branch.HIERA, Branch.DINO, Branch.FUSION, Branch.DECODER}


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_profile, "_SECONDS", 0)
    monkeypatch.setattr(ceiling, "_SIDE", 256)


@pytest.fixture
def profile(frames: Path, photo: NDArray[np.uint8]) -> LayerProfile:
    return profile_onnx(frames, read_manifest(frames), {"image": photo[None]}, None)


def left_out() -> int:
    """Multiply-adds of the two coarse heads, which the module has and the graph does not need."""
    config = DSUNetConfig.preset("nano")
    return sum(config.decoder_channels * side**2 for side in config.hiera.map_sizes[1:3])


def test_the_graph_multiplies_as_much_as_the_modules(
    frames: Path, photo: NDArray[np.uint8]
) -> None:
    """Exactly: the exporter lets PyTorch count."""
    counted = count_graph(frames, read_manifest(frames), {"image": photo[None]})
    network = sum(macs for name, macs in counted.items() if branch_of(name) in NETWORK)
    assert network == read_manifest(frames).macs - left_out()
    unnamed = [name for name, macs in counted.items() if macs and branch_of(name) is None]
    assert unnamed == []


def test_what_is_executed_multiplies_hardly_more(frames: Path, profile: LayerProfile) -> None:
    """ONNX Runtime fills channels up to its blocks of 8 or 16, the head's single one above all."""
    network = 0
    for layer, place in zip(profile.layers, assign_branches(profile.layers), strict=True):
        network += layer.macs if place.branch in NETWORK else 0
    assert 0 <= network / (read_manifest(frames).macs - left_out()) - 1 < 0.01


def test_every_node_has_a_branch(profile: LayerProfile) -> None:
    """Also those that ONNX Runtime made up, and none of these multiplies."""
    places = assign_branches(profile.layers)
    assert {place.branch for place in places} == set(Branch) - {Branch.OTHER}
    for layer, place in zip(profile.layers, places, strict=True):
        assert place.named or layer.macs == 0


def test_command(frames: Path, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    options = ("--calls", 1, "--rounds", 1, "--no-cold-start", "--roofline")
    result = run(frames, "--image", tmp_path / "photo.png", *options)
    (found,) = document(result)["rooflines"]
    branches = found["branches"]
    assert list(branches) == [str(branch) for branch in Branch if branch is not Branch.OTHER]
    assert sum(one["fraction"] for one in branches.values()) == pytest.approx(1)
    assert sum(one["macs"] for one in branches.values()) == found["all"]["macs"]
    for name in ("preprocessing", "Hiera", "DINOv2", "wavelet and fusion", "decoder"):
        assert branches[name]["macs"] > 0
    assert branches["postprocessing"]["macs"] == 0
    # The two measurements are of the same network, in the same unit; other programs run too.
    assert 1 / 20 < found["all"]["seconds"] / found["unprofiled_seconds"] < 20
