"""The precision of an engine: the graph's own, or that to which a float32 graph is converted."""

from __future__ import annotations

from pathlib import Path

from dsunet_export.errors import ExportError
from dsunet_export.options import Attention, ExportPrecision
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.targets import Target
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import FLOAT8, Manifest

_AMPERE = 8.0
"""First compute capability with bfloat16."""
_ADA = 8.9
"""First compute capability with 8-bit floats."""


def choose_precision(
    onnx: Path, manifest: Manifest, target: Target, options: EngineOptions
) -> Compute:
    """Choose the precision of the layers that are not quantised.

    Raises ExportError if the graph cannot be converted to the requested one, or if a GPU of the
    target does not compute it.
    """
    precision = _choose(onnx, manifest, options)
    _check_bfloat16(target, precision)
    _check_float8(target, manifest)
    return precision


def _choose(onnx: Path, manifest: Manifest, options: EngineOptions) -> Compute:
    own = Compute.of(manifest.precision.compute)
    requested = options.precision or (Compute.FP16 if own is Compute.FP32 else own)
    if requested is own:
        if options.attention is not Attention.FUSED:
            attention = Attention.UNFUSED if own is Compute.FP32 else options.attention
            raise ExportError(
                f"--attention changes a float32 graph while it is converted to 16 bits, and {onnx} "
                f"stays in {own}: export it again with `dsunet-export onnx --precision "
                f"{ExportPrecision.of(manifest.precision)} --attention {attention}`"
            )
        return requested
    if own is not Compute.FP32:
        raise ExportError(
            f"{onnx} is in {own} and cannot be converted to {requested}: export it again with "
            f"`dsunet-export onnx --precision {requested}`"
        )
    if options.strip_weights or options.refit:
        option = "--strip-weights" if options.strip_weights else "--refit"
        raise ExportError(
            f"{option} needs a graph in {requested}, from which the runtime reads the weights, and "
            f"{onnx} is in {own}: export it with `dsunet-export onnx --precision {requested}` first"
        )
    return requested


def _check_bfloat16(target: Target, compute: Compute) -> None:
    """Raise ExportError if bfloat16 is requested for a GPU without it."""
    oldest = target.compute_capabilities[0]
    if compute is Compute.BF16 and float(oldest) < _AMPERE:
        raise ExportError(
            f"bf16 needs compute capability 8.0 or later, and the target is {oldest}: use "
            f"--precision fp16"
        )


def _check_float8(target: Target, manifest: Manifest) -> None:
    """Raise ExportError if the graph has 8-bit floats and a GPU does not."""
    oldest = target.compute_capabilities[0]
    if manifest.precision.element_type == FLOAT8 and float(oldest) < _ADA:
        raise ExportError(
            f"fp8 needs compute capability 8.9 or later, and the target is {oldest}: export the "
            f"graph with --precision int8 or fp16"
        )
