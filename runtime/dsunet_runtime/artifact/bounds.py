"""Validation of a manifest's values beyond their types: sizes, file names, versions.

A manifest may come from an untrusted source.  Its values determine how much memory is allocated,
which files are opened, and which commands appear in messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.message_text import quote
from dsunet_runtime.selftest.sizes import GRID, PICTURES, POINTS

if TYPE_CHECKING:
    from dsunet_runtime.artifact.file_digest import FileDigest
    from dsunet_runtime.artifact.manifest import (
        Engine,
        Manifest,
        OptimizationProfile,
        Precision,
        Preprocessing,
        SelfTestCase,
        TensorSpec,
    )

MAX_DIMENSION = 1 << 20
"""Maximum of the batch and of the height and width of a frame."""
MAX_SIDE = 4096
"""Maximum side of an encoder's square input; one image of that size takes 200 MB."""

_MAX_PICTURE = 16384
"""Maximum side of a self-test picture in pixels, the same as that of `--size`."""
_MAX_RANK = 8
_MAX_BYTES = 1 << 48
"""Maximum size of a file."""
_MOST_GPUS = 100
_MAX_NAME = 255
"""Maximum length of a file name in bytes."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TYPES = ("uint8", "float32")
_COMPUTE = tuple(compute.element_type for compute in Compute)
_QUANTIZED = ("int8", "float8e4m3fn")
_SMALLEST_STD, _LARGEST_MEAN = 1e-6, 1e6
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_COMPUTE_CAPABILITY = re.compile(r"\d{1,3}\.\d{1,2}")


def check_bounds(manifest: Manifest) -> None:
    """Raise ValueError, which names the field, if a value of the manifest is out of bounds."""
    problem = next(_problems(manifest), None)
    if problem is not None:
        raise ValueError(problem)


def is_plain_name(name: str) -> bool:
    """Whether a file name is UTF-8 without slashes and control characters."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return False
    is_name = name == Path(name).name and name not in ("", "..")
    return is_name and length <= _MAX_NAME and not _CONTROL.search(name)


def _problems(manifest: Manifest) -> Iterator[str]:
    for kind, specs in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        if not specs or len({spec.name for spec in specs}) != len(specs):
            yield f"{kind} must have at least one tensor, and names must be unique"
        for spec in specs:
            yield from _tensor_problems(spec)
    yield from _preprocessing_problems(manifest.preprocessing)
    yield from _precision_problems(manifest.precision)
    if manifest.macs < 0:
        yield f"macs is {manifest.macs:,}, less than 0"
    for profile in manifest.profiles:
        yield from _profile_problems(profile)
    for file in (manifest.graph, *manifest.files):
        yield from _file_problems(file)
    for rewrite in manifest.rewrites:
        if rewrite.macs_before < 1:
            yield f"macs_before of the rewrite {quote(rewrite.name)} is less than 1"
        if rewrite.macs_after < 0:
            yield f"macs_after of the rewrite {quote(rewrite.name)} is less than 0"
    if len(manifest.selftest) > PICTURES:
        yield f"selftest has a number of cases above {PICTURES}"
    for case in manifest.selftest:
        yield from _selftest_problems(case)
    if manifest.engine is not None:
        yield from _file_problems(manifest.engine.file)
        if manifest.engine.shared_weights is not None:
            yield from _file_problems(manifest.engine.shared_weights)
        yield from _engine_problems(manifest.engine)


def _tensor_problems(spec: TensorSpec) -> Iterator[str]:
    if spec.dtype not in _TYPES:
        yield f"{quote(spec.name)} has the type {quote(spec.dtype)}, not {' or '.join(_TYPES)}"
    if not 1 <= len(spec.shape) <= _MAX_RANK or not all(map(_is_dimension, spec.shape)):
        yield (
            f"{quote(spec.name)} has the shape {quote(spec.shape)}; a dimension must be a name or "
            f"an integer from 1 to {MAX_DIMENSION:,}"
        )


def _is_dimension(dimension: int | str) -> bool:
    return bool(dimension) if isinstance(dimension, str) else 1 <= dimension <= MAX_DIMENSION


def _preprocessing_problems(preprocessing: Preprocessing) -> Iterator[str]:
    for name, side in preprocessing.sizes.items():
        if not 1 <= side <= MAX_SIDE:
            yield f"the input size of {quote(name)} is {side:,}; it must be 1 to {MAX_SIDE:,}"
    if max(map(abs, preprocessing.mean)) > _LARGEST_MEAN:
        yield f"preprocessing.mean is out of range: {quote(preprocessing.mean)}"
    if not all(_SMALLEST_STD <= value <= _LARGEST_MEAN for value in preprocessing.std):
        yield f"preprocessing.std is out of range: {quote(preprocessing.std)}"


def _precision_problems(precision: Precision) -> Iterator[str]:
    if precision.compute not in _COMPUTE:
        yield (f"precision.compute is {quote(precision.compute)}, not one of {', '.join(_COMPUTE)}")
    quantized = precision.quantized
    if quantized is not None and quantized.data_type not in _QUANTIZED:
        yield (
            f"precision.quantized.data_type is {quote(quantized.data_type)}, not one of "
            f"{', '.join(_QUANTIZED)}"
        )


def _profile_problems(profile: OptimizationProfile) -> Iterator[str]:
    shapes = (profile.minimum, profile.optimum, profile.maximum)
    if len(set(map(len, shapes))) != 1 or not all(
        1 <= low <= best <= high <= MAX_DIMENSION for low, best, high in zip(*shapes, strict=True)
    ):
        yield f"the profile of {quote(profile.input)} is not a range within 1 to {MAX_DIMENSION:,}"


def _selftest_problems(case: SelfTestCase) -> Iterator[str]:
    if not 0 <= case.picture < PICTURES or not (
        1 <= case.height <= _MAX_PICTURE and 1 <= case.width <= _MAX_PICTURE
    ):
        yield (
            f"selftest has picture {case.picture} of {case.width}×{case.height}, not 0 to "
            f"{PICTURES - 1} of up to {_MAX_PICTURE:,}×{_MAX_PICTURE:,}"
        )
    blocks = min(GRID, case.height) * min(GRID, case.width)
    if (len(case.blocks), len(case.points)) != (blocks, POINTS):
        yield f"selftest has a case without {blocks} blocks and {POINTS} points"
    if not min(case.blocks_tolerance, case.points_tolerance) > 0:
        yield "selftest has a tolerance that is not above 0"


def _file_problems(file: FileDigest) -> Iterator[str]:
    name = file.name
    if not is_plain_name(name):
        yield f"{quote(name)} is not a plain file name"
    if not 1 <= file.size <= _MAX_BYTES or not _SHA256.fullmatch(file.sha256):
        yield f"{quote(name)} has no valid size and SHA-256"


def _engine_problems(engine: Engine) -> Iterator[str]:
    if not _VERSION.fullmatch(engine.tensorrt_version):
        yield f"engine.tensorrt_version is not valid: {quote(engine.tensorrt_version)}"
    targets = engine.compute_capabilities
    if not 1 <= len(targets) <= _MOST_GPUS or not all(map(_COMPUTE_CAPABILITY.fullmatch, targets)):
        yield f"engine.compute_capabilities is not valid: {quote(targets)}"
