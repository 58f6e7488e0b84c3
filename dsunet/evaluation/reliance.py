"""How much the masks of a network depend on its encoders.

A map of an encoder is replaced, for every image, by zeros or by that of another image.  If the
masks stay as good, the network ignores the map, and comparing masks says nothing about the
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
    """The maps that are replaced."""

    DINO = "dino"
    """All of DINOv2's, before the wavelet path."""
    HIERA = "hiera"
    """Hiera's coarsest, before DINOv2's is injected."""


class Replacement(enum.StrEnum):
    """What the maps are replaced by."""

    ZEROS = "zeros"
    OTHER_IMAGE = "other image"
    """Those of the image before; for the first image, zeros."""


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
    before: list[Tensor] = []

    def replace(_: nn.Module, __: object, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        others = [*before] or [torch.zeros_like(one) for one in maps[first:]]
        if replacement is Replacement.OTHER_IMAGE:
            before[:] = maps[first:]
        return (*maps[:first], *others)

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
