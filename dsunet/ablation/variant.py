"""The four networks of the ablation study."""

from __future__ import annotations

import dataclasses
import enum

from dsunet.network.config import DSUNetConfig, Injection
from dsunet.training.options import TrainingOptions


class Variant(enum.StrEnum):
    """The networks of the ablation, by their names in the paper."""

    A = "A"
    B = "B"
    C = "C"
    DSU_NET = "DSU-Net"

    @property
    def injection(self) -> Injection:
        """The injection, in which the networks differ."""
        return {
            Variant.A: Injection.NONE,
            Variant.B: Injection.LEVELS,
            Variant.C: Injection.ALL,
            Variant.DSU_NET: Injection.LAST,
        }[self]

    def options(self, options: TrainingOptions) -> TrainingOptions:
        """The options of its run, in a subfolder of `options.output`; A has none for DINOv2."""
        config = (options.config or DSUNetConfig()).replace(injection=self.injection)
        own = dataclasses.replace(options, output=options.output / self.value, config=config)
        if config.injection.hiera_levels:
            return own
        return dataclasses.replace(own, dinov2=None, cache=None)
