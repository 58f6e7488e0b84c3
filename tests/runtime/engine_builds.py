"""Engines built by `dsunet-export`, with TensorRT for RTX, which needs no GPU for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.runtime import artifacts

SMALL = ("--precision", "fp32", "--batch", "1:2:4", "--size", "1x1:32x32:64x64")
NANO = ("--preset", "nano", "--random-weights", "--precision", "fp16")


def export(command: str, *arguments: object) -> None:
    """Run `dsunet-export`; its own messages show where a test fails."""
    program = Path(sys.executable).with_name("dsunet-export")
    subprocess.run([program, command, *map(str, arguments)], check=True)


def small_engine(folder: Path, *options: str) -> Path:
    """An engine of the arithmetic in `artifacts.frames`, beside the graph."""
    graph = artifacts.frames(folder / "a.onnx")
    export("trt", graph, "-o", folder / "a.engine", *SMALL, *options)
    return folder / "a.engine"
