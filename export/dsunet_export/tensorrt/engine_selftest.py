"""The self-test of an engine, also for frame sizes for which the graph has no references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dsunet_runtime
from dsunet_runtime import BackendError
from dsunet_runtime.artifact.manifest import InputForm, Manifest, OptimizationProfile, SelfTestCase
from dsunet_runtime.artifact.shapes import batch_range
from dsunet_runtime.selftest.coarse import case_of
from dsunet_runtime.selftest.comparison import coarse_output
from dsunet_runtime.selftest.pictures import picture

_NUMBERS = (0, 1)
"""The pictures: two, for a batch."""


def engine_selftest(
    onnx: Path, manifest: Manifest, profiles: Sequence[OptimizationProfile]
) -> tuple[SelfTestCase, ...]:
    """Return the references of an engine with these profiles.

    Args:
        onnx: The graph that the user named, which its export compared with PyTorch.
        manifest: The manifest of the graph that the engine is built from, which may be converted.
        profiles: The profiles of the engine.

    Returns:
        The manifest's own references if the engine takes frames of one of their sizes.  Otherwise
        those that ONNX Runtime computes from `onnx` at the optimum, with the largest of the
        manifest's tolerances; none if it is not installed or cannot run the graph (bfloat16).
    """
    own = manifest.selftest
    if manifest.input_form is InputForm.TENSORS or not own:
        return own
    (profile,) = profiles
    if any(_is_within(case, profile) for case in own):
        return own
    height, width = profile.optimum[1:3]
    try:
        return _compute(onnx, own, height, width)
    except BackendError:
        return ()


def _is_within(case: SelfTestCase, profile: OptimizationProfile) -> bool:
    low, high = profile.minimum[1:3], profile.maximum[1:3]
    return low[0] <= case.height <= high[0] and low[1] <= case.width <= high[1]


def _compute(
    onnx: Path, cases: Sequence[SelfTestCase], height: int, width: int
) -> tuple[SelfTestCase, ...]:
    tolerances = (
        max(case.blocks_tolerance for case in cases),
        max(case.points_tolerance for case in cases),
    )
    made = []
    with dsunet_runtime.load(onnx, provider="cpu", selftest="never") as segmenter:
        for number in _NUMBERS:
            ready = segmenter.prepare(picture(number, height, width))
            output = segmenter.infer([ready] * batch_range(segmenter.manifest).minimum)[0]
            found = coarse_output(segmenter.manifest.input_form, output)
            made.append(case_of(number, (height, width), found, *tolerances))
    return tuple(made)
