"""The exports that are compared, by PyTorch's exporter and by this project, and their inputs.

By default the weights are randomly initialised, the form is `tensors`, and the batch is 1.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from dsunet import DSUNetConfig, random_model
from dsunet.network.model import DSUNet
from dsunet.scenes import write_scenes
from dsunet_export.graph.forms import TensorsGraph, example_inputs
from dsunet_export.onnx import export_onnx
from dsunet_export.options import ExportOptions, ExportPrecision, WeightsOrigin
from dsunet_runtime.artifact.manifest import InputForm, Manifest


def new_model(preset: str) -> DSUNet:
    """Create a model with randomly initialised weights from a fixed seed."""
    return random_model(DSUNetConfig.preset(preset))


def export_plain(
    model: DSUNet, path: Path, precision: ExportPrecision = ExportPrecision.FP32
) -> None:
    """Export by `torch.onnx.export` as documented by PyTorch; in FP16, of `model.half()`."""
    module = TensorsGraph(model).eval()
    inputs = tuple(example_inputs(model.config, 1).values())
    if precision is ExportPrecision.FP16:
        module, inputs = module.half(), tuple(value.half() for value in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    program.save(path, external_data=True)


def calibration_images(folder: Path, count: int = 4) -> Path:
    """Return a folder of synthetic scenes, which are written unless they exist.

    A few are sufficient where only the latency is measured: it does not depend on the ranges.
    """
    scenes = folder / "scenes"
    if not scenes.is_dir():
        write_scenes(scenes, count, seed=0, workers=1)
    return scenes / "Image"


def export_ours(model: DSUNet, path: Path, **options: Any) -> Manifest:
    """Export as `dsunet-export onnx --no-verify`; `options` override the defaults above."""
    wanted = {"input_form": InputForm.TENSORS, "batch": 1, "verify": False, **options}
    origin = WeightsOrigin.random(0)
    return export_onnx(model, origin, path, ExportOptions(**wanted), lambda step, seconds: None)
