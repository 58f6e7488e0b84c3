"""Whether a graph of reduced precision computes what the model computes.

Twice: with every tensor really rounded, which is how a GPU computes and what overflow shows in; and
as users run it, where ONNX Runtime knows how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.errors import VerificationError
from dsunet_export.options import Compute
from dsunet_export.precision.narrowing import DATA_TYPES
from dsunet_export.precision.rounding import round_every_tensor
from dsunet_export.precision.running import compute_logits
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.verify import (
    FLOAT32,
    Tolerance,
    check,
    compare_logits,
    compare_masks,
    verify,
)
from dsunet_runtime.backends import Tensors
from dsunet_runtime.manifest import InputForm, Manifest, Verification
from dsunet_runtime.masks import mask_from_logits

REDUCED = Tolerance(
    logits=3.0,
    logits_mean=0.2,
    widest_mask=255.0,
    mask_mean_share=0.05,
    iou_at_half=0.8,
    remedy="keep more of it in float32 with `dsunet-export onnx --keep-fp32 PATTERN`, or take its "
    "--precision bf16 if numbers become too large; its --no-verify writes it all the same",
)
"""For float16 and bfloat16 alike: what a mask may lose does not depend on what loses it.

Random weights, whose attention is peaked, magnify rounding.  Found in float16, on random pixels and
on a photograph: means of 0.003 to 0.09 and IoUs of 0.998 to 0.93, from `nano` to `large`; in
bfloat16 up to 0.15 and 0.89.  A single logit may be far off, where attention turns to another
place.  Maps that have nothing to do with each other differ by 1.1 on average, and by chance halves
overlap by a third.  What this cannot see, such as one wrong weight, the float32 graph has been
judged by."""
FEWEST = 0.01
"""Share of the logits that must lie on either side of zero for half to be a fair place to cut: of
masks that are empty but for a few pixels the IoU says nothing."""


def verify_before(
    probes: Sequence[Probe],
    references: Sequence[NDArray[np.float32]],
    logits: Sequence[NDArray[np.float32]],
) -> tuple[Verification, ...]:
    """Compare what the graph gave before its conversion, S×S each, with the references.

    By the tolerance for float32: what rounding hides later, such as a wrong weight, shows here.
    Raises VerificationError beyond it.
    """
    results = [
        replace(
            compare_logits(probe, reference, found, FLOAT32),
            computed_by="ONNX Runtime, before the conversion",
        )
        for probe, reference, found in zip(probes, references, logits, strict=True)
    ]
    check(results, FLOAT32)
    return tuple(results)


def verify_reduced(
    artifact: Path,
    manifest: Manifest,
    probes: list[Probe],
    references: list[NDArray[np.float32]],
    folder: Path,
) -> tuple[Verification, ...]:
    """Compare an artifact with the model's logits S×S for each probe.

    Raises VerificationError beyond tolerance, or if something is not finite.
    """
    (compute,) = (c for c in Compute if c.element_type == manifest.precision.compute)
    model = ir.load(artifact)
    round_every_tensor(model, DATA_TYPES[compute])
    inputs = GraphInputs.of(manifest)
    outputs = compute_logits(model, [inputs.prepare(probe) for probe in probes], folder)
    del model
    results = []
    for probe, reference, output in zip(probes, references, outputs, strict=True):
        results += _compare(probe, reference, output, manifest)
    how = f"ONNX Runtime, every tensor rounded to {compute.element_type}"
    results = [replace(result, computed_by=how) for result in results]
    check(results, REDUCED)
    if compute is Compute.FP16:
        results += verify(artifact, probes, references, REDUCED)
    return tuple(results)


def _compare(
    probe: Probe,
    reference: NDArray[np.float32],
    output: Tensors,
    manifest: Manifest,
) -> list[Verification]:
    logits = output["logits"][0, 0]
    if not np.isfinite(logits).all():
        raise VerificationError(
            f"in {manifest.precision.compute} the network gives values that are not finite on "
            f"{probe.label}; nothing was written ({REDUCED.remedy})"
        )
    if manifest.input_form is InputForm.FRAMES:
        mask = output["mask"][0]
    else:
        mask = mask_from_logits(logits, probe.image.shape[:2], manifest.mask_form)
    return [
        replace(
            compare_logits(probe, reference, logits, REDUCED),
            iou_at_half=iou_at_half(reference, logits),
        ),
        compare_masks(probe, reference, mask, manifest.mask_form, REDUCED),
    ]


def iou_at_half(reference: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    """Intersection over union of the pixels above probability a half, of two maps of logits.

    Where fewer than `FEWEST` of the reference's lie on one side, as with weights that nobody
    trained or without an object in the image, the reference's median takes the place of a half.
    """
    share = float((reference > 0).mean())
    threshold = 0.0 if FEWEST <= share <= 1 - FEWEST else float(np.median(reference))
    expected, found = reference > threshold, logits > threshold
    union = np.count_nonzero(expected | found)
    return float(np.count_nonzero(expected & found) / union) if union else 1.0
