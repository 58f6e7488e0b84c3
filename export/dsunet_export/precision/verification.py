"""Verify a graph of reduced precision against the model.

The graph is run twice: with the rounding of every tensor emulated, so that overflow shows as on a
GPU; and as users run it, where ONNX Runtime supports that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsunet_export.errors import VerificationError
from dsunet_export.graph_file import load_graph
from dsunet_export.precision.emulate_rounding import emulate_rounding
from dsunet_export.precision.narrow import DATA_TYPES
from dsunet_export.precision.session import compute_logits
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.verify import (
    ReferenceCase,
    Tolerance,
    check,
    compare_logits,
    compare_masks,
    verify,
)
from dsunet_runtime.backends import Tensors
from dsunet_runtime.compute import Compute
from dsunet_runtime.manifest import InputForm, Manifest, Verification
from dsunet_runtime.masks import mask_from_logits

LENIENT = Tolerance(
    logits=3.0,
    logits_mean=0.2,
    widest_mask=255.0,
    mask_mean_fraction=0.05,
    mask_follows_logits=False,
    iou=0.8,
    remedy="keep more layers in float32 with `dsunet-export onnx --keep-fp32 PATTERN`, or use "
    "--precision bf16 if values overflow, --precision fp16 if bf16 rounds too much, or more "
    "--images for int8; for randomly initialised weights --no-verify writes it anyway",
)
"""Tolerance for randomly initialised weights, whose peaked attention amplifies rounding, and for
random pixels, in which a trained model finds no object, so that stretching amplifies rounding.

Measured with random weights in float16 (`nano` and `tiny` with two seeds, `small` with one): means
of 0.002 to 0.093 and IoUs of 0.997 to 0.926 on random pixels, 0.003 to 0.030 and 0.998 to 0.985 on
a photograph; in bfloat16, with an earlier form of the graph, up to 0.15 and 0.89.  Single logits
may differ far more, where attention selects another token.  Unrelated maps differ by 1.1 on average
and have an IoU of one third.  Faults that this tolerance hides, such as one wrong weight, are found
by the comparison of the float32 graph, which has a smaller one."""
STRICT = replace(LENIENT, logits_mean=0.1, mask_mean_fraction=0.01, iou=0.95)
"""Tolerance for trained weights on images: 2.55 levels of a mask on average.  No trained network
has been measured yet; the random weights above pass in float16 with at most 1.4 levels."""
EIGHT_BITS = replace(STRICT, iou=0.8)
"""Tolerance for trained weights quantised to 8 bits, which change logits by 0.02 standard
deviations: for a small object with most pixels near threshold 0.5 that costs a tenth of the IoU
(measured: down to 0.90 on 16 scenes)."""
FEWEST = 0.01
"""Fraction of the logits that must lie on either side of zero for an IoU to be computed: for a mask
of a few pixels it has no meaning."""


def tolerance_for(probe: Probe, manifest: Manifest) -> Tolerance:
    """Return the tolerance for an image; the same for float16 and bfloat16."""
    if manifest.weights_are_random or probe.is_noise:
        return LENIENT
    return EIGHT_BITS if manifest.precision.quantized else STRICT


def verify_before(
    cases: Sequence[ReferenceCase], logits: Sequence[NDArray[np.float32]]
) -> tuple[Verification, ...]:
    """Compare the logits S×S of the float32 graph, before its conversion, with the reference.

    The float32 tolerance applies, so that faults are found which rounding would hide later, such as
    a wrong weight.  Raises VerificationError outside the tolerance.
    """
    results = []
    for case, found in zip(cases, logits, strict=True):
        result = before_conversion(compare_logits(case, found))
        check(result, case.tolerance)
        results.append(result)
    return tuple(results)


def before_conversion(result: Verification) -> Verification:
    """Mark a comparison as one of the float32 graph, before the conversion."""
    return replace(result, computed_by=f"{result.computed_by}, before the conversion")


def verify_reduced(
    artifact: Path, manifest: Manifest, cases: Sequence[ReferenceCase], folder: Path
) -> tuple[Verification, ...]:
    """Compare an artifact of reduced precision with the reference of each case.

    Each case gets the tolerance for its kind of image and weights (`tolerance_for`).  Raises
    VerificationError if a difference is outside the tolerance or a value is not finite.
    """
    compute = Compute.of(manifest.precision.compute)
    cases = [replace(c, tolerance=tolerance_for(c.probe, manifest)) for c in cases]
    model = load_graph(artifact, manifest)
    if compute is not Compute.FP32:
        emulate_rounding(model, DATA_TYPES[compute])
    inputs = GraphInputs.of(manifest)
    outputs = compute_logits(model, (inputs.prepare(case.probe) for case in cases), folder)
    del model
    results = []
    for case, output in zip(cases, outputs, strict=True):
        for result in _compare(case, output, manifest):
            check(result, case.tolerance)
            results.append(result)
    if compute is not Compute.BF16:
        as_run = verify(artifact, cases)
        if compute is Compute.FP16:  # for 8 bits it must pass, but is the same comparison
            results += as_run
    return tuple(results)


def _compare(case: ReferenceCase, output: Tensors, manifest: Manifest) -> Iterator[Verification]:
    logits, precision = output["logits"][0, 0], manifest.precision
    if not np.isfinite(logits).all():
        raise VerificationError(
            f"the {precision.element_type} graph computes values that are not finite on "
            f"{case.probe.label}; nothing was written: {case.tolerance.remedy}"
        )
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
    iou = compute_iou(case.logits, logits, or_median=manifest.weights_are_random)
    unfair = "" if iou is not None else f"; no IoU: less than {FEWEST:.0%} on one side of 0.5"
    yield replace(compare_logits(case, logits), iou_at_half=iou, computed_by=how + unfair)
    yield replace(compare_masks(case, mask, manifest.mask_form), computed_by=how)


def compute_iou(
    reference: NDArray[np.float32], logits: NDArray[np.float32], *, or_median: bool
) -> float | None:
    """Compute the IoU at probability 0.5 of two maps of logits.

    If less than a fraction `FEWEST` of the reference lies on one side of 0.5, returns None; or with
    `or_median`, for random weights, uses the median of the reference as the threshold.
    """
    fraction, threshold = float((reference > 0).mean()), 0.0
    if not FEWEST <= fraction <= 1 - FEWEST:
        if not or_median:
            return None
        threshold = float(np.median(reference))
    expected, found = reference > threshold, logits > threshold
    union = np.count_nonzero(expected | found)
    return float(np.count_nonzero(expected & found) / union) if union else 1.0
