"""Planted faults are found: the module, and no other."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

import dsunet_runtime
from dsunet.scenes import write_scenes
from dsunet_export.bisection.groups import Group, group_of
from dsunet_export.bisection.layers_to_keep import LayersToKeep, find_layers_to_keep
from dsunet_export.bisection.switches import Switchboard
from dsunet_export.errors import ExportError
from dsunet_export.options import read_patterns
from dsunet_export.probes import Probe, load_probes
from dsunet_runtime.backends.interface import Tensors
from tests.export.bisection.faults import (
    Plant,
    convert,
    overflow,
    plant,
    saturation,
    underflow,
)
from tests.export.comparison.test_verify import verify

TOLERANCE = 1.0
"""Levels; the demonstration checkpoint loses 0.1 in float16, and with a fault 5 and more."""

ALONE = [
    (overflow, "dino.vit.blocks.1.mlp", "dino.vit.blocks.1.mlp"),
    (overflow, "hiera.trunk.blocks.2.mlp", "hiera.trunk.blocks.2.mlp"),
    (overflow, "rfb.1.branches", "rfb.1.branches"),
    (underflow, "hiera.trunk.blocks.1.norm1", "hiera.trunk.blocks.1.norm1"),
    (saturation, "hiera.trunk.blocks.2.attn", "hiera.trunk.blocks.2.attn"),
    (saturation, "sff.1", "sff.1/"),
    (underflow, "dino.vit.blocks.0.norm2", "dino.vit.blocks.0.norm2"),
    (saturation, "dino.vit.blocks.1.attn", "dino.vit.blocks.1.attn"),
]
"""Fault, module, and the group that has to be found."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 2, 5, size=96)
    return folder / "Image"


def find(a: Path, b: Path, scenes: Path) -> LayersToKeep:
    probes: list[Probe] = load_probes(scenes, None)
    return find_layers_to_keep(a, b, probes, TOLERANCE, lambda line: None)


@pytest.mark.parametrize(("fault", "module", "group"), ALONE)
def test_alone(
    trained: Path, scenes: Path, tmp_path: Path, fault: Plant, module: str, group: str
) -> None:
    a = plant(trained, tmp_path / "a.onnx", (fault, module))
    found = find(a, convert(a, tmp_path / "b.onnx"), scenes)
    assert found.before > 1 >= found.after
    assert [one.path for one in found.groups] == [group]


@pytest.mark.parametrize("pair", [(0, 3), (1, 5)])
def test_two_at_once(trained: Path, scenes: Path, tmp_path: Path, pair: tuple[int, int]) -> None:
    faults = [ALONE[index] for index in pair]
    a = plant(trained, tmp_path / "a.onnx", *[(fault, module) for fault, module, _ in faults])
    found = find(a, convert(a, tmp_path / "b.onnx"), scenes)
    assert {one.path for one in found.groups} == {group for _, _, group in faults}
    assert found.after <= 1


def test_nothing_is_kept_where_nothing_is_wrong(
    trained: Path, scenes: Path, tmp_path: Path
) -> None:
    found = find(trained, convert(trained, tmp_path / "b.onnx"), scenes)
    assert found.groups == ()
    assert found.trials == 1


def test_the_file_mends_the_export(trained: Path, scenes: Path, tmp_path: Path) -> None:
    """The exporter keeps the layers that were found, and the result is verified as users run it."""
    a = plant(trained, tmp_path / "a.onnx", (saturation, "sff.1"))
    b = convert(a, tmp_path / "b.onnx")
    patterns = tmp_path / "keep.txt"
    result = verify(a, b, "--images", scenes, "--bisect", patterns)
    assert "layers to keep in float32, found in" in result.stderr
    found = read_patterns([f"@{patterns}"])
    assert found == ["sff.1/*"]
    mended = convert(a, tmp_path / "mended.onnx", *found)
    with dsunet_runtime.load(a) as first, dsunet_runtime.load(mended) as second:
        for path in scenes.iterdir():
            difference = np.abs(first(path).astype(int) - second(path)).mean()
            assert difference <= TOLERANCE


def test_an_image_that_fails_ends_a_trial(
    trained: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = plant(trained, tmp_path / "a.onnx", (overflow, "rfb.1.branches"))
    runs, lines = list[str](), list[str]()
    run = Switchboard.run

    def counted(board: Switchboard, probe: Probe, kept: Collection[Group]) -> Tensors:
        runs.append(probe.label)
        return run(board, probe, kept)

    monkeypatch.setattr(Switchboard, "run", counted)
    probes = load_probes(scenes, None)
    b = convert(a, tmp_path / "b.onnx")
    found = find_layers_to_keep(a, b, probes, TOLERANCE, lines.append)
    images = len(set(runs))
    failed = sum(line.startswith("at least ") for line in lines)
    assert images > len(probes)
    assert failed > 1
    references = images
    # The first trial, of which the result is printed, and those that succeed run on all images.
    assert len(runs) <= references + (found.trials - failed) * images + failed + images
    assert len(lines) == found.trials


def test_other_artifacts_are_refused(trained: Path, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="the float32 artifact first"):
        find(trained, trained, scenes)
    half = convert(trained, tmp_path / "b.onnx")
    with pytest.raises(ExportError, match="the float32 artifact first"):
        find(half, trained, scenes)
    assert verify(trained, tmp_path / "x.engine", "--bisect", tmp_path / "keep").exit_code == 2


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        (
            "dino.vit.blocks.1.attn.project.key/MatMul",
            [
                "dino",
                "dino.vit.blocks.1",
                "dino.vit.blocks.1.attn",
                "dino.vit.blocks.1.attn.project.key/",
            ],
        ),
        ("dino.vit.blocks.1/Add", ["dino", "dino.vit.blocks.1", *["dino.vit.blocks.1/"] * 2]),
        ("hiera/Transpose", ["hiera", *["hiera/"] * 3]),
        ("sff.2.query.0/Conv", ["sff", "sff.2", "sff.2.query", "sff.2.query.0/"]),
    ],
)
def test_groups(name: str, groups: list[str]) -> None:
    assert [group_of(name, level).path for level in range(4)] == groups


def test_a_group_holds_its_parts_only() -> None:
    block = Group("dino.vit.blocks.1")
    assert block.contains(Group("dino.vit.blocks.1.attn"))
    assert block.contains(Group("dino.vit.blocks.1/"))
    assert not block.contains(Group("dino.vit.blocks.11"))
    assert not Group("dino.vit.blocks.1/").contains(Group("dino.vit.blocks.1.attn"))
