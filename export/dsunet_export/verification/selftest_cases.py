"""References and tolerances of an artifact's self-test.  PyTorch computes the references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dsunet.network.model import DSUNet
from dsunet_export.options import ExportOptions
from dsunet_export.probes import Probe
from dsunet_export.verification.reference import compute_reference
from dsunet_export.verification.tolerances import (
    FLOAT32,
    SELFTEST_CONTRAST,
    SELFTEST_FEWEST_LEVELS,
    SELFTEST_LEVELS,
    SELFTEST_MARGIN,
    SELFTEST_MARGIN_8_BITS,
    SELFTEST_POINTS,
    tolerance_for,
)
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import InputForm, Manifest, SelfTestCase
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.masks.mask_from_logits import mask_from_logits
from dsunet_runtime.selftest.coarse import Coarse, case_of
from dsunet_runtime.selftest.comparison import Comparison, coarse_output
from dsunet_runtime.selftest.pictures import picture

_SIZES = ((120, 160), (120, 160), (211, 97))
"""Height and width of each picture where frames may have any: two of one size, for a batch.  In the
tensors form only these two, since the encoders' sizes are fixed."""
_SMALLEST = 1e-6
"""Lower bound of the standard deviation of logits."""


def make_selftest(model: DSUNet, options: ExportOptions) -> tuple[SelfTestCase, ...]:
    """Compute the outputs of a model for each picture, without tolerances."""
    cases = []
    is_frames = options.input_form is InputForm.FRAMES
    for number, any_size in enumerate(_SIZES if is_frames else _SIZES[:2]):
        height, width = options.size or any_size
        probe = Probe(f"picture {number}", picture(number, height, width))
        output = compute_reference(model, probe)
        if is_frames:
            mask = mask_from_logits(output, (height, width), options.mask_form)
            coarse = Coarse.of(mask)
        else:
            coarse = Coarse.of(output)
        cases.append(case_of(number, (height, width), coarse))
    return tuple(cases)


def selftest_probes(manifest: Manifest) -> list[Probe]:
    """Draw the pictures of a manifest's self-test."""
    return [
        Probe(f"picture {case.picture}", picture(case.picture, case.height, case.width))
        for case in manifest.selftest
    ]


def with_tolerances(manifest: Manifest) -> Manifest:
    """Set the tolerances of a manifest's self-test by its precision."""
    tolerance = tolerance_for(manifest)
    is_float32 = manifest.precision.element_type == Compute.FP32.element_type

    def allowed(case: SelfTestCase) -> float:
        if not _has_levels(manifest):
            return tolerance.logits_mean * _std(case)
        return _least_levels(case) if is_float32 else 255 * tolerance.mask_mean_fraction

    cases = tuple(_with_blocks(case, allowed(case)) for case in manifest.selftest)
    return replace(manifest, selftest=cases)


def with_measured_tolerances(manifest: Manifest, outputs: Sequence[Tensors]) -> Manifest:
    """Set the tolerances by the errors of the artifact itself on the pictures.

    `outputs` are those of the graph for each of `selftest_probes`, with its rounding.  They are not
    verified here: the self-test compares machines, not artifacts.
    """
    margin = SELFTEST_MARGIN_8_BITS if manifest.precision.quantized else SELFTEST_MARGIN
    cases = []
    for case, output in zip(manifest.selftest, outputs, strict=True):
        first = {name: value[0] for name, value in output.items()}
        found = Comparison.of(case, coarse_output(manifest.input_form, first))
        has_levels = _has_levels(manifest)
        least = _least_levels(case) if has_levels else FLOAT32.logits_mean * _std(case)
        larger = max(found.blocks, found.points / SELFTEST_POINTS)
        cases.append(_with_blocks(case, max(least, margin * larger)))
    return replace(manifest, selftest=tuple(cases))


def _has_levels(manifest: Manifest) -> bool:
    return manifest.input_form is InputForm.FRAMES


def _least_levels(case: SelfTestCase) -> float:
    """Return the difference of the block means of a mask that is allowed in any precision."""
    fraction = min(1.0, _contrast(case) / SELFTEST_CONTRAST)
    return max(SELFTEST_LEVELS * fraction, SELFTEST_FEWEST_LEVELS)


def _contrast(case: SelfTestCase) -> float:
    return max(case.points) - min(case.points)


def _std(case: SelfTestCase) -> float:
    """Return the standard deviation of logits."""
    return max(float(np.std(case.points)), _SMALLEST)


def _with_blocks(case: SelfTestCase, tolerance: float) -> SelfTestCase:
    return replace(case, blocks_tolerance=tolerance, points_tolerance=SELFTEST_POINTS * tolerance)
