"""Reliance on an encoder, for networks that are known to use it or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dsunet import random_model
from dsunet.data.layouts import Split, find_dataset_folders
from dsunet.data.pairs import Pair, find_pairs
from dsunet.errors import EvaluationError
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.evaluation.reliance import Encoder, Replacement, s_measure_without
from dsunet.network.config import Injection
from dsunet.network.model import DSUNet
from dsunet.training.validation import validate
from tests.training.conftest import SMALL


@pytest.fixture
def pairs(dataset: Path) -> tuple[Pair, ...]:
    return find_pairs(*find_dataset_folders(dataset, Split.TRAIN)).pairs


@pytest.fixture
def model() -> DSUNet:
    return random_model(SMALL).eval()


def whole(model: DSUNet, pairs: tuple[Pair, ...]) -> float:
    return validate(TorchPredictor(model, refuse_constant=False), pairs)["val_s"]


@pytest.mark.parametrize("replacement", list(Replacement))
@pytest.mark.parametrize("encoder", list(Encoder))
def test_a_network_that_ignores_the_encoders_coarse_map(
    model: DSUNet, pairs: tuple[Pair, ...], encoder: Encoder, replacement: Replacement
) -> None:
    """Without the injected level, and with no way for it to the decoder, nothing changes."""
    with torch.no_grad():
        for parameter in model.inject["3"].cga.project.parameters():
            parameter.zero_()
    assert s_measure_without(model, pairs, encoder, replacement) == whole(model, pairs)


@pytest.mark.parametrize("replacement", list(Replacement))
@pytest.mark.parametrize("encoder", list(Encoder))
def test_a_network_that_uses_both(
    model: DSUNet, pairs: tuple[Pair, ...], encoder: Encoder, replacement: Replacement
) -> None:
    assert s_measure_without(model, pairs, encoder, replacement) != whole(model, pairs)
    assert whole(model, pairs) == whole(model, pairs)  # nothing of the replacement stays


def test_exchange_is_by_the_image_before(model: DSUNet, pairs: tuple[Pair, ...]) -> None:
    """In a batch of one repeated image, all but the first get their own maps."""
    same = (pairs[0],) * 3
    alone = validate(TorchPredictor(model, refuse_constant=False), pairs[:1])["val_s"]
    zeros = s_measure_without(model, pairs[:1], Encoder.DINO, Replacement.ZEROS)
    exchanged = s_measure_without(model, same, Encoder.DINO, Replacement.OTHER_IMAGE)
    assert exchanged == pytest.approx((zeros + 2 * alone) / 3, abs=1e-12)


def test_the_second_image_has_the_maps_of_the_first(model: DSUNet, pairs: tuple[Pair, ...]) -> None:
    assert model.dino is not None
    seen: list[tuple[torch.Tensor, ...]] = []
    handle = model.dino.register_forward_hook(lambda _, __, maps: seen.append(maps))
    second = whole(model, pairs[1:2])
    first = whole(model, pairs[:1])
    handle.remove()
    handle = model.dino.register_forward_hook(lambda _, __, maps: seen[1])
    exchanged = whole(model, pairs[1:2])
    handle.remove()
    assert exchanged not in (first, second)
    zeros = s_measure_without(model, pairs[:1], Encoder.DINO, Replacement.ZEROS)
    found = s_measure_without(model, pairs[:2], Encoder.DINO, Replacement.OTHER_IMAGE)
    assert found == pytest.approx((zeros + exchanged) / 2, abs=1e-12)


def test_a_network_without_dinov2(pairs: tuple[Pair, ...]) -> None:
    model = random_model(SMALL.replace(injection=Injection.NONE)).eval()
    with pytest.raises(EvaluationError, match="no DINOv2 encoder"):
        s_measure_without(model, pairs, Encoder.DINO, Replacement.ZEROS)
