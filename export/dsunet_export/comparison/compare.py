"""Run two versions of one model on sample images and compare their outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet.evaluation.predictors import Predictor
from dsunet_export.comparison.model_pair import is_artifact
from dsunet_export.errors import ExportError
from dsunet_export.probes import GraphInputs, Probe, load_probe, make_probes
from dsunet_export.verification.measures import (
    MaskDifference,
    TensorDifference,
    compare_masks,
    compare_tensors,
)
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.prediction.jobs import images_at

FEW_IMAGES = 4
"""Number of images for slow comparisons."""


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """Masks of both models for one image, and the differences of their outputs."""

    label: str
    image: NDArray[np.uint8]
    """H×W×3."""
    a: NDArray[np.uint8]
    """A's mask, H×W."""
    b: NDArray[np.uint8]
    tensors: dict[str, TensorDifference]
    """Differences of the outputs that both have, without the mask, by name."""
    mask: MaskDifference


def compare(a: Predictor, b: Predictor, probes: Iterable[Probe]) -> Iterator[ImageComparison]:
    """Compare two models on each image, with one image in memory at a time.

    Raises ExportError if the outputs have different shapes, ImageError for an image that cannot be
    read or that a model does not accept, and BackendError if a model fails.
    """
    for probe in probes:
        outputs_a, mask_a = _run(a, probe)
        outputs_b, mask_b = _run(b, probe)
        common = sorted(outputs_a.keys() & outputs_b.keys() - {"mask"})
        for name in common:
            if outputs_a[name].shape != outputs_b[name].shape:
                shapes = " and ".join(_sides(outputs[name]) for outputs in (outputs_a, outputs_b))
                raise ExportError(
                    f"the {name} have different shapes, {shapes}: compare models of one "
                    "preset and one --hiera-size"
                )
        yield ImageComparison(
            label=probe.label,
            image=probe.image,
            a=mask_a,
            b=mask_b,
            tensors={name: compare_tensors(outputs_a[name], outputs_b[name]) for name in common},
            mask=compare_masks(mask_a, mask_b),
        )


def _run(predictor: Predictor, probe: Probe) -> tuple[Tensors, NDArray[np.uint8]]:
    prepared = predictor.prepare(probe.image)
    (outputs,) = predictor.infer([prepared])
    return outputs, predictor.finish(outputs, prepared)


def _sides(array: NDArray[Any]) -> str:
    return "×".join(map(str, array.shape))


def probes_for(a: Path, b: Path, images: Path | None) -> Iterable[Probe]:
    """Load the images of a folder, or random pixels and a photograph, in the size of A or B.

    Raises ExportError if the fixed sizes of the two differ, ArtifactError for an artifact without a
    manifest, and ImageError for a folder without images, or during iteration for an image that
    cannot be read.
    """
    manifests = [read_manifest(path) for path in (a, b) if is_artifact(path)]
    sizes = {size for manifest in manifests if (size := GraphInputs.of(manifest).size)}
    if len(sizes) > 1:
        (h, w), (other_h, other_w) = sorted(sizes)
        raise ExportError(
            f"the fixed image sizes differ, {h}×{w} and {other_h}×{other_w} (height×width): "
            "export both with the same --size"
        )
    size = next(iter(sizes), None)
    if images is None:
        return make_probes(size)
    return (load_probe(path, size) for path in images_at(images))


def few_probes(a: Path, b: Path, images: Path | None, also: str | None = None) -> list[Probe]:
    """Load the first `FEW_IMAGES` images and the one labelled `also`, for slow comparisons.

    Raises the exceptions of `probes_for`.
    """
    probes = enumerate(probes_for(a, b, images))
    return [probe for index, probe in probes if index < FEW_IMAGES or probe.label == also]
