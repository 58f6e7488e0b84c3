"""An FP16 engine of `large` for an RTX 4090, through the commands: 12 GB of memory, ten minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dsunet_runtime

pytestmark = pytest.mark.slow
pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")

MOST_ACTIVATION_BYTES = 60_000_000
"""Unfused, the finest SFF attention alone takes 240 MB."""


def test_half_precision_fuses(tmp_path: Path) -> None:
    graph, engine = tmp_path / "large.onnx", tmp_path / "large.engine"
    large = ("--preset", "large", "--random-weights", "--precision", "fp16")
    run("onnx", *large, "--input", "tensors", "-o", graph)
    run("trt", graph, "-o", engine, "--gpu", "rtx4090")
    built = dsunet_runtime.read_manifest(engine).engine
    assert built is not None
    assert built.compute_capabilities == ("8.9",)
    assert built.activation_bytes is not None
    assert built.activation_bytes < MOST_ACTIVATION_BYTES
    assert (
        built.precision_report.weight_bytes_reduced
        > 0.99 * built.precision_report.weight_bytes
        > 1e9
    )
    assert built.file.size == engine.stat().st_size


def run(command: str, *arguments: object) -> None:
    """Run `dsunet-export` as a user would; its own messages show where the test fails."""
    program = Path(sys.executable).with_name("dsunet-export")
    subprocess.run([program, command, *map(str, arguments)], check=True)
