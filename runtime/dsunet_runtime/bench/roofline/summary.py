"""The branches of a network beside what the machine reaches at best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from dsunet_runtime.bench.roofline.branches import Branch, places_of
from dsunet_runtime.bench.roofline.ceiling import Ceiling
from dsunet_runtime.bench.roofline.layer_profile import LayerProfile, ProfiledLayer

_MENTIONED = 0.01
"""Share of the time above which it is said that names did not tell the branch."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a branch, or all of it, takes."""

    seconds: float
    macs: int
    bytes: int

    @classmethod
    def of(cls, layers: Sequence[ProfiledLayer]) -> Self:
        """The sum."""
        return cls(
            seconds=sum(layer.seconds for layer in layers),
            macs=sum(layer.macs for layer in layers),
            bytes=sum(layer.bytes for layer in layers),
        )


@dataclass(frozen=True, slots=True)
class Roofline:
    """Where the time of one artifact goes."""

    label: str
    """The artifact, and what computes it."""
    batch: int
    costs: dict[Branch, Cost]
    """Of the branches that it has, in order."""
    total: Cost
    ceiling: Ceiling
    unprofiled: float
    """Seconds of a run without a profiler."""
    notes: Sequence[str]
    """What limits the figures, a line each."""

    @classmethod
    def of(cls, label: str, batch: int, profile: LayerProfile, ceiling: Ceiling) -> Self:
        """Add up the layers of a profile."""
        layers, places = profile.layers, places_of(profile.layers)
        parts = {
            branch: [a for a, place in zip(layers, places, strict=True) if place.branch is branch]
            for branch in Branch
        }
        total = Cost.of(layers)
        unnamed = Cost.of([a for a, place in zip(layers, places, strict=True) if not place.named])
        notes = list(profile.notes)
        if unnamed.seconds > _MENTIONED * total.seconds:
            notes.append(
                f"{unnamed.seconds / total.seconds:.1%} of the time is of layers whose names do "
                "not tell the branch: they are counted with the layer before them"
            )
        return cls(
            label=label,
            batch=batch,
            costs={branch: Cost.of(part) for branch, part in parts.items() if part},
            total=total,
            ceiling=ceiling,
            unprofiled=profile.seconds,
            notes=notes,
        )

    def attained(self, cost: Cost) -> float:
        """The share of the roofline: what the cost takes at least, of what it takes."""
        return self.ceiling.ideal(cost.macs, cost.bytes) / cost.seconds if cost.seconds else 0.0
