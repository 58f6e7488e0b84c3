"""Whether an artifact computes what the model computes.

The artifact goes the way its users take: through `dsunet_runtime`.
"""

from __future__ import annotations

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
    """How far an artifact may be from the reference."""

    logits: float
    """Largest difference of a logit, as a share of the logits' standard deviation."""
    logits_mean: float
    """The same for the mean difference."""
    widest_mask: float
    """Largest difference of a mask, in levels of 255.  A stretched mask whose probabilities all lie
    close together magnifies rounding without bound; beyond this it could hide a fault, so it is not
    let through."""
    mask_mean_share: float
    """Mean difference of a mask, as a share of the largest allowed."""
    iou_at_half: float = 0.0
    """Smallest intersection over union."""
    remedy: str = "--no-verify writes it all the same"


FLOAT32 = Tolerance(logits=1e-2, logits_mean=1e-3, widest_mask=16.0, mask_mean_share=0.03)
"""Two float32 programs that sum in different orders agree to 1e-5 in the encoders' maps, and where
the decoder's attention is peaked that grows to a few 1e-3; found were means of 1e-4 and less.  A
wrong operation shows as 1e-1.

In a mask, a truncated value that turns the other way is off by a whole level, but few do: found
were means of 0.005 levels and less, and 0.06 where one MLP of DINOv2 was missing."""


def verify(
    artifact: Path,
    probes: list[Probe],
    references: list[NDArray[np.float32]],
    tolerance: Tolerance = FLOAT32,
) -> tuple[Verification, ...]:
    """Compare an artifact, run as users run it, with the references.

    Raises VerificationError beyond tolerance, or if the artifact does not run.
    """
    results = []
    try:
        with dsunet_runtime.load(artifact) as segmenter:
            prepared = [segmenter.prepare(probe.image) for probe in probes]
            outputs = segmenter.infer(prepared)
            for probe, reference, ready, output in zip(
                probes, references, prepared, outputs, strict=True
            ):
                if segmenter.manifest.input_form is InputForm.TENSORS:
                    logits = output["logits"][0]
                    results.append(compare_logits(probe, reference, logits, tolerance))
                else:
                    mask, form = segmenter.finish(output, ready), segmenter.manifest.mask_form
                    results.append(compare_masks(probe, reference, mask, form, tolerance))
    except RuntimeFault as fault:
        raise VerificationError(f"the artifact does not run: {fault}") from fault
    check(results, tolerance)
    return tuple(results)


def check(results: list[Verification], tolerance: Tolerance) -> None:
    """Raise VerificationError for the first comparison that is beyond tolerance."""
    for result in results:
        largest, mean, iou = result.max_abs_error, result.mean_abs_error, result.iou_at_half
        # Written so that NaN fails too.
        if (
            largest <= result.tolerance
            and mean <= result.mean_tolerance
            and (iou is None or iou >= tolerance.iou_at_half)
        ):
            continue
        overlap = (
            "" if iou is None else f"; IoU at half {iou:.4f}, at least {tolerance.iou_at_half}"
        )
        raise VerificationError(
            f"the artifact does not compute what the model computes: on {result.inputs}, "
            f"{result.output} differs by up to {largest:.3g}, mean {mean:.2g} "
            f"{result.tolerance_unit}, where {result.tolerance:.3g}, mean "
            f"{result.mean_tolerance:.2g} is allowed{overlap}; nothing was written "
            f"({tolerance.remedy})"
        )


def compare_logits(
    probe: Probe,
    reference: NDArray[np.float32],
    logits: NDArray[np.float32],
    tolerance: Tolerance,
) -> Verification:
    """Two maps of logits, S×S each."""
    errors = np.abs(logits - reference) / _spread(reference)
    return Verification(
        inputs=probe.label,
        output="logits",
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
        tolerance=tolerance.logits,
        mean_tolerance=tolerance.logits_mean,
        tolerance_unit="standard deviations",
    )


def compare_masks(
    probe: Probe,
    reference: NDArray[np.float32],
    mask: NDArray[np.uint8],
    form: MaskForm,
    tolerance: Tolerance,
) -> Verification:
    """A mask H×W with the one that the reference's logits S×S make."""
    height, width, _ = probe.image.shape
    largest = _mask_tolerance(reference, form, tolerance)
    expected = mask_from_logits(reference, (height, width), form)
    errors = np.abs(mask.astype(np.int16) - expected)
    return Verification(
        inputs=probe.label,
        output="mask",
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
        tolerance=largest,
        mean_tolerance=tolerance.mask_mean_share * largest,
        tolerance_unit="of 255 levels",
    )


def _mask_tolerance(logits: NDArray[np.float32], form: MaskForm, tolerance: Tolerance) -> float:
    """One level, for truncation, plus what the tolerance of the logits is worth in levels."""
    levels = sigmoid(logits)
    steepest = float((levels * (1 - levels)).max())
    probability = steepest * tolerance.logits * _spread(logits)
    if form is MaskForm.STRETCHED:
        probability /= max(float(np.ptp(levels)), 1e-30)
    return min(1 + 255 * probability, tolerance.widest_mask)


def _spread(logits: NDArray[np.float32]) -> float:
    return max(float(logits.std()), 1e-6)
