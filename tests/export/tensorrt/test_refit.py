"""Engines that take the trained weights of another domain: marked weights, and refusals."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import dsunet_runtime
from dsunet_export.graph.names import is_frozen
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.refit import mark_trained_weights, trained_weights
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.flavor import typed_network
from dsunet_runtime.backends.tensorrt.log import log_of
from tests.export.engines import RTX_4090, graph, has_gpu, pretend_gpu, trt
from tests.export.helpers import export, one_line, random_frames
from tests.export.tensorrt.test_configuration import config
from tests.made_once import made_once

rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two domains of one backbone in float16."""
    folder = made_once(tmp_path_factory, "domains_to_refit", export_domains)
    return folder / "a.onnx", folder / "b.onnx"


def export_domains(folder: Path) -> None:
    """The trained weights of the second are those of the first, changed."""
    from dsunet import load_model, save_model
    from dsunet.checkpoints.demonstration import demonstration_checkpoint
    from dsunet.checkpoints.header import Content

    model = load_model(demonstration_checkpoint())
    for name in ("a", "b"):
        save_model(model, folder / f"{name}.safetensors")
        options = ("--precision", "fp16", "--no-verify", "--shared-weights", "backbone.data")
        result = export(folder / f"{name}.safetensors", "-o", folder / f"{name}.onnx", *options)
        assert result.exit_code == 0, result.output
        for key, parameter in model.named_parameters():
            if Content.TRAINED.holds(key):
                parameter.data = parameter.data * 1.02


def test_the_frozen_weights_are_one_file(domains: tuple[Path, Path]) -> None:
    """Of two checkpoints that lie differently in memory."""
    (shared,) = domains[0].parent.glob("backbone-*.data")
    assert {file.name for path in domains for file in read_manifest(path).files} == {shared.name}


def test_flags() -> None:
    """Only marked weights can be exchanged: REFIT would forbid TensorRT to fold any other."""
    for refit in (False, True):
        told = config(EngineOptions(refit=refit))
        assert told.get_flag(rtx.BuilderFlag.REFIT_INDIVIDUAL) == refit
        assert not told.get_flag(rtx.BuilderFlag.REFIT)
        assert not told.get_flag(rtx.BuilderFlag.REFIT_IDENTICAL)


def test_what_differs_between_domains_is_marked(domains: tuple[Path, Path]) -> None:
    """And nothing else that is a weight: independently found by the bytes of both files."""
    ours, theirs = ({w.name: w for w in onnx.load(path).graph.initializer} for path in domains)
    differing = {name for name, weight in ours.items() if weight.raw_data != theirs[name].raw_data}
    assert len(differing) > 100
    marked = set(trained_weights(domains[0], read_manifest(domains[0])))
    assert differing <= marked
    readers = {
        name: [node.name for node in onnx.load(domains[0]).graph.node if name in node.input]
        for name in marked - differing
    }
    assert not any(all(map(is_frozen, names)) for names in readers.values())


def test_tensorrt_can_exchange_them(domains: tuple[Path, Path]) -> None:
    network = typed_network(rtx, rtx.Builder(log_of(rtx)))
    parser = rtx.OnnxParser(network, log_of(rtx))
    assert parser.parse_from_file(str(domains[0]))
    mark_trained_weights(network, domains[0], read_manifest(domains[0]))


def test_refused(
    domains: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "x.engine"

    def says(onnx_file: Path, *options: str) -> str:
        result = trt(onnx_file, "--gpu", "rtx4090", "--flavor", "rtx", "-o", output, *options)
        assert result.exit_code in (1, 2)
        assert not output.exists()
        return one_line(result.stderr.splitlines()[-1])

    assert "--strip-weights and --refit exclude each other" in says(
        domains[0], "--refit", "--strip-weights"
    )
    pretend_gpu(monkeypatch, None)
    assert re.search(
        r"--refit needs a GPU on this machine \(CUDA finds", says(domains[0], "--refit")
    )
    pretend_gpu(monkeypatch, RTX_4090)
    two = says(domains[0], "--refit", "--gpu", "rtx5090")
    assert "--refit takes one compute capability, not 8.9, 12.0" in two
    alone = graph(tmp_path / "alone.onnx", batch=1, side=32)
    assert "--refit needs a graph that shares its frozen weights" in says(alone, "--refit")
    wide = graph(tmp_path / "wide.onnx", "float32", batch=1, side=32)
    assert "--refit needs a graph in fp16" in says(wide, "--refit")


@pytest.mark.gpu
def test_a_swap_on_a_gpu(domains: tuple[Path, Path], tmp_path: Path) -> None:
    if not has_gpu():
        pytest.skip("needs an NVIDIA GPU and its driver")
    output = tmp_path / "a.engine"
    result = trt(domains[0], "-o", output, "--refit", "--size", "64x64:160x160:320x320")
    assert result.exit_code == 0, result.output
    frame = random_frames(1, 160, 160)[0]
    with dsunet_runtime.load(domains[1]) as reference:
        expected = reference(frame)
    start = time.perf_counter()
    dsunet_runtime.load(output, selftest="never").close()
    own = time.perf_counter() - start
    with dsunet_runtime.load(output, domain=domains[1]) as segmenter:
        assert np.abs(segmenter(frame).astype(int) - expected).mean() < 1
    start = time.perf_counter()
    dsunet_runtime.load(output, domain=domains[1], selftest="never").close()
    assert time.perf_counter() - start - own < 0.05
