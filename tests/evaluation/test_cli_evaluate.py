"""The command `dsunet evaluate`."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dsunet.cli import app
from dsunet.commands.named_folder import named_folder
from dsunet.evaluation.predictors import open_predictor
from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.extras import install_command
from tests.evaluation.library import run_directly
from tests.runtime import artifacts

in_threads = pytest.mark.usefixtures("scoring_in_threads")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def run_library(predictions: Path, ground_truths: Path) -> dict[str, Any]:
    """Scores with masks read by OpenCV, as common evaluation scripts do."""
    return run_directly(
        (
            cv2.imread(str(predictions / ground_truth.name), cv2.IMREAD_GRAYSCALE),  # type: ignore[misc]
            cv2.imread(str(ground_truth), cv2.IMREAD_GRAYSCALE),
        )
        for ground_truth in sorted(ground_truths.iterdir())
    )


@pytest.fixture(scope="module")
def models(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return checkpoint, artifacts.frames(tmp_path_factory.mktemp("models") / "frames.onnx")


@pytest.fixture(scope="module")
def scored(
    models: tuple[Path, Path], dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Path]:
    """A complete evaluation: two models, two datasets, a report and saved masks."""
    folder = tmp_path_factory.mktemp("evaluated")
    datasets = ("--dataset", f"ECSSD={dataset}", "--dataset", f"mine={dataset}")
    outputs = ("-o", folder / "report", "--save-masks", folder / "masks", "--worst", 2)
    return run(*models, *datasets, *outputs, "--workers", 1, "--device", "cpu"), folder


def test_the_name_of_a_dataset_is_that_of_its_folder(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset.parent)
    for text in (str(dataset), f"{dataset.name}/", f"./{dataset.name}"):
        name, folder = named_folder("--dataset", text)
        assert (name, folder.resolve()) == (dataset.name, dataset.resolve())
    assert named_folder("--dataset", "x=y=z") == ("x", Path("y=z"))


def test_masks_that_are_there_already(dataset: Path) -> None:
    arguments = ("--predictions", dataset / "Predicted", "--masks", dataset / "Mask", "--json")
    result = run(*arguments, "--workers", 1)
    assert result.exit_code == 0, result.stderr
    (one,) = json.loads(result.stdout)["datasets"]
    assert (one["images"], one["images_left_out"]) == (6, 0)
    (found,) = one["results"]
    assert found["model"] == "Predicted"
    expected = run_library(dataset / "Predicted", dataset / "Mask")
    assert found["scores"] == {name: expected[name] for name in found["scores"]}
    assert len(found["scores"]) == 11


def test_the_table(scored: tuple[Result, Path]) -> None:
    result, _ = scored
    assert result.exit_code == 0, result.stderr
    blocks = result.stdout.split("\n\n")
    lines = blocks[0].splitlines()
    assert lines[0].startswith("ECSSD, 6 images")
    assert [line.split("  ")[0] for line in lines[1:3]] == ["nano.safetensors", "frames.onnx"]
    assert lines[3].startswith("  difference")
    assert len(lines) == 4
    assert blocks[1].startswith("mine, 6 images")
    assert "ECSSD: published values are of 1,000 images, so they are not shown." in blocks[2]
    assert "mine" not in blocks[2]


def test_kept_masks_are_the_models_outputs_and_are_evaluated(
    scored: tuple[Result, Path], models: tuple[Path, Path], dataset: Path
) -> None:
    _, folder = scored
    document = json.loads((folder / "report" / "metrics.json").read_text())
    for index, model in enumerate(models):
        kept = folder / "masks" / model.name / "ECSSD"
        expected = run_library(kept, dataset / "Mask")
        for one in document["datasets"]:
            scores = one["results"][index]["scores"]
            assert scores == {name: expected[name] for name in scores}
        with open_predictor(model) as predictor, Image.open(kept / "scene1.png") as mask:
            given = predictor(dataset / "Image" / "scene1.jpg")
            np.testing.assert_array_equal(np.asarray(mask), given)


def test_figures_in_the_report(scored: tuple[Result, Path]) -> None:
    report = scored[1] / "report"
    assert sorted(path.name for path in report.iterdir()) == [
        "images.csv", "metrics.csv", "metrics.json", "report.html", "table.md", "table.tex",
    ]  # fmt: skip
    document = json.loads((report / "metrics.json").read_text())
    first, second = document["datasets"][0]["results"]
    for name, value in second["difference_to_first"].items():
        assert value == second["scores"][name] - first["scores"][name]
    assert document["datasets"][0]["published"] == []
    with (report / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["dataset"], row["model"]) for row in rows] == [
        (dataset, model)
        for dataset in ("ECSSD", "mine")
        for model in ("nano.safetensors", "frames.onnx")
    ]
    assert float(rows[1]["s_measure"]) == second["scores"]["s_measure"]
    with (report / "images.csv").open() as file:
        images = list(csv.DictReader(file))
    assert len(images) == 2 * 2 * 6
    mean = np.mean([float(row["mae"]) for row in images[:6]])
    assert mean == pytest.approx(first["scores"]["mae"], rel=1e-12)  # of the same, summed up anew


class Page(HTMLParser):
    """The text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.captions: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [values[name] or "" for name in ("href", "src") if name in values]
        if tag == "img":
            self.sources.append(values["src"] or "")

    def handle_data(self, data: str) -> None:
        self.captions.append(data)


