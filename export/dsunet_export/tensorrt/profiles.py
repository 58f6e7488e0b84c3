"""Optimization profiles: the ranges of input shapes that an engine accepts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from dsunet_export.errors import ExportError
from dsunet_export.options import LARGEST_BATCH, LARGEST_SIDE
from dsunet_runtime.artifact.manifest import InputForm, Manifest, OptimizationProfile, TensorSpec
from dsunet_runtime.message_text import quote

Triple = tuple[int, int, int]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Ranges:
    """Requested ranges of the dynamic axes of a graph.  None selects the default.

    Device memory is allocated for the maximum, and kernels are tuned for the optimum.
    """

    batch: Triple | None = None
    """Minimum, optimum and maximum of the batch size."""
    size: tuple[Size, Size, Size] | None = None
    """Minimum, optimum and maximum of the frame size, (height, width) each."""


DEFAULT_BATCH: Triple = (1, 1, 1)
"""Batch size 1, because device memory grows with the maximum, whether it is used or not."""
DEFAULT_SIZE: tuple[Size, Size, Size] = ((64, 64), (720, 1280), (1920, 1920))
"""Up to Full HD, portrait or landscape.  Pre- and postprocessing take 39 bytes of device memory per
pixel of the maximum: 144 MB for this one, 323 MB for 4K."""


def parse_batch(text: str) -> Triple:
    """Parse `4` or `1:4:8`.  Raises ExportError for any other text or descending numbers."""
    parts = [int(part) if re.fullmatch(r"\d{1,9}", part) else 0 for part in text.split(":")]
    if len(parts) not in (1, 3) or not all(1 <= n <= LARGEST_BATCH for n in parts):
        raise ExportError(
            f"{quote(text)}: give a number of images from 1 to {LARGEST_BATCH}, or MIN:OPT:MAX, "
            f"for example 1:4:8"
        )
    low, best, high = parts * (3 // len(parts))
    _check_ascending(text, (low,), (best,), (high,))
    return low, best, high


def parse_size(text: str) -> tuple[Size, Size, Size]:
    """Parse `720x1280` or `480x640:720x1280:1080x1920`.

    Raises ExportError for any other text or descending numbers.
    """
    parts = [_parse_one_size(part) for part in text.split(":")]
    if len(parts) not in (1, 3) or not all(1 <= n <= LARGEST_SIDE for size in parts for n in size):
        raise ExportError(
            f"{quote(text)}: give HEIGHTxWIDTH with sides from 1 to {LARGEST_SIDE}, or MIN:OPT:MAX "
            f"of them, for example 480x640:720x1280:1080x1920"
        )
    low, best, high = parts * (3 // len(parts))
    _check_ascending(text, low, best, high)
    return low, best, high


def make_profiles(manifest: Manifest, ranges: Ranges) -> tuple[OptimizationProfile, ...]:
    """Make a profile for each input of the graph.

    Raises ExportError if a range is requested for an axis that is fixed or does not exist.
    """
    if ranges.size is not None and manifest.input_form is InputForm.TENSORS:
        raise ExportError(
            "--size is for --input frames graphs; this graph takes tensors of fixed sizes"
        )
    return tuple(_profile(spec, ranges) for spec in manifest.inputs)


def without_fixed_sides(
    manifest: Manifest, profiles: tuple[OptimizationProfile, ...]
) -> tuple[OptimizationProfile, ...]:
    """Widen fixed sides of the profiles that are dynamic in the graph, to one pixel less.

    TensorRT for RTX 1.7.1 fails with "MyelinCheckException: host_instr.cpp:1573" if one side alone
    is fixed.
    """
    specs = {spec.name: spec for spec in manifest.inputs}
    return tuple(_without_fixed_sides(specs[profile.input], profile) for profile in profiles)


def _without_fixed_sides(spec: TensorSpec, profile: OptimizationProfile) -> OptimizationProfile:
    low, high = list(profile.minimum), list(profile.maximum)
    for axis, (letter, dim) in enumerate(zip(spec.layout, spec.shape, strict=True)):
        if letter in "HW" and isinstance(dim, str) and low[axis] == high[axis]:
            if low[axis] > 1:
                low[axis] -= 1
            else:
                high[axis] += 1
    return replace(profile, minimum=tuple(low), maximum=tuple(high))


def _profile(spec: TensorSpec, ranges: Ranges) -> OptimizationProfile:
    sizes = list(zip(*ranges.size, strict=True)) if ranges.size else [None, None]
    asked = {"N": ("--batch", ranges.batch, DEFAULT_BATCH)}
    for axis, size, default in zip("HW", sizes, zip(*DEFAULT_SIZE, strict=True), strict=True):
        asked[axis] = ("--size", size, default)
    axes = []
    for letter, dim in zip(spec.layout, spec.shape, strict=True):
        option, wanted, default = asked.get(letter, ("", None, (0, 0, 0)))
        if isinstance(dim, str):
            axes.append(wanted or default)
        elif wanted in (None, (dim, dim, dim)):
            axes.append((dim, dim, dim))
        else:
            raise ExportError(
                f"the graph is fixed to {dim} on axis {letter} of {spec.name!r}: omit {option}, "
                f"or export it again with `{option} dynamic`"
            )
    low, best, high = zip(*axes, strict=True)
    return OptimizationProfile(spec.name, low, best, high)


def _parse_one_size(text: str) -> Size:
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _check_ascending(
    text: str, low: tuple[int, ...], best: tuple[int, ...], high: tuple[int, ...]
) -> None:
    if not all(a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
        raise ExportError(f"{quote(text)}: MIN must not exceed OPT, nor OPT exceed MAX")
