"""Verify that an artifact computes what the model computes.

The graph is run twice: for its logits, with the rounding of every tensor emulated, so that overflow
shows as on a GPU; and as users run it, where ONNX Runtime supports that.  A comparison of masks
alone is not sufficient: where the network finds no object, they are black in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsunet_export.artifact import replace_manifest
from dsunet_export.errors import VerificationError
from dsunet_export.graph.graph_file import load_graph
from dsunet_export.graph.session import compute_logits
from dsunet_export.options import ExportPrecision
from dsunet_export.precision.convert_nodes import DATA_TYPES
from dsunet_export.precision.emulate_rounding import emulate_rounding
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.verification.compare_artifact import (
    ReferenceCase,
    check_tolerance,
    compare_artifact,
    compare_logits,
    compare_mask_with_reference,
)
from dsunet_export.verification.measures import LEAST_FRACTION, logit_overlap
from dsunet_export.verification.selftest_cases import selftest_probes, with_measured_tolerances
from dsunet_export.verification.tolerances import tolerance_for
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import InputForm, Manifest, Verification
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.masks.mask_from_logits import mask_from_logits

_OTHER_REMEDIES = {
    ExportPrecision.FP16: "use --precision bf16 if values overflow",
    ExportPrecision.BF16: "use --precision fp16, which rounds less",
    ExportPrecision.INT8: "calibrate on more --images",
    ExportPrecision.FP8: "calibrate on more --images",
}


def verify_before_conversion(
    cases: Sequence[ReferenceCase], logits: Sequence[NDArray[np.float32]]
) -> tuple[Verification, ...]:
    """Compare the logits S×S of the float32 graph, before its conversion, with the reference.

    The float32 tolerance applies, so that faults are found which rounding would hide later, such as
    a wrong weight.  Raises VerificationError outside the tolerance.
    """
    return tuple(map(before_conversion, _verify_logits(cases, logits)))


def _verify_logits(
    cases: Sequence[ReferenceCase], logits: Sequence[NDArray[np.float32]]
) -> list[Verification]:
    results = []
    for case, found in zip(cases, logits, strict=True):
        result = compare_logits(case, found)
        check_tolerance(result, case)
        results.append(result)
    return results


def before_conversion(result: Verification) -> Verification:
    """Mark a comparison as one of the float32 graph, before the conversion."""
    return replace(result, computed_by=f"{result.computed_by}, before the conversion")


def compute_rounded(
    artifact: Path, manifest: Manifest, probes: Iterable[Probe], folder: Path
) -> list[Tensors]:
    """Compute the outputs and logits of an artifact, with the rounding of 16 bits emulated."""
    compute = Compute.of(manifest.precision.compute)
    model = load_graph(artifact, manifest)
    if compute is not Compute.FP32:
        emulate_rounding(model, DATA_TYPES[compute])
    inputs = GraphInputs.of(manifest)
    return compute_logits(model, map(inputs.prepare, probes), folder)


def verify_float32(
    artifact: Path, manifest: Manifest, cases: Sequence[ReferenceCase], folder: Path
) -> Manifest:
    """Compare a float32 artifact with the reference of each case: logits, and masks if it has them.

    Returns the manifest with the comparisons added, and with the tolerances of its self-test
    measured.  Raises VerificationError if a difference is outside the tolerance.
    """
    with_masks = cases if manifest.input_form is InputForm.FRAMES else []
    probes = [case.probe for case in with_masks] + selftest_probes(manifest)
    outputs = compute_rounded(artifact, manifest, probes, folder)
    logits = [output["logits"][0, 0] for output in outputs[: len(with_masks)]]
    results = _verify_logits(with_masks, logits)
    as_run = _verify_as_run(artifact, manifest, cases, results)
    manifest = replace(manifest, verification=(*results, *as_run))
    return with_measured_tolerances(manifest, outputs[len(with_masks) :])


def _verify_as_run(
    artifact: Path,
    manifest: Manifest,
    cases: Sequence[ReferenceCase],
    results: Sequence[Verification],
) -> tuple[Verification, ...]:
    """Run an artifact as its users do.

    `results` are written to its manifest first.  They show that it computes finite numbers;
    without them the runtime would report black masks as those of NaN.
    """
    replace_manifest(artifact, replace(manifest, verification=tuple(results)))
    return compare_artifact(artifact, cases)


def verify_reduced(
    artifact: Path, manifest: Manifest, cases: Sequence[ReferenceCase], folder: Path
) -> Manifest:
    """Compare an artifact of reduced precision with the reference of each case.

    Each case gets the tolerance for its kind of image and weights (`tolerance_for`).  Returns the
    manifest with the comparisons added, and with the tolerances of its self-test measured.  Raises
    VerificationError if a difference is outside the tolerance or a value is not finite.
    """
    compute = Compute.of(manifest.precision.compute)
    remedy = remedy_for(ExportPrecision.of(manifest.precision))
    cases = [
        replace(
            case,
            tolerance=tolerance_for(manifest, is_noise=case.probe.is_noise),
            remedy=remedy,
        )
        for case in cases
    ]
    probes = [case.probe for case in cases] + selftest_probes(manifest)
    outputs = compute_rounded(artifact, manifest, probes, folder)
    for probe, output in zip(probes, outputs, strict=True):
        if not np.isfinite(output["logits"]).all():
            raise VerificationError(
                f"the {manifest.precision.element_type} graph computes values that are not finite "
                f"on {probe.label}; nothing was written: {remedy}"
            )
    results = []
    for case, output in zip(cases, outputs[: len(cases)], strict=True):
        for result in compare_outputs(case, output, manifest):
            check_tolerance(result, case)
            results.append(result)
    if compute is not Compute.BF16:
        as_run = _verify_as_run(artifact, manifest, cases, results)
        if compute is Compute.FP16:  # for 8 bits it must pass, but is the same comparison
            results += as_run
    manifest = replace(manifest, verification=(*manifest.verification, *results))
    return with_measured_tolerances(manifest, outputs[len(cases) :])


def remedy_for(precision: ExportPrecision) -> str:
    """Return advice for an artifact of reduced precision that does not pass verification."""
    return (
        f"to find the layers to keep in float32, export with --precision {precision} --no-verify "
        f"and with --precision fp32, run `dsunet-export verify FP32.onnx {precision.upper()}.onnx "
        f"--images DIR --bisect keep.txt`, then export with --precision {precision} --keep-fp32 "
        f"@keep.txt; or {_OTHER_REMEDIES[precision]}"
    )


def compare_outputs(
    case: ReferenceCase, output: Tensors, manifest: Manifest
) -> Iterator[Verification]:
    """Compare finite logits, and then the mask, of a graph of reduced precision with a reference.

    `output` has the graph's outputs for one image, and its logits as `logits`.
    """
    logits, precision = output["logits"][0, 0], manifest.precision
    if manifest.input_form is InputForm.FRAMES:
        mask = output["mask"][0]
    else:
        mask = mask_from_logits(logits, case.probe.image.shape[:2], manifest.mask_form)
    how = f"ONNX Runtime against {case.reference}"
    if precision.compute != "float32":
        how = (
            f"ONNX Runtime with {precision.compute} rounding emulated on every tensor, against "
            f"{case.reference}"
        )
    iou = logit_overlap(case.logits, logits, or_median=manifest.weights_are_random)
    no_iou = f"; no IoU: less than {LEAST_FRACTION:.0%} on one side of 0.5" if iou is None else ""
    yield replace(compare_logits(case, logits), iou=iou, computed_by=how + no_iou)
    yield replace(compare_mask_with_reference(case, mask, manifest.mask_form), computed_by=how)
