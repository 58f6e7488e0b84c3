"""Whether an artifact computes what the model computes: ONNX Runtime against PyTorch.

The reference goes the way of the paper's published code: Pillow resamples, the plain model computes
in PyTorch, NumPy makes the mask.  The artifact goes the way its users take: through
`dsunet_runtime`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import dsunet_runtime
from dsunet.model import DSUNet
from dsunet_export.errors import VerificationError
from dsunet_runtime.images import encoder_input
from dsunet_runtime.manifest import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputForm,
    Manifest,
    MaskForm,
    Verification,
)
from dsunet_runtime.masks import mask_from_logits, sigmoid

LOGITS_TOLERANCE = 1e-2
"""Largest difference of a logit, as a share of the logits' standard deviation.

Two float32 programs that sum in different orders agree to 1e-5 in the encoders' maps, and where
the decoder's attention is peaked that grows to a few 1e-3.  A wrong operation shows as 1e-1."""
LOGITS_MEAN_TOLERANCE = 1e-3
"""The same for the mean difference; found were 1e-4 and less."""
MASK_MEAN_SHARE = 0.03
"""Mean difference of a mask's levels, as a share of the largest allowed.  A truncated value that
turns the other way is off by a whole level, but few do: found were 0.005 levels and less, and 0.06
where one MLP of DINOv2 was missing."""

WIDEST_MASK_TOLERANCE = 16.0
"""Levels of 255.  A stretched mask whose probabilities all lie close together magnifies rounding
without bound; beyond this it could hide a fault, so it is not let through."""


@dataclass(frozen=True, slots=True)
class Probe:
    """An image to compare on: uint8 H×W×3 RGB."""

    label: str
    image: NDArray[np.uint8]


def make_probes(size: tuple[int, int] | None) -> list[Probe]:
    """Random pixels and a photograph, both of the given height and width, or of the photograph's.

    One size, so that an artifact that takes any number of images takes these two at once.
    """
    with resources.files("dsunet_export").joinpath("data/chelsea.jpg").open("rb") as file:
        photograph = Image.open(file).convert("RGB")
    height, width = size or (photograph.height, photograph.width)
    photograph = photograph.resize((width, height))
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return [
        Probe(f"random {width}×{height}", noise),
        Probe(f"photograph {width}×{height}", np.asarray(photograph)),
    ]


def compute_reference(model: DSUNet, probe: Probe) -> NDArray[np.float32]:
    """The plain model's fine logits, S×S.  Raises VerificationError if they are not numbers."""
    inputs = [_encoder_input(probe.image, side) for side in model.config.input_sizes.values()]
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(*inputs).fine[0, 0].numpy()
    if not np.isfinite(logits).all():
        raise VerificationError(
            f"the model itself gives values that are not finite on {probe.label}: check the "
            "checkpoint, nothing was exported"
        )
    return logits


def verify(
    artifact: Path, probes: list[Probe], references: list[NDArray[np.float32]]
) -> tuple[Verification, ...]:
    """Compare an artifact with the references; raises VerificationError beyond tolerance."""
    results = []
    with dsunet_runtime.load(artifact) as segmenter:
        prepared = [segmenter.prepare(probe.image) for probe in probes]
        outputs = segmenter.infer(prepared)
        for probe, reference, ready, output in zip(
            probes, references, prepared, outputs, strict=True
        ):
            if segmenter.manifest.input_form is InputForm.TENSORS:
                result = _compare_logits(probe, reference, output["logits"][0])
            else:
                mask = segmenter.finish(output, ready)
                result = _compare_masks(probe, reference, mask, segmenter.manifest)
            results.append(result)
    for result in results:
        largest, mean = result.max_abs_error, result.mean_abs_error
        # Written so that NaN fails too.
        if not (largest <= result.tolerance and mean <= result.mean_tolerance):
            raise VerificationError(
                f"the artifact does not compute what the model computes: on {result.inputs}, "
                f"{result.output} differs by up to {largest:.3g}, mean {mean:.2g} "
                f"{result.tolerance_unit}, where {result.tolerance:.3g}, mean "
                f"{result.mean_tolerance:.2g} is allowed; nothing was written (--no-verify writes "
                "it all the same)"
            )
    return tuple(results)


def _compare_logits(
    probe: Probe, reference: NDArray[np.float32], logits: NDArray[np.float32]
) -> Verification:
    errors = np.abs(logits - reference) / _spread(reference)
    return Verification(
        inputs=probe.label,
        output="logits",
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
        tolerance=LOGITS_TOLERANCE,
        mean_tolerance=LOGITS_MEAN_TOLERANCE,
        tolerance_unit="standard deviations",
    )


def _compare_masks(
    probe: Probe, reference: NDArray[np.float32], mask: NDArray[np.uint8], manifest: Manifest
) -> Verification:
    height, width, _ = probe.image.shape
    tolerance = _mask_tolerance(reference, manifest.mask_form)
    expected = mask_from_logits(reference, (height, width), manifest.mask_form)
    errors = np.abs(mask.astype(np.int16) - expected)
    return Verification(
        inputs=probe.label,
        output="mask",
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
        tolerance=tolerance,
        mean_tolerance=MASK_MEAN_SHARE * tolerance,
        tolerance_unit="of 255 levels",
    )


def _mask_tolerance(logits: NDArray[np.float32], form: MaskForm) -> float:
    """One level, for truncation, plus what the tolerance of the logits is worth in levels."""
    levels = sigmoid(logits)
    steepest = float((levels * (1 - levels)).max())
    probability = steepest * LOGITS_TOLERANCE * _spread(logits)
    if form is MaskForm.STRETCHED:
        probability /= max(float(np.ptp(levels)), 1e-30)
    return min(1 + 255 * probability, WIDEST_MASK_TOLERANCE)


def _spread(logits: NDArray[np.float32]) -> float:
    return max(float(logits.std()), 1e-6)


def _encoder_input(image: NDArray[np.uint8], side: int) -> torch.Tensor:
    values = encoder_input(image, side, IMAGENET_MEAN, IMAGENET_STD)
    return torch.from_numpy(values).unsqueeze(0)
