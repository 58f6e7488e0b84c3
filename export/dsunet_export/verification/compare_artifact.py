"""Compare outputs with those of the reference, and check the differences against tolerances.

`compare_artifact` runs an artifact with `dsunet_runtime`, as its users do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_export.errors import VerificationError
from dsunet_export.probes import Probe
from dsunet_export.verification.measures import AbsoluteErrors
from dsunet_export.verification.tolerances import FLOAT32, Tolerance
from dsunet_runtime.artifact.manifest import InputForm, MaskForm, Verification
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.masks.mask_from_logits import mask_from_logits, sigmoid

_MASK_RANGE = 255
SMALLEST_DIVISOR = 1e-30
"""Lower bound of a divisor."""
BATCH_COMPARED = 2
"""Batch size for artifacts with a dynamic batch: enough to test it, with little memory."""


@dataclass(frozen=True, slots=True)
class ReferenceCase:
    """An image with its reference logits and the tolerance for an artifact's output."""

    probe: Probe
    logits: NDArray[np.float32]
    """S×S."""
    reference: str = "PyTorch"
    """Name of the program that computed the logits."""
    tolerance: Tolerance = FLOAT32
    remedy: str = "use --no-verify to write it anyway"
    """Advice for a difference outside the tolerance."""


def compare_artifact(artifact: Path, cases: Sequence[ReferenceCase]) -> tuple[Verification, ...]:
    """Run an artifact with `dsunet_runtime` and compare it with the reference of each case.

    Raises VerificationError if a difference is outside the tolerance or the artifact does not run.
    """
    results = []
    try:
        with dsunet_runtime.load(artifact) as segmenter:
            for start in range(0, len(cases), BATCH_COMPARED):
                some = cases[start : start + BATCH_COMPARED]
                prepared = [segmenter.prepare(case.probe.image) for case in some]
                outputs = segmenter.infer(prepared)
                for case, ready, output in zip(some, prepared, outputs, strict=True):
                    if segmenter.manifest.input_form is InputForm.TENSORS:
                        result = compare_logits(case, output["logits"][0])
                    else:
                        mask = segmenter.finish(output, ready)
                        result = compare_mask_with_reference(
                            case, mask, segmenter.manifest.mask_form
                        )
                    check_tolerance(result, case)
                    results.append(result)
    except RuntimeFault as fault:
        raise VerificationError(f"the artifact does not run: {fault}") from fault
    return tuple(results)


def check_tolerance(result: Verification, case: ReferenceCase) -> None:
    """Raise VerificationError if a comparison is outside the tolerance of its case."""
    if fraction_of_tolerance(result, case.tolerance.iou) <= 1:  # NaN is not
        return
    least = "" if result.iou is None else f" (IoU: at least {case.tolerance.iou})"
    raise VerificationError(
        "the artifact does not compute what the model computes: on "
        f"{comparison_in_words(result)}{least}; nothing was written: {case.remedy}"
    )


def fraction_of_tolerance(result: Verification, least_iou: float = 0.0) -> float:
    """Return the largest of the differences, each divided by what is allowed; above 1 is outside.

    NaN if a difference is NaN, and infinite if one is.
    """
    fractions = [
        limited_error(result) / max(result.tolerance, SMALLEST_DIVISOR),
        result.mean_abs_error / max(result.mean_tolerance, SMALLEST_DIVISOR),
    ]
    if result.iou is not None:
        fractions.append((1 - result.iou) / max(1 - least_iou, SMALLEST_DIVISOR))
    return float(np.max(fractions))


def comparison_in_words(result: Verification) -> str:
    """Describe a comparison."""
    iou = result.iou
    overlap = "" if iou is None else f", IoU at 0.5 {iou:.4f}"
    return (
        f"{result.inputs}: {result.output} differs by at most {result.max_abs_error:.3g} (mean "
        f"{result.mean_abs_error:.2g}) {result.tolerance_unit}, tolerance "
        f"{limits_in_words(result)}{overlap}; {result.computed_by}"
    )


def limited_error(result: Verification) -> float:
    """Return the error that `result.tolerance` limits."""
    return result.max_abs_error if result.p999_abs_error is None else result.p999_abs_error


def limits_in_words(result: Verification) -> str:
    """Format the limits of the errors; that of single pixels is left out if it allows any value."""
    mean = f"{result.mean_tolerance:.3g} for the mean"
    if result.output == "mask" and result.tolerance >= _MASK_RANGE:
        return mean
    part = "" if result.p999_abs_error is None else " for 99.9 %"
    return f"{result.tolerance:.3g}{part}, {mean}"


def compare_logits(case: ReferenceCase, logits: NDArray[np.float32]) -> Verification:
    """Compare logits S×S with those of the reference."""
    return Verification(
        inputs=case.probe.label,
        output="logits",
        **_fields(AbsoluteErrors.of(case.logits, logits, unit=_standard_deviation(case.logits))),
        tolerance=case.tolerance.logits,
        mean_tolerance=case.tolerance.logits_mean,
        tolerance_unit="standard deviations",
        computed_by=f"ONNX Runtime against {case.reference}",
    )


def compare_mask_with_reference(
    case: ReferenceCase, mask: NDArray[np.uint8], form: MaskForm
) -> Verification:
    """Compare a mask H×W with the one computed from the reference logits."""
    height, width, _ = case.probe.image.shape
    largest = _mask_tolerance(case.logits, form, case.tolerance)
    return Verification(
        inputs=case.probe.label,
        output="mask",
        **_fields(AbsoluteErrors.of(mask_from_logits(case.logits, (height, width), form), mask)),
        tolerance=largest,
        mean_tolerance=case.tolerance.mask_mean_fraction * largest,
        tolerance_unit="of 255 levels",
        computed_by=f"ONNX Runtime against {case.reference}",
    )


def _fields(errors: AbsoluteErrors) -> dict[str, Any]:
    return {f"{name}_abs_error": value for name, value in dataclasses.asdict(errors).items()}


def _mask_tolerance(logits: NDArray[np.float32], form: MaskForm, tolerance: Tolerance) -> float:
    """Convert the tolerance of the logits to levels, and add one level for truncation."""
    if not tolerance.mask_follows_logits:
        return tolerance.widest_mask
    levels = sigmoid(logits)
    steepest = float((levels * (1 - levels)).max())
    probability = steepest * tolerance.logits * _standard_deviation(logits)
    if form is MaskForm.STRETCHED:
        probability /= max(float(np.ptp(levels)), SMALLEST_DIVISOR)
    return min(1 + 255 * probability, tolerance.widest_mask)


def _standard_deviation(logits: NDArray[np.float32]) -> float:
    return max(float(logits.std()), 1e-6)
