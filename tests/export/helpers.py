"""What the tests of the export have in common."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor
from typer.testing import CliRunner, Result

from dsunet import DSUNet, DSUNetConfig, Injection
from dsunet.network.config import Decoder, DinoConfig, HieraConfig
from dsunet_export.artifact import weights_file
from dsunet_export.cli import app
from dsunet_export.convert_artifact import convert_artifact
from dsunet_export.graph.forms import example_inputs
from dsunet_runtime import Manifest, read_manifest
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD, METADATA_KEY
from dsunet_runtime.images.decode import encoder_input
from tests.runtime import artifacts

NANO = ("--preset", "nano", "--random-weights")

ROUNDED = "ONNX Runtime with float16 rounding emulated on every tensor, against the float32 graph"
"""The manifest's `computed_by` of comparisons after a conversion to float16."""

SMALL = DSUNetConfig(
    hiera=HieraConfig(
        image_size=160,
        embed_dim=16,
        num_heads=1,
        stages=(1, 2, 2, 2),
        global_attention_blocks=(4,),
        window_sizes=(8, 6, 4, 3),
        background_size=(5, 5),
        adapter_dim=4,
    ),
    dino=DinoConfig(image_size=98, patch_size=7, embed_dim=24, depth=4, num_heads=2),
    decoder_channels=32,
    attention_channels=16,
)
"""Cheaper than nano and awkward in other ways: maps of 40, 20, 10 and 5, of which windows of 6, 4
and 3 leave two whole ones and a rest of 2, one of 2, and a single one and a rest; 5 is odd.
With a narrower decoder, random weights would leave DINOv2 without a say in the result."""

SMALL_UNET = SMALL.replace(injection=Injection.NONE, decoder=Decoder.UNET)
"""SAM2-UNet in that size, which is traced in a fifth of the time."""


def export(*arguments: object) -> Result:
    """`dsunet-export onnx`, in this process."""
    return CliRunner().invoke(app, ["onnx", *(str(argument) for argument in arguments)])


def convert(
    source: Path, output: Path, compute: Compute = Compute.FP16, **changes: object
) -> Manifest:
    """Convert a float32 artifact as `dsunet-export trt` does; `changes` are of its manifest."""
    manifest = replace(read_manifest(source), **changes)
    return convert_artifact(source, output, manifest, compute, lambda step, seconds: None)


def command(*arguments: object, program: str = "dsunet-export") -> subprocess.CompletedProcess[str]:
    """A command in a process of its own: what a user sees."""
    module = {"dsunet-export": "dsunet_export.cli", "dsunet-run": "dsunet_runtime.cli"}[program]
    code = f"from {module} import app; app(prog_name={program!r})"
    return subprocess.run(
        [sys.executable, "-c", code, *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def one_line(text: str, program: str = "dsunet-export") -> str:
    """The only line of what was written to stderr, which names the command."""
    (line,) = text.splitlines()
    assert line.startswith(f"{program}: ")
    return line


def example(config: DSUNetConfig, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Random normalised images."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(like.shape, generator=generator)
        for name, like in example_inputs(config, batch).items()
    }


def graph_of(artifact: Path) -> ir.Model:
    """The graph of an artifact, without its manifest."""
    model = ir.load(artifact)
    del model.metadata_props[METADATA_KEY]
    return model


def save_changed(model: ir.Model, source: Path, path: Path) -> Path:
    """Write a graph that was loaded from an artifact and changed, with the manifest of that."""
    model.metadata_props.clear()
    return artifacts.write(path, ir.to_proto(model), read_manifest(source))


def weights_beside(source: Path, path: Path) -> Path:
    """An artifact with its weights in a second file, as the onnx package writes it."""
    data = weights_file(path)
    model = onnx.load(source)
    del model.metadata_props[:]
    onnx.save_model(model, path, save_as_external_data=True, location=data.name, size_threshold=256)
    return artifacts.write(path, model, replace(read_manifest(source), files=(digest(data),)))


def random_frames(batch: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def reference_logits(model: DSUNet, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the published code computes: Pillow, then PyTorch; one image, S×S."""
    inputs = [
        torch.from_numpy(encoder_input(image, like.shape[-1], IMAGENET_MEAN, IMAGENET_STD))[None]
        for like in example_inputs(model.config, 1).values()
    ]
    with torch.inference_mode():
        return model(*inputs).fine[0, 0].numpy()


def assert_same_masks(mask: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Equal but for truncation: one level here and there."""
    assert mask.dtype == np.uint8
    assert mask.shape == expected.shape
    errors = np.abs(mask.astype(int) - expected)
    assert errors.max() <= 1
    assert (errors > 0).mean() < 0.02


def session(model: bytes | str | Path) -> onnxruntime.InferenceSession:
    """One thread, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
