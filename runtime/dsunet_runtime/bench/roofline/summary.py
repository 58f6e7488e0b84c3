"""Costs of the branches of a network, compared with the ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from dsunet_runtime.bench.roofline.branches import Branch, assign_branches
from dsunet_runtime.bench.roofline.ceiling import Ceiling
from dsunet_runtime.bench.roofline.layer_profile import LayerProfile, ProfiledLayer

_MENTIONED = 0.01
"""Fraction of the time in unassigned layers above which a note is added."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Time, multiply-adds and memory traffic of a branch or of a whole run."""

    seconds: float
    macs: int
    bytes: int

    @classmethod
    def of(cls, layers: Sequence[ProfiledLayer]) -> Self:
        """Sum over layers."""
        return cls(
            seconds=sum(layer.seconds for layer in layers),
            macs=sum(layer.macs for layer in layers),
            bytes=sum(layer.bytes for layer in layers),
        )


@dataclass(frozen=True, slots=True)
class Roofline:
    """Costs of one artifact by branch, and the ceiling."""

    label: str
    """Label of the runner."""
    batch: int
    costs: dict[Branch, Cost]
    """Costs of the branches that occur, in order of execution."""
    total: Cost
    ceiling: Ceiling
    unprofiled: float
    """Duration of a run without a profiler, in seconds."""
    notes: Sequence[str]
    """Limitations of the results, one line each."""

    @classmethod
    def of(cls, label: str, batch: int, profile: LayerProfile, ceiling: Ceiling) -> Self:
        """Sum the layers of a profile by branch."""
        layers, assignments = profile.layers, assign_branches(profile.layers)
        parts = {
            branch: [
                layer
                for layer, assigned in zip(layers, assignments, strict=True)
                if assigned.branch is branch
            ]
            for branch in Branch
        }
        total = Cost.of(layers)
        unnamed = Cost.of(
            [
                layer
                for layer, assigned in zip(layers, assignments, strict=True)
                if not assigned.named
            ]
        )
        notes = list(profile.notes)
        if unnamed.seconds > _MENTIONED * total.seconds:
            notes.append(
                f"{unnamed.seconds / total.seconds:.1%} of the time is spent in layers whose names "
                "do not identify a branch: they are counted with the preceding layer"
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
        """Fraction of the roofline that is attained: minimum time divided by measured time."""
        return self.ceiling.ideal(cost.macs, cost.bytes) / cost.seconds if cost.seconds else 0.0
