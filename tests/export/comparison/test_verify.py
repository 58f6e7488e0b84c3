"""`dsunet-export verify` end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

import dsunet_runtime
from dsunet import DSUNetConfig, random_model, resize_inputs, save_model
from dsunet.reports.contact_sheet import TITLE_HEIGHT
from dsunet_export.cli import app
from dsunet_export.comparison.comparison_report import TILE
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD, MaskForm
from dsunet_runtime.backends.onnxruntime.backend import OnnxRuntimeBackend
from dsunet_runtime.errors import OutputError, SelfTestError
from dsunet_runtime.images.decode import encoder_input
from tests.export.helpers import SMALL, command
from tests.runtime import artifacts
from tests.runtime.selftests import cases_for, give_selftest


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verify", *(str(argument) for argument in arguments)])


def document(*arguments: object) -> dict[str, Any]:
    result = verify(*arguments, "--json", "--tolerance", 255)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """Three images; `c` is noise."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(photo[::-1]).save(folder / "b.png")
    noise = np.random.default_rng(3).integers(0, 256, photo.shape, dtype=np.uint8)
    Image.fromarray(noise).save(folder / "c.png")
    return folder


def test_differences_are_those_of_the_arithmetic(folder: Path, tmp_path: Path) -> None:
    """Graphs of which one weighs its input two per cent more."""
    a = artifacts.tensors(tmp_path / "a.onnx", scale=3, dino=False)
    b = artifacts.tensors(tmp_path / "b.onnx", scale=3.06, dino=False)
    found = document(a, b, "--images", folder)
    assert [row["label"] for row in found["each"]] == ["a.png", "b.png", "c.png"]
    for row in found["each"]:
        rgb = np.asarray(Image.open(folder / row["label"]))
        hiera = encoder_input(rgb, artifacts.HIERA, IMAGENET_MEAN, IMAGENET_STD)
        expected = artifacts.expected_logits(hiera, None)
        logits = row["tensors"]["logits"]
        assert logits["largest"] == pytest.approx(0.02 * np.abs(expected).max(), rel=1e-3)
        assert logits["mean"] == pytest.approx(0.02 * np.abs(expected).mean(), rel=1e-3)
        assert logits["largest_relative"] == pytest.approx(0.02, rel=1e-2)
        assert logits["cosine"] == pytest.approx(1)
    summary = found["outputs"]["logits"]["largest"]
    each = [row["tensors"]["logits"]["largest"] for row in found["each"]]
    assert summary["percentiles"] == pytest.approx(np.percentile(each, [50, 90, 99]))
    assert summary["worst"] == max(each)
    assert found["each"][each.index(max(each))]["label"] == summary["image"]


def test_names_that_are_not_utf_8(folder: Path, tmp_path: Path) -> None:
    (folder / "c.png").rename(folder / "c\udcff.png")
    a = artifacts.tensors(tmp_path / "a.onnx", scale=3, dino=False)
    b = artifacts.tensors(tmp_path / "b.onnx", scale=3.06, dino=False)
    found = document(a, b, "--images", folder, "-o", tmp_path / "report")
    assert [row["label"] for row in found["each"]] == ["a.png", "b.png", "c\\xff.png"]
    assert json.loads((tmp_path / "report/verify.json").read_text("utf-8")) == found
    assert (tmp_path / "report/verify.html").read_text("utf-8")
    renamed = a.rename(tmp_path / "a\udcfe.onnx")
    refused = verify(renamed, b, "--images", folder)
    assert refused.exit_code == 1
    assert "a\\xfe.onnx: ONNX Runtime cannot open a path that is not UTF-8" in refused.stderr


def test_the_result_is_printed_before_it_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OutputError("verify.json: cannot be written: No space left on device")

    monkeypatch.setattr("dsunet_export.comparison.comparison_report.write_comparison", fail)
    a = artifacts.tensors(tmp_path / "a.onnx", scale=3, dino=False)
    result = verify(a, a, "--images", folder, "--json", "-o", tmp_path / "report")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["each"]) == 3
    assert result.stderr.endswith("No space left on device\n")
    assert not (tmp_path / "report").exists()


