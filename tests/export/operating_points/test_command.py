"""The command with real exports of a small network, and the functions that measure."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import dsunet_runtime
from dsunet import demonstration_checkpoint, random_model, save_model
from dsunet.evaluation.evaluate import evaluate_models
from dsunet.evaluation.predictors import open_predictor
from dsunet.evaluation.scorer import Scorer
from dsunet.evaluation.test_sets import TestSet
from dsunet.scenes import write_scenes
from dsunet_export.cli import app
from dsunet_export.operating_points.inputs import describe_inputs, starting_providers
from dsunet_export.operating_points.measurement import evaluate_artifact, time_against
from dsunet_export.options import WeightsOrigin
from dsunet_runtime.bench.measurement import Schedule
from dsunet_runtime.bench.workload import Runner
from dsunet_runtime.provider import Provider
from tests.export.helpers import SMALL_UNET
from tests.runtime import artifacts


def tune(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["tune", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, 3, 5, size=96)
    return folder


def test_from_a_checkpoint_to_the_fastest_artifact(scenes: Path, tmp_path: Path) -> None:
    checkpoint, out = tmp_path / "small.safetensors", tmp_path / "out"
    save_model(random_model(SMALL_UNET, 3), checkpoint)
    command = (
        checkpoint, "--dataset", f"a={scenes}", "--limit", 2, "--hiera-size", 128,
        "--provider", "cpu", "--seconds", 0, "--max-loss", 1, "-o", out,
    )  # fmt: skip
    result = tune(*command)
    assert result.exit_code == 0, result.output
    document = json.loads((out / "tune.json").read_text())
    assert [one["point"]["hiera_size"] for one in document["points"]] == [160, 128]
    assert document["points"][1]["macs"] < document["points"][0]["macs"]
    assert document["datasets"]["a"]["images"] == 2
    fastest = document["fastest"]
    manifest = dsunet_runtime.read_manifest(out / "fastest.onnx")
    assert manifest.preprocessing.sizes == {"hiera": fastest["hiera_size"]}
    assert manifest.verification
    assert {path.name for path in out.iterdir()} == {
        "fastest.onnx", "points", "tune.html", "tune.json",
    }  # fmt: skip
    again = tune(*command, "--json", "--budget", 0)
    assert json.loads(again.stdout) == document


def test_masks_are_evaluated_as_dsunet_evaluate_does(
    trained: Path, scenes: Path, tmp_path: Path
) -> None:
    test_set, stream = TestSet.of_dataset("a", scenes), io.StringIO()
    with Scorer(1) as scorer:
        found = evaluate_artifact(trained, Provider.CPU, [test_set], scorer, stream)["a"]
        (expected,) = evaluate_models(
            [trained], [test_set], open_predictor, scorer, tmp_path / "masks", stream
        )
    scores = expected.results[0].scores
    assert (found.s_measure, found.mae) == (scores.s_measure, scores.mae)
    assert np.mean(found.each) == pytest.approx(found.s_measure)


def test_timing(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "image.png")
    a, b = (Runner(artifacts.tensors(tmp_path / f"{name}.onnx"), Provider.CPU) for name in "ab")
    schedule = Schedule(seconds=0, max_warm_up=0)
    alone = time_against(a, a, tmp_path / "image.png", schedule)
    assert (alone.ratio, alone.lowest, alone.highest, alone.within_noise) == (1, 1, 1, True)
    beside = time_against(b, a, tmp_path / "image.png", schedule)
    assert 0 < beside.lowest <= beside.ratio <= beside.highest
    assert beside.lowest < beside.highest


def test_results_depend_on_the_images(scenes: Path, tmp_path: Path) -> None:
    origin = WeightsOrigin("x", "1")
    test_set = TestSet.of_dataset("a", scenes)
    first = describe_inputs(origin, None, [test_set], None, 1)
    assert describe_inputs(origin, None, [test_set], None, 1) == first
    assert describe_inputs(origin, None, [test_set.first(2)], None, 1) != first
    calibrated = describe_inputs(origin, None, [test_set], scenes / "Image", 1)
    assert calibrated["calibration_sha256"]


def test_the_cpu_is_always_there() -> None:
    assert starting_providers()[0] is Provider.CPU


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dino-size", "100"], "must be a multiple of 14, such as 98 or 112"),
        (["--hiera-size", "96"], "choose 128 or more"),
        (["--precision", "int8"], "int8 and fp8 need --images DIR"),
        (["--dataset", "a="], "give NAME=DIR or DIR"),
    ],
)
def test_wrong_usage(scenes: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    given: list[Any] = [demonstration_checkpoint(), "--dataset", f"a={scenes}"]
    result = tune(*given, "--provider", "cpu", *arguments, "-o", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
