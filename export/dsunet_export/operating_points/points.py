"""Operating points, and the list of those to measure.  Does not import PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dsunet.errors import ConfigError
from dsunet.network.config import DSUNetConfig
from dsunet_export.options import ExportPrecision
from dsunet_runtime.provider import Provider

_HIERA_FRACTIONS = (1, 0.75)
_DINO_FRACTIONS = (1, 0.75, 0.5, 0.375)
"""Sizes that are tried by default, as fractions of the checkpoint's."""


@dataclass(frozen=True, slots=True)
class Point:
    """An operating point: input sizes in pixels, precision and provider."""

    hiera_size: int
    dino_size: int | None
    """None for a network without DINOv2."""
    precision: ExportPrecision
    provider: Provider

    @property
    def label(self) -> str:
        """Description of the point, such as `hiera 352, dino 266, int8, cpu`."""
        dino = "" if self.dino_size is None else f", dino {self.dino_size}"
        return f"hiera {self.hiera_size}{dino}, {self.precision}, {self.provider}"


def list_points(
    config: DSUNetConfig,
    hiera_sizes: Sequence[int],
    dino_sizes: Sequence[int],
    precisions: Sequence[ExportPrecision],
    providers: Sequence[Provider],
) -> list[Point]:
    """List all combinations, after the reference: the network's own sizes, fp32, first provider.

    Without sizes, the network's own and some smaller ones are taken.  Points of one artifact follow
    each other.  Raises ConfigError if a size does not fit the network.
    """
    own = config.input_sizes
    for size in hiera_sizes:
        config.resized(hiera_size=size)
    for size in dino_sizes:
        config.resized(dino_size=size)
    hiera = hiera_sizes or _default_sizes(config, "hiera", config.hiera.size_step, _HIERA_FRACTIONS)
    dino: Sequence[int | None] = dino_sizes
    if not dino and "dino" in own:
        dino = _default_sizes(config, "dino", config.dino.patch_size, _DINO_FRACTIONS)
    reference = Point(own["hiera"], own.get("dino"), ExportPrecision.FP32, providers[0])
    points = [
        Point(hiera_size, dino_size, precision, provider)
        for hiera_size in hiera
        for dino_size in dino or (None,)
        for precision in precisions
        for provider in providers
    ]
    return list(dict.fromkeys([reference, *points]))


def _default_sizes(
    config: DSUNetConfig, encoder: str, step: int, fractions: Sequence[float]
) -> list[int]:
    """Return the multiples of `step` next to fractions of the network's size that fit it."""
    own = config.input_sizes[encoder]
    fitting = []
    for fraction in fractions:
        size = step * math.floor(fraction * own / step + 0.5)
        try:
            config.resized(**{f"{encoder}_size": max(size, step)})
        except ConfigError:
            continue
        fitting.append(max(size, step))
    return list(dict.fromkeys(fitting))
