"""Comparison of the outputs on this machine with the references in the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Self

import numpy as np

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import InputForm, Manifest, SelfTestCase
from dsunet_runtime.artifact.shapes import batch_range
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.errors import ArtifactError, ImageError, SelfTestError
from dsunet_runtime.forms import Prepared
from dsunet_runtime.provider import Provider
from dsunet_runtime.segmenter import Segmenter
from dsunet_runtime.selftest.coarse import Coarse
from dsunet_runtime.selftest.pictures import picture

_SEVERAL = 2
"""The batch above 1 that is tested if the batch is dynamic."""

_BATCH_1 = (
    "batch 1 is right: export or build it again with --batch 1, or run it with --batch 1 "
    "--selftest never"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The output for one picture at one index of a batch, compared with its reference."""

    case: SelfTestCase
    blocks: float
    """Mean absolute difference of the block means, in the unit of the output."""
    points: float
    """Mean absolute difference at the points."""
    batch: int = 1
    place: int = 0
    """Index in the batch."""

    @classmethod
    def of(cls, case: SelfTestCase, found: Coarse, batch: int = 1, place: int = 0) -> Self:
        """Compare a reduced output with its reference."""
        blocks = float(np.abs(found.blocks - case.blocks).mean())
        points = float(np.abs(found.points - case.points).mean())
        return cls(case, blocks, points, batch, place)

    @property
    def excess(self) -> float:
        """The larger difference divided by its tolerance; infinite if it is not finite."""
        larger = max(
            self.blocks / self.case.blocks_tolerance, self.points / self.case.points_tolerance
        )
        return larger if np.isfinite(larger) else float("inf")

    @property
    def in_words(self) -> str:
        """The differences and their tolerances."""
        return (
            f"block means differ by {self.blocks:.3g} (tolerance "
            f"{self.case.blocks_tolerance:.3g}), points by {self.points:.3g} "
            f"({self.case.points_tolerance:.3g})"
        )

    @property
    def passed(self) -> bool:
        """Whether both differences are within their tolerances."""
        return self.excess <= 1


def run_selftest(segmenter: Segmenter, at: Sequence[int] | None = None) -> list[Comparison]:
    """Compare the outputs for the pictures in the manifest, at the given batches or `batches`.

    Raises ArtifactError if the manifest has no reference for a size that the artifact supports, and
    BackendError if the computation fails.
    """
    if not segmenter.manifest.selftest:
        raise ArtifactError(
            "the artifact has no self-test: an earlier version wrote it, or `dsunet-export trt` "
            "could not compute one for its frame sizes: export it again, with the same --size"
        )
    groups = _supported_cases(segmenter)
    if not groups:
        raise ArtifactError(
            "the artifact takes none of the sizes of its self-test: export again with the same "
            "--size"
        )
    return [
        comparison
        for batch in at or batches(segmenter.manifest)
        for cases, prepared in groups
        for comparison in _compare(segmenter, cases, prepared, batch)
    ]


def check_passed(
    comparisons: Sequence[Comparison], manifest: Manifest, provider: Provider | None
) -> None:
    """Raise SelfTestError if a comparison is outside its tolerance.

    The message has the worst one and a remedy.

    Args:
        comparisons: The result of `run_selftest`.
        manifest: Description of the artifact.
        provider: The provider that computed the outputs; None for an engine.
    """
    worst = max(comparisons, key=lambda one: one.excess)
    if worst.passed:
        return
    failed = sum(not one.passed for one in comparisons)
    ones = [one for one in comparisons if one.batch == 1]
    only_batches = bool(ones) and all(one.passed for one in ones)
    remedy = _BATCH_1 if only_batches else _remedy(manifest, provider)
    raise SelfTestError(
        f"this machine does not compute what the artifact was exported to: {failed} of "
        f"{len(comparisons)} comparisons are outside the tolerance, the worst is the "
        f"{manifest.outputs[0].name} at batch {worst.batch}, place {worst.place}, "
        f"picture {worst.case.picture} of "
        f"{worst.case.width}×{worst.case.height}: {worst.in_words}; {remedy}"
    )


def _remedy(manifest: Manifest, provider: Provider | None) -> str:
    """Return what avoids the known faults of fused attention on GPUs (see docs/export.md)."""
    if provider is not None and not provider.on_gpu:
        return (
            "try another provider or version of the library, or export it again, with another "
            "--precision"
        )
    others = f"try another {'' if provider is None else 'provider, '}driver or library version"
    if manifest.has_unfused_attention or manifest.has_float32_scores:
        return others
    form = "unfused" if Compute.of(manifest.precision.compute) is Compute.FP32 else "float32"
    again = "build" if manifest.engine and manifest.precision.quantized else "export"
    return f"{again} it again with --attention {form}, which avoids fused attention, or {others}"


def batches(manifest: Manifest) -> list[int]:
    """Return the batches to test: of the smallest, 1, 2 and the largest, those in the range."""
    supported = batch_range(manifest)
    candidates = {supported.minimum, 1, _SEVERAL, supported.maximum or _SEVERAL}
    return sorted(batch for batch in candidates if batch in supported)


def _supported_cases(segmenter: Segmenter) -> list[tuple[list[SelfTestCase], list[Prepared]]]:
    """Return cases and inputs, by size, for the sizes that the artifact supports."""
    by_size: dict[tuple[int, int], list[SelfTestCase]] = {}
    for case in segmenter.manifest.selftest:
        by_size.setdefault((case.height, case.width), []).append(case)
    groups = []
    for size, cases in by_size.items():
        with suppress(ImageError):  # an engine for other sizes
            prepared = [segmenter.prepare(picture(case.picture, *size)) for case in cases]
            groups.append((cases, prepared))
    return groups


def _compare(
    segmenter: Segmenter, cases: Sequence[SelfTestCase], prepared: Sequence[Prepared], batch: int
) -> Iterator[Comparison]:
    """Compare full batches with every picture in at least one; the last holds the first again."""
    pairs = cycle(zip(cases, prepared, strict=True))
    for _ in range(-(-len(cases) // batch)):
        members = [*islice(pairs, batch)]
        outputs = segmenter.infer([ready for _, ready in members])
        for place, ((case, _), output) in enumerate(zip(members, outputs, strict=True)):
            found = coarse_output(segmenter.manifest.input_form, output)
            yield Comparison.of(case, found, batch, place)


def coarse_output(form: InputForm, output: Tensors) -> Coarse:
    """Reduce the mask, or the logits, of one image."""
    return Coarse.of(output["mask"] if form is InputForm.FRAMES else output["logits"][0])