def test_a_checkpoint_beside_its_export(frames: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "nano.safetensors"
    save_model(random_model(DSUNetConfig.preset("nano"), 0), checkpoint)
    result = verify(checkpoint, frames, "-o", tmp_path / "report")
    # Within the default tolerance, which is one level: found were 0.01 and less.
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report" / "verify.html").read_text()
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("<svg") == 3
    with Image.open(tmp_path / "report" / "worst.png") as picture:
        assert picture.size == (4 * TILE, TITLE_HEIGHT + TILE)  # four tiles under their titles
        titles = np.asarray(picture.convert("L"))[:TITLE_HEIGHT].reshape(TITLE_HEIGHT, 4, TILE)
        assert (titles.max(axis=(0, 2)) > 200).all()
    assert json.loads((tmp_path / "report" / "verify.json").read_text())["images"] == 2


def test_a_checkpoint_is_compared_at_the_sizes_of_the_artifact(
    frames: Path, tmp_path: Path
) -> None:
    """`frames` stands for an export at 224 of a checkpoint that has DINOv2 at 112."""
    config = DSUNetConfig.preset("nano")
    model = resize_inputs(random_model(config, 0), dino_size=112)
    checkpoint = tmp_path / "other.safetensors"
    save_model(model, checkpoint)
    result = verify(checkpoint, frames, "--tolerance", 255)
    assert result.exit_code == 0, result.output
    assert (
        "other.safetensors: runs with inputs of 160 (hiera) and 224 (dino) pixels, instead of its "
        "own 160 (hiera) and 112 (dino)\n"
    ) in result.stderr
    assert "the input sizes differ" not in result.stderr


def test_other_input_sizes_are_named(folder: Path, tmp_path: Path) -> None:
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    model = random_model(SMALL, 0)
    for path, size in zip(paths, (98, 56), strict=True):
        save_model(resize_inputs(model, dino_size=size), path)
    result = verify(*paths, "--images", folder, "--tolerance", 255)
    assert result.exit_code == 0, result.output
    assert (
        f"the input sizes differ, 160 (hiera) and 98 (dino) pixels in {paths[0]} and 160 (hiera) "
        f"and 56 (dino) in {paths[1]}: so will the masks"
    ) in result.stderr


def test_percentiles_grow_towards_the_worse(folder: Path, tmp_path: Path) -> None:
    a = artifacts.tensors(tmp_path / "a.onnx", scale=3)
    b = artifacts.tensors(tmp_path / "b.onnx", scale=-3)
    outputs = document(a, b, "--images", folder)["outputs"]
    for measure in ("iou", "s_measure"):
        low = outputs["mask"][measure]
        assert low["percentiles"] == sorted(low["percentiles"], reverse=True)
        assert low["worst"] <= low["percentiles"][-1]
    high = outputs["mask"]["mean"]
    assert high["percentiles"] == sorted(high["percentiles"])
    assert high["worst"] >= high["percentiles"][-1]


def test_beyond_the_tolerance(folder: Path, tmp_path: Path) -> None:
    a = artifacts.tensors(tmp_path / "a.onnx", scale=3)
    b = artifacts.tensors(tmp_path / "b.onnx", scale=6)
    done = command("verify", a, b, "--images", folder, "-o", tmp_path / "report")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.match(r"dsunet-export: on \w\.png the masks differ by .* levels on average", line)
    assert "--bisect keep.txt" in line
    # The worst image is printed nevertheless, in one line.
    (printed,) = done.stdout.splitlines()
    found = json.loads((tmp_path / "report" / "verify.json").read_text())
    mean = found["outputs"]["mask"]["mean"]
    words = f"the worst {mean['image']}: masks differ by {mean['worst']:.3g} levels on average"
    assert f"on 3 images, {words} (tolerance 1)" in printed
    assert (tmp_path / "report" / "worst.png").exists()
    assert verify(a, b, "--images", folder, "--tolerance", 255).exit_code == 0


def test_verbose(folder: Path, tmp_path: Path) -> None:
    a = artifacts.tensors(tmp_path / "a.onnx", scale=3)
    *table, last = verify(a, a, "--images", folder, "-v").stdout.splitlines()
    assert [last] == verify(a, a, "--images", folder).stdout.splitlines()
    measures = {line[:28].strip() for line in table[1:] if line}
    assert {"logits largest", "logits cosine", "mask mean", "mask IoU at 0.5"} <= measures


def test_probabilities_are_compared_with_probabilities(folder: Path, tmp_path: Path) -> None:
    stretched = artifacts.tensors(tmp_path / "a.onnx")
    probability = artifacts.tensors(tmp_path / "b.onnx", mask_form=MaskForm.PROBABILITY)
    result = verify(stretched, probability, "--images", folder)
    assert result.exit_code == 1
    assert "export both with the same --mask" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "nowhere"], "nowhere: No such file"),
        (["--provider", "cuda"], "cuda"),
        (["-o", "file"], "is a file"),
        (["--images", "empty", "-o", "out"], "no images in this folder"),
        (["--images", "broken", "-o", "out"], "text.png: "),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts.tensors(tmp_path / "a.onnx")
    (tmp_path / "file").touch()
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken/text.png").write_text("no image")
    done = command("verify", "a.onnx", "a.onnx", *options)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["a.onnx", "b.onnx"], ["--device", "cpu"], "--device are for checkpoints"),
        (["a.onnx", "b.engine"], ["--sam2", "sam2.pt"], "--sam2, --dinov2"),
        (["a.engine", "b.engine"], ["--dinov2", "timm:x"], "--sam2, --dinov2"),
        (["a.pth", "b.engine"], ["--provider", "cuda"], "--provider is for ONNX files"),
    ],
)
def test_options_for_neither_are_wrong_usage(
    tmp_path: Path, files: list[str], options: list[str], message: str
) -> None:
    report = tmp_path / "report"
    result = verify(*(tmp_path / file for file in files), *options, "-o", report)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not report.exists()


def test_what_its_own_test_finds_wrong_is_compared(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load` refuses it, and this command is to show what is wrong with it."""
    monkeypatch.setattr(OnnxRuntimeBackend, "machine", ("a GPU",))
    a = artifacts.frames(tmp_path / "a.onnx")
    wrong = artifacts.frames(tmp_path / "b.onnx", weights=np.float32([1, 0, 0]))
    give_selftest(wrong, cases_for())
    with pytest.raises(SelfTestError):
        dsunet_runtime.load(wrong)
    assert document(a, wrong, "--images", folder)["worst"]


def test_a_folder_without_images_is_noticed_before_anything_is_loaded(tmp_path: Path) -> None:
    result = verify(tmp_path / "absent.pth", tmp_path / "absent.pth", "--images", tmp_path)
    assert result.exit_code == 1
    assert "no images in this folder" in result.stderr


def test_sizes_must_fit_each_other(tmp_path: Path) -> None:
    a = artifacts.frames(tmp_path / "a.onnx", height=20, width=30)
    b = artifacts.frames(tmp_path / "b.onnx", height=30, width=20)
    result = verify(a, b)
    assert result.exit_code == 1
    assert "the fixed image sizes differ, 20×30 and 30×20" in result.stderr
    # Images are resized to the one size that there is.
    assert document(a, artifacts.frames(tmp_path / "c.onnx"))["images"] == 2
