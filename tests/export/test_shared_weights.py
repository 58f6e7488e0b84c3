"""Domains of one backbone: the frozen weights are in one file, whatever the trained ones are."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import typer
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import dsunet_export.cli
import dsunet_export.onnx
import dsunet_runtime.cli
from dsunet import DSUNet, DSUNetConfig, random_model
from dsunet.network.config import NETWORKS, Decoder, Injection
from dsunet_export import artifact
from dsunet_export.artifact import artifact_staging, write_artifact
from dsunet_export.errors import ExportError
from dsunet_export.graph.names import is_frozen
from dsunet_export.onnx import apply_rewrites
from dsunet_export.options import Attention, ExportOptions, ExportPrecision
from dsunet_export.precision.convert_graph import ConversionOptions, convert_graph
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization.quantize import QuantizationOptions, quantize
from dsunet_export.rewrites import REWRITES
from dsunet_runtime import Manifest, read_manifest
from dsunet_runtime.artifact.integrity import check_hashes
from tests.export.helpers import NANO, SMALL, export, graph_of, random_frames
from tests.made_once import made_once

PRECISIONS = list(ExportPrecision)
KEPT = ("dino.vit.blocks.0.attn.project.*", "hiera.trunk.blocks.1.mlp*/MatMul*")
"""In 8 bits, the first are merged into one."""


def perturb(name: str, array: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """What another domain has trained in the place of a weight."""
    noise = np.random.default_rng([seed, len(name)]).normal(1, 0.05, array.shape)
    return (array * noise).astype(np.float32)


def domain(source: Path, seed: int) -> ir.Model:
    """The graph of an artifact in which everything that is trained is another."""
    model = graph_of(source)
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None
        is_weight = "." in name and "constant" not in name and tensor.dtype is ir.DataType.FLOAT
        if is_weight and not is_frozen(name) and not name.startswith("preprocess"):
            value.const_value = ir.tensor(perturb(name, tensor.numpy(), seed), name=name)
    return model


def write(
    model: ir.Model,
    manifest: Manifest,
    output: Path,
    precision: ExportPrecision,
    keep: Sequence[str] = (),
    shared: str | None = "backbone.data",
) -> Manifest:
    """Convert a graph and write it as `export_onnx` does."""
    images = [Probe("noise", random_frames(1, 64, 80)[0])]
    inputs = GraphInputs.of(manifest)
    with artifact_staging(output) as folder:
        if precision.is_quantized:
            options = QuantizationOptions(precision, keep, images)
            model, found, _ = quantize(model, options, inputs, folder)
            manifest = replace(manifest, precision=found)
        elif precision is not ExportPrecision.FP32:
            reduction = ConversionOptions(precision.compute, keep, images, Attention.FUSED)
            model, found, _ = convert_graph(model, reduction, inputs, folder)
            manifest = replace(manifest, precision=found)
        return write_artifact(model, folder / output.name, manifest, shared)


def tensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """All weights of an ONNX file, as the onnx package reads them."""
    graph = onnx.load(path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def backbone(manifest: Manifest) -> str:
    (file,) = manifest.files
    return file.name


@pytest.mark.parametrize(("injection", "decoder"), NETWORKS.values(), ids=NETWORKS)
def test_frozen_is_what_is_not_trained(injection: Injection, decoder: Decoder) -> None:
    model = random_model(SMALL.replace(injection=injection, decoder=decoder))
    for name, parameter in model.named_parameters():
        assert is_frozen(name) == (not parameter.requires_grad), name


@pytest.mark.parametrize("name", [*REWRITES, "all of them"])
def test_no_rewrite_folds_what_is_trained_into_a_frozen_weight(name: str) -> None:
    rewrite: Callable[[DSUNet], object] = REWRITES.get(
        name, functools.partial(apply_rewrites, macs=1)
    )
    found: list[dict[str, Tensor]] = []
    for seed in (1, 2):
        model = random_model(DSUNetConfig.preset("nano"))
        with torch.no_grad():
            for key, tensor in model.state_dict().items():
                if not is_frozen(key) and tensor.is_floating_point():
                    tensor.copy_(torch.from_numpy(perturb(key, tensor.numpy(), seed)))
        rewrite(model)
        named = [*model.named_parameters(), *model.named_buffers()]
        found.append({key: tensor.detach() for key, tensor in named})
    assert found[0].keys() == found[1].keys()
    frozen = {key for key in found[0] if is_frozen(key)}
    assert len(frozen) > 100
    assert [key for key in sorted(frozen) if not torch.equal(found[0][key], found[1][key])] == []
    others = [key for key in found[0] if key not in frozen]
    assert any(not torch.equal(found[0][key], found[1][key]) for key in others)


@pytest.fixture
def first(
    precision: ExportPrecision,
    frames: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """One domain in a precision, in a folder with the file that it shares."""

    def make(folder: Path) -> None:
        write(domain(frames, 1), read_manifest(frames), folder / "first.onnx", precision)

    made = made_once(tmp_path_factory, f"shared-{precision}", make)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "first.onnx"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_domains_share_one_file(precision: ExportPrecision, first: Path, frames: Path) -> None:
    manifest, folder = read_manifest(frames), first.parent
    files = read_manifest(first).files
    file = folder / files[0].name
    before = file.stat()
    second = write(domain(frames, 2), manifest, folder / "second.onnx", precision)
    assert second.files == files
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {path.name for path in folder.iterdir()} == {"first.onnx", "second.onnx", file.name}
    assert file.name == f"backbone-{files[0].sha256[:16]}.data"

    write(domain(frames, 2), manifest, folder / "whole" / "x.onnx", precision, shared=None)
    mine, whole = tensors(folder / "second.onnx"), tensors(folder / "whole" / "x.onnx")
    assert mine.keys() == whole.keys()
    for name, array in whole.items():
        assert (mine[name].dtype, mine[name].shape) == (array.dtype, array.shape), name
        assert mine[name].tobytes() == array.tobytes(), name
    # Nothing frozen is left in the artifact but what is tiny.
    stored = onnx.load(folder / "second.onnx", load_external_data=False).graph.initializer
    inside = [tensor for tensor in stored if not tensor.external_data]
    assert all(np.prod(tensor.dims) < 64 for tensor in inside if is_frozen(tensor.name))
    assert file.stat().st_size < sum(a.nbytes for n, a in whole.items() if is_frozen(n)) * 1.3


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_what_one_domain_keeps_in_float32_is_its_own(
    precision: ExportPrecision, first: Path, frames: Path
) -> None:
    """Images and trained weights decide what overflows, or has outliers; the file is the same."""
    model, output = domain(frames, 2), first.with_name("kept.onnx")
    source = {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    kept = write(model, read_manifest(frames), output, precision, KEPT)
    assert kept.precision.kept_in_float32 != read_manifest(first).precision.kept_in_float32
    assert kept.files == read_manifest(first).files
    in_float32 = {
        name
        for name, array in tensors(output).items()
        if is_frozen(name) and array.dtype == np.float32 and array.ndim == 2 and name in source
    }
    modules = {name.rsplit(".", 2 + name.endswith(".T"))[0] for name in in_float32}
    assert {"dino.vit.blocks.0.attn.project", "hiera.trunk.blocks.1.mlp.layers"} <= modules
    for name, array in tensors(output).items():
        if name in in_float32:
            np.testing.assert_array_equal(array, source[name], name)
    assert output.stat().st_size > first.stat().st_size


def test_other_content_is_another_file(frames: Path, tmp_path: Path) -> None:
    manifest = read_manifest(frames)
    names = set()
    changed = domain(frames, 1)
    for difference in (0, 1e-3):
        value = changed.graph.initializers["dino.vit.pos_embed"]
        assert value.const_value is not None
        array = value.const_value.numpy() + np.float32(difference)
        value.const_value = ir.tensor(array, name=value.name)
        copy = ir.from_proto(ir.to_proto(changed))
        output = tmp_path / f"{difference}.onnx"
        names.add(backbone(write(copy, manifest, output, ExportPrecision.FP32)))
    names.add(backbone(write(changed, manifest, tmp_path / "x.onnx", ExportPrecision.FP16)))
    assert len(names) == 3
    for path in tmp_path.glob("*.onnx"):
        check_hashes(path, read_manifest(path))


@pytest.mark.parametrize("precision", PRECISIONS[:1])
def test_equal_weights_on_either_side(first: Path, frames: Path) -> None:
    """The trace merges them: a trained bias of zeros would take a frozen one out of the file."""
    merged = domain(frames, 2)
    initializers = merged.graph.initializers
    frozen = initializers["dino.vit.blocks.0.mlp.fc1.bias"]
    assert frozen.const_value is not None
    name = "hiera.adapters.0.merged"
    trained = ir.val(name, const_value=ir.tensor(frozen.const_value.numpy(), name=name))
    merged.graph.register_initializer(trained)
    frozen.replace_all_uses_with(trained)
    del initializers["dino.vit.blocks.0.mlp.fc1.bias"]
    output = first.with_name("merged.onnx")
    made = write(merged, read_manifest(frames), output, ExportPrecision.FP32)
    assert made.files == read_manifest(first).files


def test_a_damaged_file_is_replaced(frames: Path, tmp_path: Path) -> None:
    manifest, output = read_manifest(frames), tmp_path / "x.onnx"
    made = write(domain(frames, 1), manifest, output, ExportPrecision.FP32)
    file = tmp_path / backbone(made)
    whole = file.read_bytes()
    file.write_bytes(bytes(len(whole)))
    write(domain(frames, 1), manifest, output, ExportPrecision.FP32)
    assert file.read_bytes() == whole


def test_a_file_behind_a_link_is_reused(frames: Path, tmp_path: Path) -> None:
    manifest, output = read_manifest(frames), tmp_path / "here" / "x.onnx"
    made = write(domain(frames, 1), manifest, output, ExportPrecision.FP32)
    file = output.with_name(backbone(made))
    disk = tmp_path / "disk"
    file.rename(disk)
    file.symlink_to(disk)
    write(domain(frames, 2), manifest, output, ExportPrecision.FP32)
    assert file.is_symlink()
    assert disk.stat().st_nlink == 1


def test_too_much_that_cannot_be_shared(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "SINGLE_FILE_LIMIT", 1_000_000)
    with pytest.raises(ExportError, match="or omit --shared-weights"):
        write(domain(frames, 1), read_manifest(frames), tmp_path / "x.onnx", ExportPrecision.FP32)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def pair(frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A small artifact of the command, and the file that it shares."""
    monkeypatch.setattr(dsunet_export.onnx, "trace_model", lambda model, options: graph_of(frames))
    result = export(*NANO, "-o", tmp_path / "pair" / "nano.onnx", "--shared-weights", "b.data")
    assert result.exit_code == 0, result.output
    file, graph = sorted((tmp_path / "pair").iterdir())
    assert (graph.name, file.name[:2]) == ("nano.onnx", "b-")
    assert f"{file} 5.6 MB" in result.stdout
    return graph, file


