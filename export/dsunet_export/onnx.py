"""Export a model to a verified ONNX artifact.  `export_onnx` has the sequence of the steps."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from dsunet.network.model import DSUNet
from dsunet_export.artifact import NOT_WRITTEN, artifact_staging, replace_manifest, write_artifact
from dsunet_export.graph.attention import unfuse
from dsunet_export.graph.forms import FramesGraph, TensorsGraph, example_inputs
from dsunet_export.graph.session import compute_logits
from dsunet_export.graph.trace import trace
from dsunet_export.macs import count_macs
from dsunet_export.options import IMAGES_COMPARED, ExportOptions, ExportPrecision, WeightsOrigin
from dsunet_export.precision.convert_graph import ConversionOptions, ConvertedGraph, convert_graph
from dsunet_export.probes import GraphInputs, Probe, load_probes, make_probes
from dsunet_export.quantization.quantize import QuantizationOptions, quantize
from dsunet_export.rewrites import REWRITES
from dsunet_export.stopwatch import Report, Stopwatch
from dsunet_export.verification.compare_artifact import ReferenceCase
from dsunet_export.verification.reference import compute_reference
from dsunet_export.verification.selftest_cases import make_selftest, with_tolerances
from dsunet_export.verification.verify_artifact import (
    verify_before_conversion,
    verify_float32,
    verify_reduced,
)
from dsunet_runtime import __version__
from dsunet_runtime.artifact.manifest import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputForm,
    Manifest,
    Precision,
    Preprocessing,
    Rewrite,
    SelfTestCase,
    TensorSpec,
)

EXAMPLE_FRAME = (96, 130)
"""Frame size to trace dynamic sizes with: unequal sides, neither of them an encoder's."""
EXAMPLE_BATCH = 3
"""Batch size to trace a dynamic batch with.  Verification uses another, to find a batch size that
was traced as a constant."""


def export_onnx(
    model: DSUNet, origin: WeightsOrigin, output: Path, options: ExportOptions, report: Report
) -> Manifest:
    """Export a model to ONNX, verify the result and write it.

    Args:
        model: The network, on the CPU.  It cannot be used afterwards: rewrites change it in place,
            and its weights are released.
        origin: Origin of the weights, for the manifest.
        output: File to write, NAME.onnx.  It is replaced only if all steps succeed.  Weights of
            more than 1.9 GB go to a second file, `output` with `.data` appended.
        options: Form, precision, sizes and verification.
        report: Called with the name and the seconds of each step when it ends.

    Returns:
        The manifest, which is also in the metadata of the file.

    Raises:
        ExportError: The artifact cannot be made or written.
        VerificationError: It does not compute what the model computes.
    """
    model.eval()
    samples = _Samples.load(options)
    with artifact_staging(output) as folder:
        watch = Stopwatch(report)
        cases = _reference_cases(model, samples) if options.verify else []
        selftest = make_selftest(model, options)
        watch.step("compute the reference in PyTorch")
        macs = count_macs(model)
        rewrites = apply_rewrites(model, macs) if options.rewrite else ()
        macs = rewrites[-1].macs_after if rewrites else macs
        watch.step("rewrite")
        graph = trace_model(model, options)
        rewrites += unfuse(graph, options.attention, macs)
        watch.step("trace")
        inputs = _graph_inputs(model, options)
        graph, precision, float32_logits = _convert(graph, options, inputs, samples, cases, folder)
        if options.precision.is_quantized:
            watch.step("calibrate and quantise")
        elif options.precision is not ExportPrecision.FP32:
            watch.step(f"convert to {precision.compute}")
        manifest = _make_manifest(model, origin, options, macs, rewrites, precision, selftest)
        artifact = folder / output.name
        manifest = write_artifact(
            graph, artifact, with_tolerances(manifest), options.shared_weights
        )
        # ONNX Runtime loads the weights again: release this copy.
        del graph
        model.to_empty(device="meta")
        watch.step("write")
        if options.verify:
            manifest = _verify(artifact, manifest, cases, float32_logits, folder)
            watch.step("verify with ONNX Runtime")
    return manifest


@dataclass(frozen=True, slots=True)
class _Samples:
    """The images on which an export runs the network."""

    probes: list[Probe]
    """Random pixels and a photograph."""
    images: list[Probe]
    """The user's images, for other precisions than float32."""

    @classmethod
    def load(cls, options: ExportOptions) -> Self:
        images = load_probes(options.images, options.size) if options.images else []
        return cls(make_probes(options.size), images)

    @property
    def compared(self) -> list[Probe]:
        """The images on which the artifact is compared with the reference."""
        return self.probes + self.images[:IMAGES_COMPARED]


def _reference_cases(model: DSUNet, samples: _Samples) -> list[ReferenceCase]:
    return [ReferenceCase(probe, compute_reference(model, probe)) for probe in samples.compared]


def _convert(
    graph: ir.Model,
    options: ExportOptions,
    inputs: GraphInputs,
    samples: _Samples,
    cases: Sequence[ReferenceCase],
    folder: Path,
) -> ConvertedGraph:
    """Convert a float32 graph to the precision of the options.

    The logits that are returned begin with those of the cases, except in float32, which needs none.
    `graph` cannot be used afterwards.
    """
    if options.precision is ExportPrecision.FP32:
        return ConvertedGraph(graph, Precision(), [])
    if options.precision.is_quantized:
        return _quantize(graph, options, inputs, samples, cases, folder)
    reduction = ConversionOptions(
        options.precision.compute,
        options.keep_fp32,
        samples.probes + samples.images,
        options.attention,
    )
    return convert_graph(graph, reduction, inputs, folder)


