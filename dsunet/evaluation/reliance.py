"""Measure how much the masks of a network depend on each encoder.

A map of an encoder is replaced, for every image, by zeros or by that of another image.  If the
masks stay as good, the network ignores the map, and a comparison of masks is no evidence about the
encoder.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from dsunet.data.pairs import Pair
from dsunet.errors import EvaluationError
from dsunet.evaluation.pair_scores import mean_s_measure, score_pairs
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.network.model import DSUNet


class Encoder(enum.StrEnum):
    """The encoder whose maps are replaced."""

    DINO = "dino"
    """All maps of DINOv2, before the wavelet path."""
    HIERA = "hiera"
    """Hiera's coarsest map, before a map of DINOv2 is injected."""


class Replacement(enum.StrEnum):
    """What the maps are replaced by."""

    ZEROS = "zeros"
    OTHER_IMAGE = "other image"
    """The maps of the previous image; zeros for the first image."""


def s_measure_without(
    model: DSUNet, pairs: Sequence[Pair], encoder: Encoder, replacement: Replacement
) -> float:
    """Compute the mean S-measure of a model on the CPU with the maps of an encoder replaced.

    Raises EvaluationError if the model has no DINOv2 encoder.
    """
    if model.dino is None:
        raise EvaluationError("the network has no DINOv2 encoder (injection none)")
    module: nn.Module = model.dino if encoder is Encoder.DINO else model.hiera
    first = 0 if encoder is Encoder.DINO else len(model.config.hiera.stages) - 1
    with _replaced(module, first, replacement):
        return mean_s_measure(score_pairs(TorchPredictor(model, refuse_constant=False), pairs))


@contextlib.contextmanager
def _replaced(module: nn.Module, first: int, replacement: Replacement) -> Iterator[None]:
    """Replace the maps of an encoder from the `first` on."""
    previous: list[Tensor] = []

    def replace(_: nn.Module, __: object, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        others = [*previous] or [torch.zeros_like(one) for one in maps[first:]]
        if replacement is Replacement.OTHER_IMAGE:
            previous[:] = maps[first:]
        return (*maps[:first], *others)

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
