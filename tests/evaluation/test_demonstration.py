"""The masks of the demonstration checkpoint depend on both encoders."""

from __future__ import annotations

import pytest

from dsunet import demonstration_checkpoint, load_model
from dsunet.data.layouts import Split, locate
from dsunet.data.pairs import Pair, find_pairs
from dsunet.evaluation.pair_scores import mean_s_measure, score_pairs
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.evaluation.reliance import Encoder, Replacement, s_measure_without
from dsunet.model import DSUNet
from dsunet.scenes import write_scenes

LEAST = 0.05
"""Of the S-measure, that has to be lost without an encoder's own map."""
NEEDED = [
    (Encoder.DINO, Replacement.ZEROS),
    (Encoder.DINO, Replacement.OTHER_IMAGE),
    (Encoder.HIERA, Replacement.ZEROS),
]
"""Hiera's coarsest map of another image costs 0.01: docs/DEMONSTRATION.md."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, ...]:
    """Synthetic scenes that the checkpoint was not trained on."""
    folder = tmp_path_factory.mktemp("held_out")
    write_scenes(folder, 24, 2)
    return find_pairs(*locate(folder, Split.TEST)).pairs


@pytest.fixture(scope="module")
def model() -> DSUNet:
    return load_model(demonstration_checkpoint()).eval()


@pytest.fixture(scope="module")
def whole(model: DSUNet, scenes: tuple[Pair, ...]) -> float:
    return mean_s_measure(score_pairs(TorchPredictor(model, refuse_constant=False), scenes))


@pytest.mark.parametrize(("encoder", "replacement"), NEEDED)
def test_masks_need_both_encoders(
    model: DSUNet,
    scenes: tuple[Pair, ...],
    whole: float,
    encoder: Encoder,
    replacement: Replacement,
) -> None:
    assert s_measure_without(model, scenes, encoder, replacement) < whole - LEAST