def test_the_commands_run_it(
    pair: tuple[Path, Path], frames: Path, photo: NDArray[np.uint8]
) -> None:
    graph, _ = pair
    image = graph.parent / "photo.png"
    Image.fromarray(photo).save(image)
    masks = []
    for path in (graph, frames):
        output = graph.parent / path.parent.name / "mask.png"
        run(dsunet_runtime.cli.app, "predict", path, image, "-o", output)
        masks.append(output.read_bytes())
    assert masks[0] == masks[1]
    run(dsunet_runtime.cli.app, "selftest", graph)
    short = ("--seconds", 0, "--rounds", 1, "--no-cold-start", "--image", image)
    run(dsunet_runtime.cli.app, "bench", graph, *short)
    run(dsunet_export.cli.app, "inspect", graph)
    run(dsunet_export.cli.app, "verify", frames, graph, "--images", graph.parent)


def run(app: typer.Typer, *arguments: object) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def test_without_its_file_or_with_another(pair: tuple[Path, Path]) -> None:
    graph, file = pair
    whole = file.read_bytes()
    for content, match in (
        (None, "missing; nano.onnx stores its weights in it: copy or move both together"),
        (whole + whole, "copy it again, or export again"),
        (bytes(len(whole)), f"not the file that {graph.name} was exported with"),
    ):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(dsunet_runtime.ArtifactError, match=match):
            dsunet_runtime.load(graph)


def test_inspect_matches_the_artifact(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """A second export says that it reuses the file."""
    graph, file = pair
    os.link(file, tmp_path / "other-name")
    result = export(
        *NANO, "--no-verify", "-o", graph.with_name("b.onnx"), "--shared-weights", "b.data"
    )
    assert result.exit_code == 0, result.output
    assert f"{file} 5.6 MB (reused)" in result.stdout
    assert (tmp_path / "other-name").samefile(file)


@pytest.mark.parametrize("name", ["folder/b.data", "..", "", "a" * 240, "a\nb"])
def test_names_that_do_not_fit(name: str) -> None:
    with pytest.raises(ExportError, match="give the name of a file without a folder"):
        ExportOptions(shared_weights=name)
