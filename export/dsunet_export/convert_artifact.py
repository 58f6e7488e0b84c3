"""Convert a float32 artifact to another precision, without its PyTorch model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dsunet_export.artifact import artifact_staging, replace_manifest, write_artifact
from dsunet_export.errors import ExportError
from dsunet_export.graph.attention import unfuse
from dsunet_export.graph.graph_file import graph_errors, load_graph
from dsunet_export.options import Attention
from dsunet_export.precision.convert_graph import ConversionOptions, convert_graph
from dsunet_export.probes import GraphInputs, make_probes
from dsunet_export.stopwatch import Report, Stopwatch
from dsunet_export.verification.compare_artifact import ReferenceCase
from dsunet_export.verification.selftest_cases import with_tolerances
from dsunet_export.verification.verify_artifact import before_conversion, verify_reduced
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import Manifest


def convert_artifact(
    onnx_path: Path,
    output: Path,
    manifest: Manifest,
    compute: Compute,
    report: Report,
    attention: Attention = Attention.FUSED,
) -> Manifest:
    """Convert the float32 artifact `onnx_path` to another precision, verify it and write it.

    The files of `onnx_path` must have been checked (`check_sizes`, `check_hashes`).  The result is
    compared with the float32 graph as `dsunet-export onnx` compares with PyTorch; the comparisons
    of the float32 artifact stay in the manifest before the new ones.  The file at `output` is
    replaced only if every step succeeds.  Returns the manifest of the new artifact.

    Raises ExportError if the artifact is not float32 or cannot be written, and VerificationError
    if the result is outside the tolerance.
    """
    if Compute.of(manifest.precision.compute) is not Compute.FP32:
        raise ExportError(
            f"{onnx_path} is in {manifest.precision.compute} already: name the float32 artifact"
        )
    inputs = GraphInputs.of(manifest)
    probes = make_probes(inputs.size)
    with artifact_staging(output) as folder:
        watch = Stopwatch(report)
        model = load_graph(onnx_path, manifest)
        rewrites = manifest.rewrites + unfuse(model, attention, manifest.macs)
        with graph_errors(onnx_path):
            model, precision, logits = convert_graph(
                model, ConversionOptions(compute, (), probes, attention), inputs, folder
            )
        cases = [
            ReferenceCase(probe, reference, reference="the float32 graph")
            for probe, reference in zip(probes, logits, strict=True)
        ]
        watch.step(f"convert to {compute.element_type}")
        artifact = folder / output.name
        precision = replace(precision, quantized=manifest.precision.quantized)
        manifest = with_tolerances(replace(manifest, precision=precision, rewrites=rewrites))
        manifest = write_artifact(model, artifact, manifest)
        del model
        watch.step("write")
        earlier = tuple(map(before_conversion, manifest.verification))
        manifest = replace(manifest, verification=earlier)
        manifest = verify_reduced(artifact, manifest, cases, folder)
        replace_manifest(artifact, manifest)
        watch.step("verify with ONNX Runtime")
    return manifest