def test_the_page_shows_the_worst_masks_and_needs_no_other_file(
    scored: tuple[Result, Path],
) -> None:
    report = scored[1] / "report"
    text = (report / "report.html").read_text()
    page = Page()
    page.feed(text)
    # For each dataset two images, each with its ground truth and two masks.
    assert len(page.sources) == 2 * 2 * 4
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.links)
    with (report / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    by_stem: dict[str, float] = {}
    for row in rows:
        by_stem[row["stem"]] = min(float(row["s_measure"]), by_stem.get(row["stem"], 1))
    worst = sorted(by_stem, key=by_stem.__getitem__)[:2]
    assert [caption for caption in page.captions if caption.startswith("scene")] == worst * 2
    curves = re.findall(r"<svg x=.*?</svg>", text, flags=re.DOTALL)
    assert len(curves) == 4
    for curve in curves:
        lines = ElementTree.fromstring(curve).findall("{http://www.w3.org/2000/svg}polyline")
        assert [len(line.attrib["points"].split()) for line in lines] == [256, 256]


@in_threads
def test_predictions_of_a_dataset_as_they_are_saved(
    scored: tuple[Result, Path], dataset: Path
) -> None:
    masks = scored[1] / "masks" / "frames.onnx"
    result = run("--predictions", masks, "--dataset", f"ECSSD={dataset}", "--json", "--workers", 1)
    assert result.exit_code == 0, result.stderr
    report = json.loads((scored[1] / "report" / "metrics.json").read_text())
    (found,) = json.loads(result.stdout)["datasets"][0]["results"]
    assert found["scores"] == report["datasets"][0]["results"][1]["scores"]


@in_threads
def test_models_of_one_name_have_different_labels(
    models: tuple[Path, Path], dataset: Path, tmp_path: Path
) -> None:
    twin = artifacts.frames(tmp_path / "frames.onnx")
    datasets = ("--dataset", f"x={dataset}", "--limit", 1, "--workers", 1)
    result = run(models[1], twin, *datasets, "--save-masks", tmp_path / "masks", "--json")
    assert result.exit_code == 0, result.stderr
    (one,) = json.loads(result.stdout)["datasets"]
    assert [found["model"] for found in one["results"]] == [str(models[1]), str(twin)]
    assert set(one["results"][1]["difference_to_first"].values()) == {0}
    kept = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("masks/*/x/*"))
    assert kept == [Path(f"masks/{n}-frames.onnx/x/scene0.png") for n in (1, 2)]


@in_threads
def test_a_part_of_a_dataset_is_called_a_part(models: tuple[Path, Path], dataset: Path) -> None:
    folders = ("--images", dataset / "Image", "--masks", dataset / "Mask")
    result = run(models[1], *folders, "--limit", 2, "--workers", 1)
    assert result.exit_code == 0, result.stderr
    assert "only the first 2 of 6 images" in result.stdout


@in_threads
def test_a_missing_s_measure_is_reported_and_is_null(tmp_path: Path) -> None:
    for name in ("predictions", "ground_truths"):
        (tmp_path / name).mkdir()
        mask = np.zeros((30, 40), np.uint8)
        mask[-1] = 255
        Image.fromarray(mask).save(tmp_path / name / "edge.png")
    arguments = ("--predictions", tmp_path / "predictions", "--masks", tmp_path / "ground_truths")
    result = run(*arguments, "--json", "--workers", 1, "-o", tmp_path / "report")
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)["datasets"][0]["results"][0]["scores"]
    assert scores["s_measure"] is None
    assert scores["iou"] == 1
    assert "the S-measure is undefined" in result.stderr
    assert "edge" in result.stderr


def test_nothing_is_written_when_something_is_wrong(
    models: tuple[Path, Path], dataset: Path, tmp_path: Path
) -> None:
    for name in ("Image", "Mask"):
        (tmp_path / name).mkdir()
        for path in (dataset / name).iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "Mask" / "scene4.png").write_bytes(b"")
    report = tmp_path / "report"
    result = run(models[1], "--dataset", f"x={tmp_path}", "-o", report, "--workers", 1)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "scene4.png" in result.stderr
    assert not report.exists()


