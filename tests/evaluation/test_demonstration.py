"""The demonstration checkpoint: its metrics, its masks, and that these need both encoders."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from dsunet import demonstration_checkpoint, load_model
from dsunet.cli import app
from dsunet.data.layouts import Split, find_dataset_folders
from dsunet.data.pairs import Pair, find_pairs
from dsunet.evaluation.pair_scores import mean_s_measure, score_pairs
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.evaluation.reliance import Encoder, Replacement, s_measure_without
from dsunet.network.model import DSUNet
from dsunet.scenes import write_scenes
from dsunet_runtime.artifact.manifest import MaskForm

LEAST = 0.05
"""The S-measure that must be lost without an encoder's own map."""
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
    return find_pairs(*find_dataset_folders(folder, Split.TEST)).pairs


METRICS = {
    "s_measure": 0.838127,
    "f_adaptive": 0.845600,
    "f_mean": 0.797661,
    "f_max": 0.836137,
    "f_weighted": 0.767400,
    "e_mean": 0.819336,
    "e_adaptive": 0.876533,
    "e_max": 0.877300,
    "mae": 0.104148,
    "iou": 0.716970,
    "dice": 0.788862,
}
"""Metrics of the first six scenes, computed on 2026-11-27, when masks had the paper's form only."""


@pytest.fixture(scope="module")
def model() -> DSUNet:
    return load_model(demonstration_checkpoint()).eval()


@pytest.fixture(scope="module")
def whole(model: DSUNet, scenes: tuple[Pair, ...]) -> float:
    return mean_s_measure(score_pairs(TorchPredictor(model, refuse_constant=False), scenes))


@pytest.mark.usefixtures("scoring_in_threads")
def test_metrics_are_of_the_papers_form(scenes: tuple[Pair, ...]) -> None:
    """That of probabilities changes the mean F-measure by 0.0006."""
    dataset = scenes[0].image.parent.parent
    arguments = ("evaluate", demonstration_checkpoint(), "--dataset", dataset, "--limit", 6)
    result = CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    ((scored,),) = [one["results"] for one in json.loads(result.stdout)["datasets"]]
    assert scored["scores"] == pytest.approx(METRICS, abs=1e-4)


@pytest.mark.parametrize("level", [0, 64, 128, 200, 255])
def test_uniform_images_have_no_object(model: DSUNet, level: int) -> None:
    """Probabilities are below 0.0003; stretched, the mask of each reaches 247 or more."""
    image = np.full((240, 320, 3), level, np.uint8)
    assert TorchPredictor(model, mask_form=MaskForm.PROBABILITY)(image).max() <= 1
    assert TorchPredictor(model, mask_form=MaskForm.STRETCHED)(image).max() >= 240


@pytest.mark.parametrize(("encoder", "replacement"), NEEDED)
def test_masks_need_both_encoders(
    model: DSUNet,
    scenes: tuple[Pair, ...],
    whole: float,
    encoder: Encoder,
    replacement: Replacement,
) -> None:
    assert s_measure_without(model, scenes, encoder, replacement) < whole - LEAST
