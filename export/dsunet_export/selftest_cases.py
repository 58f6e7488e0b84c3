"""The self-test of an artifact: what the model computes in PyTorch, and how far it may be off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import dsunet_runtime
from dsunet.model import DSUNet
from dsunet_export.options import ExportOptions
from dsunet_export.probes import Probe
from dsunet_export.reference import compute_reference
from dsunet_export.tolerances import (
    SELFTEST_FLOAT32_LEVELS,
    SELFTEST_MARGIN,
    SELFTEST_POINTS,
    tolerance_for,
)
from dsunet_runtime.compute import Compute
from dsunet_runtime.manifest import InputForm, Manifest, SelfTestCase
from dsunet_runtime.masks import mask_from_logits
from dsunet_runtime.selftest.coarse import Coarse, case_of
from dsunet_runtime.selftest.comparison import Comparison, batches, run_selftest
from dsunet_runtime.selftest.pictures import picture

_SIZES = ((120, 160), (120, 160), (211, 97))
"""Height and width of each picture where frames may have any: two of one size, for a batch.  In the
tensors form only these two, since the encoders' sizes are fixed."""
_SMALLEST = 1e-6
"""Lower bound of the deviation of logits."""


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


def with_tolerances(manifest: Manifest) -> Manifest:
    """Set the tolerances of a manifest's self-test by its precision."""
    cases = tuple(_by_precision(case, manifest) for case in manifest.selftest)
    return replace(manifest, selftest=cases)


def _by_precision(case: SelfTestCase, manifest: Manifest) -> SelfTestCase:
    is_float32 = manifest.precision.element_type == Compute.FP32.element_type
    tolerance = tolerance_for(manifest)
    if manifest.input_form is InputForm.TENSORS:
        blocks = tolerance.logits_mean * max(float(np.std(case.points)), _SMALLEST)
    else:
        blocks = SELFTEST_FLOAT32_LEVELS if is_float32 else 255 * tolerance.mask_mean_fraction
    return replace(case, blocks_tolerance=blocks, points_tolerance=SELFTEST_POINTS * blocks)


def with_measured_tolerances(artifact: Path, manifest: Manifest) -> Manifest:
    """Widen the tolerances where the artifact itself, run on this CPU, is farther off.

    Whether it is good enough is for the verification to say; the self-test compares machines.
    """
    if not manifest.selftest:  # of an earlier version
        return manifest
    with dsunet_runtime.load(artifact) as segmenter:
        found = run_selftest(segmenter, batches(manifest)[:1])
    cases = tuple(
        _widened(case, [one for one in found if one.case == case]) for case in manifest.selftest
    )
    return replace(manifest, selftest=cases)


def _widened(case: SelfTestCase, found: Sequence[Comparison]) -> SelfTestCase:
    factor = max(1.0, *(SELFTEST_MARGIN * one.excess for one in found))
    return replace(
        case,
        blocks_tolerance=factor * case.blocks_tolerance,
        points_tolerance=factor * case.points_tolerance,
    )
