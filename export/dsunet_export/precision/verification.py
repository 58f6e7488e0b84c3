"""Whether a graph of reduced precision computes what the model computes.

Twice: with every tensor really rounded, in which overflow shows as it would on a GPU; and as users
run it, where ONNX Runtime knows how.
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
from dsunet_export.verify import Case, Tolerance, check, compare_logits, compare_masks, verify
from dsunet_runtime.backends import Tensors
from dsunet_runtime.compute import Compute
from dsunet_runtime.manifest import InputForm, Manifest, Verification
from dsunet_runtime.masks import mask_from_logits

LENIENT = Tolerance(
    logits=3.0,
    logits_mean=0.2,
    widest_mask=255.0,
    mask_mean_share=0.05,
    mask_follows_logits=False,
    iou_at_half=0.8,
    remedy="keep more of it in float32 with `dsunet-export onnx --keep-fp32 PATTERN`, or take its "
    "--precision bf16 if numbers become too large, fp16 if they lose too many digits, more "
    "--images for int8; its --no-verify writes it all the same, for weights that nobody has "
    "trained",
)
"""For random weights, whose attention is peaked, so that they magnify rounding; and for random
pixels, in which trained ones see no object, so that a stretched mask does.

Found with random weights in float16, of `nano` and `tiny` (two seeds) and `small` (one): means of
0.002 to 0.093 and IoUs of 0.997 to 0.926 on random pixels, 0.003 to 0.030 and 0.998 to 0.985 on a
photograph; in bfloat16, with an earlier form of the graph, up to 0.15 and 0.89.  A single logit may
be far off, where attention turns to another place.  Maps that have nothing to do with each other
differ by 1.1 on average, and by chance halves overlap by a third.  What this cannot see, such as
one wrong weight, the float32 graph has been judged by."""
STRICT = replace(LENIENT, logits_mean=0.1, mask_mean_share=0.01, iou_at_half=0.95)
"""For images in which weights from a checkpoint may see something: in a mask 2.55 levels on
average.  No trained network has been measured yet; the random ones above would pass in float16,
with 1.4 levels at most."""
EIGHT_BITS = replace(STRICT, iou_at_half=0.8)
"""The same for 8 bits, which move logits by 0.02 standard deviations: of a small object, of which
most is close to half, that takes a tenth (found: down to 0.90 on 16 scenes)."""
FEWEST = 0.01
"""Share of the logits that must lie on either side of zero for half to be a fair place to cut: of
masks that are empty but for a few pixels the IoU says nothing."""


def tolerance_for(probe: Probe, manifest: Manifest) -> Tolerance:
    """For float16 and bfloat16 alike."""
    if manifest.weights_are_random or probe.is_noise:
        return LENIENT
    return EIGHT_BITS if manifest.precision.quantized else STRICT


def verify_before(
    cases: Sequence[Case], logits: Sequence[NDArray[np.float32]]
) -> tuple[Verification, ...]:
    """Compare what the graph gave before its conversion, S×S each, with what it should give.

    By the tolerance for float32: what rounding hides later, such as a wrong weight, shows here.
    Raises VerificationError beyond it.
    """
    results = []
    for case, found in zip(cases, logits, strict=True):
        result = before_conversion(compare_logits(case, found))
        check(result, case.tolerance)
        results.append(result)
    return tuple(results)


def before_conversion(result: Verification) -> Verification:
    """A comparison of the float32 graph, as one of what the reduced graph was made from."""
    return replace(result, computed_by=f"{result.computed_by}, before the conversion")


def verify_reduced(
    artifact: Path, manifest: Manifest, cases: Sequence[Case], folder: Path
) -> tuple[Verification, ...]:
    """Compare an artifact with what it should give, each case by the tolerance that is fair to it.

    Raises VerificationError beyond tolerance, or if something is not finite.
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
        if compute is Compute.FP16:  # of 8 bits it must pass, but says what is said above
            results += as_run
    return tuple(results)


def _compare(case: Case, output: Tensors, manifest: Manifest) -> Iterator[Verification]:
    logits, precision = output["logits"][0, 0], manifest.precision
    if not np.isfinite(logits).all():
        raise VerificationError(
            f"in {precision.element_type} the network gives values that are not finite on "
            f"{case.probe.label}; nothing was written ({case.tolerance.remedy})"
        )
    if manifest.input_form is InputForm.FRAMES:
        mask = output["mask"][0]
    else:
        mask = mask_from_logits(logits, case.probe.image.shape[:2], manifest.mask_form)
    how = f"ONNX Runtime against {case.reference}"
    if precision.compute != "float32":
        how = f"ONNX Runtime, every tensor rounded to {precision.compute}, against {case.reference}"
    iou = iou_at_half(case.logits, logits, or_median=manifest.weights_are_random)
    unfair = "" if iou is not None else f"; no IoU, one side of half has less than {FEWEST:.0%}"
    yield replace(compare_logits(case, logits), iou_at_half=iou, computed_by=how + unfair)
    yield replace(compare_masks(case, mask, manifest.mask_form), computed_by=how)


def iou_at_half(
    reference: NDArray[np.float32], logits: NDArray[np.float32], *, or_median: bool
) -> float | None:
    """Intersection over union of the pixels above probability a half, of two maps of logits.

    Where fewer than `FEWEST` of the reference's lie on one side there is none; or with `or_median`,
    for weights that nobody trained, the reference's median takes the place of a half.
    """
    share, threshold = float((reference > 0).mean()), 0.0
    if not FEWEST <= share <= 1 - FEWEST:
        if not or_median:
            return None
        threshold = float(np.median(reference))
    expected, found = reference > threshold, logits > threshold
    union = np.count_nonzero(expected | found)
    return float(np.count_nonzero(expected & found) / union) if union else 1.0