def test_an_image_that_a_model_does_not_take_ends_it(dataset: Path, tmp_path: Path) -> None:
    fixed = artifacts.frames(tmp_path / "fixed.onnx", height=7, width=9)
    result = run(fixed, "--dataset", f"x={dataset}", "--workers", 1)
    assert result.exit_code == 1
    assert result.stdout == ""
    note, fault = result.stderr.splitlines()
    assert "probabilities in 8 bits" in note
    assert "scene0.jpg: the image is" in fault


@in_threads
def test_the_form_of_an_artifacts_masks(dataset: Path, tmp_path: Path) -> None:
    """Masks have the paper's form, unless the graph computes them: a notice says so."""
    figures, notes = [], []
    for number, path in enumerate(
        (
            *(artifacts.tensors(tmp_path / f"{form}.onnx", mask_form=form) for form in MaskForm),
            artifacts.stretching(tmp_path / "frames_stretched.onnx", np.float32([3, -1, 2])),
            artifacts.frames(tmp_path / "frames.onnx"),
        )
    ):
        result = run(path, "--dataset", f"x={dataset}", "--json")
        assert result.exit_code == 0, (number, result.stderr)
        (scores,) = json.loads(result.stdout)["datasets"][0]["results"]
        figures.append(scores["scores"])
        notes.append(result.stderr)
    assert figures[0] == figures[1]
    assert notes[:3] == ["", "", ""]
    assert notes[3].count("\n") == 1
    assert "frames.onnx: its masks are probabilities in 8 bits" in notes[3]
    assert "export it with --mask stretched" in notes[3]


def test_masks_are_never_saved_over_a_dataset(models: tuple[Path, Path], dataset: Path) -> None:
    before = (dataset / "Mask" / "scene0.png").read_bytes()
    arguments = ("--dataset", f"Mask={dataset}", "--save-masks", dataset, "--workers", 1)
    result = run(models[1], *arguments)
    assert result.exit_code == 1
    assert "save the masks in another folder" in result.stderr
    assert (dataset / "Mask" / "scene0.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.pth", "--dataset", "x=DIR", "--json", "--table", "latex"], "--json or --table"),
        ([], "give either models to evaluate or --predictions"),
        (["a.onnx", "--predictions", "p", "--masks", "m"], "give either models to evaluate or"),
        (["a.onnx"], "give the ground truth: --dataset DIR or --masks DIR"),
        (["a.onnx", "--masks", "m"], "give --images"),
        (["a.onnx", "--dataset", "=DIR"], "give NAME=DIR or DIR"),
        (["a.onnx", "--dataset", "x=DIR", "--resize"], "--resize applies to --predictions only"),
        (["a.onnx", "--dataset", "x=DIR", "--device", "cpu"], "--device apply to checkpoints only"),
        (
            ["a.pth", "--dataset", "x=DIR", "--provider", "cpu"],
            "--provider applies to ONNX files only",
        ),
        (["a.pth", "--dataset", "x=DIR", "--worst", "3"], "give -o DIR too"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.stderr).split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.onnx", "--dataset", "x={dataset}"], 1, "none.onnx"),
        (["a.onnx", "--dataset", "x={dataset}", "--dataset", "x={dataset}"], 2, "its own name"),
        (["a.onnx", "--dataset", "x/y={dataset}"], 2, "without slashes"),
        (["a.onnx", "--dataset", "x=nowhere"], 1, "nowhere"),
        (["--predictions", "nowhere", "--dataset", "x={dataset}"], 1, "nowhere"),
        (["a.onnx", "a.onnx", "--dataset", "x={dataset}"], 1, "given twice"),
    ],
)
def test_faults_are_one_line(
    arguments: list[str],
    code: int,
    message: str,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts.frames(Path("a.onnx"))
    result = run(*(text.format(dataset=dataset) for text in arguments), "--workers", 1)
    assert result.exit_code == code
    assert result.stderr.startswith("dsunet: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


COUNTING_PACKAGES = """
import sys
from dsunet.cli import app
from dsunet.commands.named_folder import named_folder
try:
    app(prog_name="dsunet")
finally:
    print("loaded:", {"torch", "timm", "sam2", "matplotlib"} & set(sys.modules))
"""


def test_an_artifact_is_evaluated_without_torch(models: tuple[Path, Path], dataset: Path) -> None:
    arguments = [str(models[1]), "--dataset", f"x={dataset}", "--limit", "1", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", COUNTING_PACKAGES, "evaluate", *arguments],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "\nframes.onnx" in done.stdout
    assert done.stdout.endswith("loaded: set()\n")


def test_a_missing_extra_is_named(dataset: Path) -> None:
    code = (
        "import sys; sys.modules['py_sod_metrics'] = None\n"
        "from dsunet.cli import app; app(prog_name='dsunet')"
    )
    folders = ["--predictions", str(dataset / "Predicted"), "--masks", str(dataset / "Mask")]
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", *folders],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    command = install_command("evaluate")
    assert done.stderr == f"dsunet: pysodmetrics is not installed: {command}\n"
