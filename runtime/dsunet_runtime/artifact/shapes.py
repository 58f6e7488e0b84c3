"""Ranges of the shapes that an artifact takes, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsunet_runtime.artifact.manifest import Manifest, TensorSpec
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.message_text import quote

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Range of the size of one dimension, both ends included."""

    minimum: int
    optimum: int
    """The size that an engine is optimised for."""
    maximum: int | None
    """None for no limit."""

    def __contains__(self, size: int) -> bool:
        return self.minimum <= size and (self.maximum is None or size <= self.maximum)

    def __str__(self) -> str:
        if self.maximum is None:
            return "any"
        if self.minimum == self.maximum:
            return str(self.minimum)
        return f"{self.minimum} to {self.maximum}"


def input_ranges(manifest: Manifest) -> dict[str, tuple[Range, ...]]:
    """Return the ranges of each input's dimensions by name.

    Raises ArtifactError if the profiles of an engine do not fit its inputs.
    """
    if manifest.engine is None:
        return {spec.name: tuple(map(_unlimited, spec.shape)) for spec in manifest.inputs}
    profiles = {profile.input: profile for profile in manifest.profiles}
    ranges = {}
    for spec in manifest.inputs:
        profile = profiles.get(spec.name)
        if profile is None or {len(spec.shape)} != {
            len(shape) for shape in (profile.minimum, profile.optimum, profile.maximum)
        }:
            raise ArtifactError(
                f"the manifest has no profile that fits its input {quote(spec.name)}: build the "
                f"engine again with `dsunet-export trt`"
            )
        ends = zip(profile.minimum, profile.optimum, profile.maximum, strict=True)
        ranges[spec.name] = tuple(Range(*three) for three in ends)
    return ranges


def batch_range(manifest: Manifest) -> Range:
    """Return the range of the batch.  Raises ArtifactError like `input_ranges`."""
    ranges = {dimensions[0] for dimensions in input_ranges(manifest).values() if dimensions}
    if len(ranges) != 1:
        raise ArtifactError("the manifest's inputs do not share one batch axis: export again")
    return ranges.pop()


def outside(shape: Shape, ranges: tuple[Range, ...]) -> bool:
    """Whether a size of a shape is outside its range; the ranks must be equal."""
    return not all(size in range_ for size, range_ in zip(shape, ranges, strict=True))


def output_shapes(manifest: Manifest, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of the outputs for valid shapes of the inputs.

    Raises ArtifactError if the manifest gives an output a dimension that no input has.
    """
    sizes: dict[int | str, int] = {}
    for spec in manifest.inputs:
        sizes |= dict(zip(spec.shape, inputs[spec.name], strict=True))
    return {spec.name: _resolve(spec, sizes) for spec in manifest.outputs}


def _unlimited(dimension: int | str) -> Range:
    if isinstance(dimension, str):
        return Range(1, 1, None)
    return Range(dimension, dimension, dimension)


def _resolve(spec: TensorSpec, sizes: Mapping[int | str, int]) -> Shape:
    try:
        return tuple(size if isinstance(size, int) else sizes[size] for size in spec.shape)
    except KeyError as error:
        raise ArtifactError(
            f"the manifest's output {quote(spec.name)} has a dimension {quote(error.args[0])} that "
            f"no input has: export again"
        ) from error
