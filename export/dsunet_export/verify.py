"""Verify that an artifact computes what the model computes.

The artifact is run through `dsunet_runtime`, as its users run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_export.errors import VerificationError
from dsunet_export.probes import Probe
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.manifest import InputForm, MaskForm, Verification
from dsunet_runtime.masks import mask_from_logits, sigmoid


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest differences from the reference with which an artifact passes."""

    logits: float
    """Difference that 99.9 % of the logits do not exceed, as a fraction of their deviation.  Single
    ones may differ by any finite amount, where attention is peaked: of 123,904 logits of `large`,
    with the weights of the reference data, one differed by 0.011, and all by 4.6e-5 on average."""
    logits_mean: float
    """Mean difference of the logits, in the same unit."""
    widest_mask: float
    """Upper bound on that of a mask, in levels of 0 to 255.  Stretching a mask whose
    probabilities are all similar amplifies rounding without bound; a larger tolerance could hide a
    fault."""
    mask_mean_fraction: float
    """Tolerance of the mean difference of a mask, as a fraction of that of the largest."""
    mask_follows_logits: bool = True
    """Whether the tolerance of a mask is derived from that of its logits where that is smaller."""
    iou: float = 0.0
    """Smallest intersection over union at threshold 0.5."""
    remedy: str = "use --no-verify to write it anyway"


FLOAT32 = Tolerance(logits=1e-2, logits_mean=1e-3, widest_mask=16.0, mask_mean_fraction=0.03)
"""Two float32 programs that sum in different orders agree to 1e-5 in the encoders' maps; where the
decoder's attention is peaked, that grows to a few 1e-3.  Measured means were 1e-4 or less.  A wrong
operation shows as 1e-1.

In a mask, truncation turns a tiny difference into a whole level, but for few pixels: measured means
were 0.005 levels or less, and 0.06 with one MLP of DINOv2 missing."""
_MASK_RANGE = 255
_LIMITED = 0.999
"""Fraction of the values whose errors are limited."""
TOGETHER = 2
"""Batch size for artifacts with a dynamic batch: enough to test it, with little memory."""


@dataclass(frozen=True, slots=True)
class ReferenceCase:
    """An image with its reference logits and the tolerance for an artifact's output."""

    probe: Probe
    logits: NDArray[np.float32]
    """S×S."""
    reference: str = "PyTorch"
    """What computed the logits."""
    tolerance: Tolerance = FLOAT32


def verify(artifact: Path, cases: Sequence[ReferenceCase]) -> tuple[Verification, ...]:
    """Run an artifact with `dsunet_runtime` and compare it with the reference of each case.

    Raises VerificationError if a difference is outside the tolerance or the artifact does not run.
    """
    results = []
    try:
        with dsunet_runtime.load(artifact) as segmenter:
            for start in range(0, len(cases), TOGETHER):
                some = cases[start : start + TOGETHER]
                prepared = [segmenter.prepare(case.probe.image) for case in some]
                outputs = segmenter.infer(prepared)
                for case, ready, output in zip(some, prepared, outputs, strict=True):
                    if segmenter.manifest.input_form is InputForm.TENSORS:
                        result = compare_logits(case, output["logits"][0])
                    else:
                        mask = segmenter.finish(output, ready)
                        result = compare_masks(case, mask, segmenter.manifest.mask_form)
                    check(result, case.tolerance)
                    results.append(result)
    except RuntimeFault as fault:
        raise VerificationError(f"the artifact does not run: {fault}") from fault
    return tuple(results)


def check(result: Verification, tolerance: Tolerance) -> None:
    """Raise VerificationError if a comparison is outside the tolerance."""
    largest, mean, iou = result.max_abs_error, result.mean_abs_error, result.iou_at_half
    # Written so that NaN fails too.
    if (
        limited_error(result) <= result.tolerance
        and largest < np.inf
        and mean <= result.mean_tolerance
        and (iou is None or iou >= tolerance.iou)
    ):
        return
    overlap = "" if iou is None else f"{overlap_in_words(result)} (minimum {tolerance.iou})"
    raise VerificationError(
        f"the artifact does not compute what the model computes: on {result.inputs}, "
        f"{result.output} differs by up to {largest:.3g}, mean {mean:.2g} "
        f"{result.tolerance_unit} (tolerance {limits_in_words(result)}){overlap}; nothing was "
        f"written: {tolerance.remedy}"
    )


def limited_error(result: Verification) -> float:
    """The error that `result.tolerance` limits."""
    return result.max_abs_error if result.p999_abs_error is None else result.p999_abs_error


def limits_in_words(result: Verification) -> str:
    """Format the limits of the errors; that of single pixels only if it is less than the range."""
    mean = f"{result.mean_tolerance:.3g} for the mean"
    if result.output == "mask" and result.tolerance >= _MASK_RANGE:
        return mean
    part = "" if result.p999_abs_error is None else " for 99.9 %"
    return f"{result.tolerance:.3g}{part}, {mean}"


def overlap_in_words(result: Verification) -> str:
    """Format the intersection over union as the end of a line; empty if there is none."""
    return "" if result.iou_at_half is None else f", IoU at 0.5 {result.iou_at_half:.4f}"


def compare_logits(case: ReferenceCase, logits: NDArray[np.float32]) -> Verification:
    """Compare logits S×S with those of the reference."""
    errors = np.abs(logits - case.logits) / _standard_deviation(case.logits)
    return Verification(
        inputs=case.probe.label,
        output="logits",
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
        p999_abs_error=float(np.quantile(errors, _LIMITED)),
        tolerance=case.tolerance.logits,
        mean_tolerance=case.tolerance.logits_mean,
        tolerance_unit="standard deviations",
        computed_by=f"ONNX Runtime against {case.reference}",
    )


def compare_masks(case: ReferenceCase, mask: NDArray[np.uint8], form: MaskForm) -> Verification:
    """Compare a mask H×W with the one computed from the reference logits."""
    height, width, _ = case.probe.image.shape
    largest = _mask_tolerance(case.logits, form, case.tolerance)
    expected = mask_from_logits(case.logits, (height, width), form)
    errors = np.abs(mask.astype(np.int16) - expected)
    return Verification(
        inputs=case.probe.label,
        output="mask",
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
        p999_abs_error=float(np.quantile(errors, _LIMITED)),
        tolerance=largest,
        mean_tolerance=case.tolerance.mask_mean_fraction * largest,
        tolerance_unit="of 255 levels",
        computed_by=f"ONNX Runtime against {case.reference}",
    )


def _mask_tolerance(logits: NDArray[np.float32], form: MaskForm, tolerance: Tolerance) -> float:
    """One level for truncation, plus the tolerance of the logits converted to levels."""
    if not tolerance.mask_follows_logits:
        return tolerance.widest_mask
    levels = sigmoid(logits)
    steepest = float((levels * (1 - levels)).max())
    probability = steepest * tolerance.logits * _standard_deviation(logits)
    if form is MaskForm.STRETCHED:
        probability /= max(float(np.ptp(levels)), 1e-30)
    return min(1 + 255 * probability, tolerance.widest_mask)


def _standard_deviation(logits: NDArray[np.float32]) -> float:
    return max(float(logits.std()), 1e-6)