def _quantize(
    graph: ir.Model,
    options: ExportOptions,
    inputs: GraphInputs,
    samples: _Samples,
    cases: Sequence[ReferenceCase],
    folder: Path,
) -> ConvertedGraph:
    """Quantise a graph; if it is verified, verify it in float32 first, which takes seconds.

    Calibration takes minutes.
    """
    probe_logits: list[NDArray[np.float32]] = []
    if cases:
        outputs = compute_logits(graph, map(inputs.prepare, samples.probes), folder)
        probe_logits = [output["logits"][0, 0] for output in outputs]
        verify_before_conversion(cases[: len(probe_logits)], probe_logits)
    quantization = QuantizationOptions(
        options.precision,
        options.keep_fp32,
        samples.images,
        only_computed=() if cases else samples.probes,
    )
    quantized, precision, logits = quantize(graph, quantization, inputs, folder)
    return ConvertedGraph(quantized, precision, probe_logits + logits)


def _verify(
    artifact: Path,
    manifest: Manifest,
    cases: Sequence[ReferenceCase],
    float32_logits: Sequence[NDArray[np.float32]],
    folder: Path,
) -> Manifest:
    """Compare a staged artifact with the reference, and write the results into its manifest.

    `float32_logits` are those of the graph before a conversion; empty if there was none.
    """
    if not float32_logits:
        manifest = verify_float32(artifact, manifest, cases, folder)
    else:
        before = verify_before_conversion(cases, float32_logits[: len(cases)])
        manifest = replace(manifest, verification=before)
        manifest = verify_reduced(artifact, manifest, cases, folder)
    replace_manifest(artifact, manifest)
    return manifest


def apply_rewrites(model: DSUNet, macs: int) -> tuple[Rewrite, ...]:
    """Apply every rewrite to a model of `macs` multiply-adds, and count them after each one."""
    done = []
    for name, rewrite in REWRITES.items():
        rewrite(model)
        before, macs = macs, count_macs(model)
        done.append(Rewrite(name, before, macs))
    return tuple(done)


def trace_model(model: DSUNet, options: ExportOptions) -> ir.Model:
    """Trace the model to an ONNX graph in the form that the options select."""
    batch = options.batch or EXAMPLE_BATCH
    if options.input_form is InputForm.TENSORS:
        module: nn.Module = TensorsGraph(model)
        inputs = example_inputs(model.config, batch)
    else:
        module = FramesGraph(model, options.mask_form)
        size = options.size or EXAMPLE_FRAME
        inputs = {"image": torch.zeros(batch, *size, 3, dtype=torch.uint8)}
    (output,) = _output_specs(model, options)
    dynamic = {
        spec.name: {axis: dim for axis, dim in enumerate(spec.shape) if isinstance(dim, str)}
        for spec in _input_specs(model, options)
    }
    graph = trace(module, inputs, output.name, dynamic, options.opset)
    graph.graph.outputs[0].shape = ir.Shape(output.shape)
    return graph


def _make_manifest(
    model: DSUNet,
    origin: WeightsOrigin,
    options: ExportOptions,
    macs: int,
    rewrites: tuple[Rewrite, ...],
    precision: Precision,
    selftest: tuple[SelfTestCase, ...],
) -> Manifest:
    """Describe an artifact that is not written and verified yet."""
    return Manifest(
        model=model.config.to_dict(),
        input_form=options.input_form,
        mask_form=options.mask_form,
        inputs=_input_specs(model, options),
        outputs=_output_specs(model, options),
        preprocessing=_preprocessing(model, options),
        weights_origin=origin.description,
        weights_are_random=origin.are_random,
        checkpoint_sha256=origin.checkpoint_sha256,
        macs=macs,
        built_with=_versions(),
        precision=precision,
        rewrites=rewrites,
        graph=NOT_WRITTEN,
        selftest=selftest,
    )


def _graph_inputs(model: DSUNet, options: ExportOptions) -> GraphInputs:
    sizes = model.config.input_sizes
    return GraphInputs(options.input_form, sizes, options.batch or 1, options.size)


def _input_specs(model: DSUNet, options: ExportOptions) -> tuple[TensorSpec, ...]:
    n = options.batch_axis
    if options.input_form is InputForm.FRAMES:
        shape = (n, *options.frame_axes, 3)
        return (TensorSpec("image", "uint8", shape, "NHWC", "RGB, 0 to 255"),)
    return tuple(
        TensorSpec(name, "float32", (n, 3, side, side), "NCHW", "RGB, normalised")
        for name, side in model.config.input_sizes.items()
    )


def _output_specs(model: DSUNet, options: ExportOptions) -> tuple[TensorSpec, ...]:
    n = options.batch_axis
    if options.input_form is InputForm.FRAMES:
        return (TensorSpec("mask", "uint8", (n, *options.frame_axes), "NHW", "0 to 255"),)
    side = model.config.hiera.image_size
    return (TensorSpec("logits", "float32", (n, 1, side, side), "NCHW", "unbounded"),)


def _preprocessing(model: DSUNet, options: ExportOptions) -> Preprocessing:
    return Preprocessing(
        in_graph=options.input_form is InputForm.FRAMES,
        sizes=model.config.input_sizes,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def _versions() -> dict[str, str]:
    packages = ("torch", "onnx", "onnx-ir", "onnxscript", "timm", "sam2")
    versions = {"dsunet": __version__}
    versions |= {name: importlib.metadata.version(name) for name in packages}
    # Distributed under several names: onnxruntime, onnxruntime-gpu and others.
    versions["onnxruntime"] = onnxruntime.__version__
    return {**versions, "python": platform.python_version()}
