"""Whether an artifact computes what the model computes.

The artifact goes the way its users take: through `dsunet_runtime`.
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
    mask_follows_logits: bool = True
    """Whether less is allowed of a mask where the tolerance of its logits is worth less."""
    iou_at_half: float = 0.0
    """Smallest intersection over union."""
    remedy: str = "--no-verify writes it all the same"


FLOAT32 = Tolerance(logits=1e-2, logits_mean=1e-3, widest_mask=16.0, mask_mean_share=0.03)
"""Two float32 programs that sum in different orders agree to 1e-5 in the encoders' maps, and where
the decoder's attention is peaked that grows to a few 1e-3; found were means of 1e-4 and less.  A
wrong operation shows as 1e-1.

In a mask, a truncated value that turns the other way is off by a whole level, but few do: found
were means of 0.005 levels and less, and 0.06 where one MLP of DINOv2 was missing."""
TOGETHER = 2
"""Images that go into an artifact at once, where it takes any number: enough to see that it does,
and no more memory than that."""


@dataclass(frozen=True, slots=True)
class Case:
    """An image, the logits that an artifact should give for it, and how far off it may be."""

    probe: Probe
    logits: NDArray[np.float32]
    """S×S."""
    reference: str = "PyTorch"
    """What computed them."""
    tolerance: Tolerance = FLOAT32


def verify(artifact: Path, cases: Sequence[Case]) -> tuple[Verification, ...]:
    """Compare an artifact, run as users run it, with what it should give.

    Raises VerificationError beyond tolerance, or if the artifact does not run.
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
    """Raise VerificationError for a comparison that is beyond tolerance."""
    largest, mean, iou = result.max_abs_error, result.mean_abs_error, result.iou_at_half
    # Written so that NaN fails too.
    if (
        largest <= result.tolerance
        and mean <= result.mean_tolerance
        and (iou is None or iou >= tolerance.iou_at_half)
    ):
        return
    overlap = "" if iou is None else f"{overlap_in_words(result)}, at least {tolerance.iou_at_half}"
    raise VerificationError(
        f"the artifact does not compute what the model computes: on {result.inputs}, "
        f"{result.output} differs by up to {largest:.3g}, mean {mean:.2g} "
        f"{result.tolerance_unit}, where {result.tolerance:.3g}, mean "
        f"{result.mean_tolerance:.3g} is allowed{overlap}; nothing was written "
        f"({tolerance.remedy})"
    )


def overlap_in_words(result: Verification) -> str:
    """The intersection over union, to follow other numbers; nothing where there is none."""
    return "" if result.iou_at_half is None else f", IoU at half {result.iou_at_half:.4f}"


def compare_logits(case: Case, logits: NDArray[np.float32]) -> Verification:
    """A map of logits S×S with the reference's."""
    errors = np.abs(logits - case.logits) / _spread(case.logits)
    return Verification(
        inputs=case.probe.label,
        output="logits",
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
        tolerance=case.tolerance.logits,
        mean_tolerance=case.tolerance.logits_mean,
        tolerance_unit="standard deviations",
        computed_by=f"ONNX Runtime against {case.reference}",
    )


def compare_masks(case: Case, mask: NDArray[np.uint8], form: MaskForm) -> Verification:
    """A mask H×W with the one that the reference's logits make."""
    height, width, _ = case.probe.image.shape
    largest = _mask_tolerance(case.logits, form, case.tolerance)
    expected = mask_from_logits(case.logits, (height, width), form)
    errors = np.abs(mask.astype(np.int16) - expected)
    return Verification(
        inputs=case.probe.label,
        output="mask",
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
        tolerance=largest,
        mean_tolerance=case.tolerance.mask_mean_share * largest,
        tolerance_unit="of 255 levels",
        computed_by=f"ONNX Runtime against {case.reference}",
    )


def _mask_tolerance(logits: NDArray[np.float32], form: MaskForm, tolerance: Tolerance) -> float:
    """One level, for truncation, plus what the tolerance of the logits is worth in levels."""
    if not tolerance.mask_follows_logits:
        return tolerance.widest_mask
    levels = sigmoid(logits)
    steepest = float((levels * (1 - levels)).max())
    probability = steepest * tolerance.logits * _spread(logits)
    if form is MaskForm.STRETCHED:
        probability /= max(float(np.ptp(levels)), 1e-30)
    return min(1 + 255 * probability, tolerance.widest_mask)


def _spread(logits: NDArray[np.float32]) -> float:
    return max(float(logits.std()), 1e-6)
