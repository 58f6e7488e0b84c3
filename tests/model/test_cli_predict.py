"""`dsunet predict`, and commands that take a run folder or choose one of several networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from dsunet import DSUNet, save_model
from dsunet.cli import app
from dsunet_export.cli import app as export_app
from dsunet_runtime.cli import app as runtime_app
from tests.model.weights import public_state
from tests.once_per_structure import once_per_structure

__all__ = ["once_per_structure"]

ASSETS = Path(__file__).parents[2] / "assets"


def dsunet(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def dsunet_export(*arguments: object) -> Result:
    return CliRunner().invoke(export_app, [str(argument) for argument in arguments])


def dsunet_run(*arguments: object) -> Result:
    return CliRunner().invoke(runtime_app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(nano: DSUNet, other: DSUNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run folder; the best one is `nano`."""
    folder = tmp_path_factory.mktemp("runs") / "sod"
    folder.mkdir()
    save_model(nano, folder / "best.safetensors")
    save_model(other, folder / "checkpoint.safetensors")
    return folder


@pytest.fixture(scope="module")
def both(nano: DSUNet, other: DSUNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two networks; the average is `other`."""
    path = tmp_path_factory.mktemp("both") / "both.pth"
    torch.save({"model": public_state(nano), "ema": public_state(other)}, path)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "held-out"
    assert dsunet("generate", "-o", folder, "--count", 3, "--size", 96).exit_code == 0
    return folder


def test_masks_are_those_of_an_evaluation(run: Path, dataset: Path, tmp_path: Path) -> None:
    """Predict masks in the paper's form, which the metrics are computed for."""
    images, form = dataset / "Image", ("--mask", "stretched")
    done = dsunet("predict", run, images, "-o", tmp_path / "masks", "--overlay", *form)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("3 masks, 0 failed, ")
    assert done.stderr == f"dsunet: {run}: using best.safetensors\n"
    kept = tmp_path / "kept"
    evaluated = dsunet(
        "evaluate", run, "--dataset", f"held-out={dataset}", "--save-masks", kept, "--json"
    )
    assert evaluated.exit_code == 0, evaluated.output
    assert evaluated.stderr == f"dsunet: {run}: using best.safetensors\n"
    (result,) = json.loads(evaluated.stdout)["datasets"][0]["results"]
    assert result["model"] == "sod"
    masks = sorted(path.name for path in (tmp_path / "masks").glob("*.png"))
    assert masks == ["0000.png", "0001.png", "0002.png"]
    for name in masks:
        mask = (tmp_path / "masks" / name).read_bytes()
        assert mask == (kept / "held-out" / name).read_bytes()
    assert len([*(tmp_path / "masks").glob("*_overlay.jpg")]) == 3


def test_options_reach_the_prediction(both: Path, tmp_path: Path) -> None:
    photo = ASSETS / "astronaut.jpg"
    made = {}
    for name, options in {
        "ema": (),
        "model": ("--weights", "model"),
        "batch": ("--weights", "model", "--batch", 2, "--device", "cpu"),
        "stretched": ("--weights", "model", "--mask", "stretched"),
    }.items():
        done = dsunet("predict", both, photo, "-o", tmp_path / name, *options)
        assert done.exit_code == 0, done.output
        assert done.stderr == (
            f"dsunet: {both}: using the averaged weights ema (--weights model)\n"
            if name == "ema"
            else ""
        )
        with Image.open(tmp_path / name / "astronaut.png") as mask:
            made[name] = np.asarray(mask)
    assert made["stretched"].max() in (254, 255)  # truncated, as the paper's is
    assert np.array_equal(made["model"], made["batch"])
    assert not np.array_equal(made["model"], made["ema"])
    assert not np.array_equal(made["model"], made["stretched"])


def test_no_checkpoint_is_loaded_if_all_files_exist(tmp_path: Path) -> None:
    (tmp_path / "astronaut.png").touch()
    (tmp_path / "empty.pth").touch()
    options = ("-o", tmp_path, "--skip-existing")
    done = dsunet("predict", tmp_path / "empty.pth", ASSETS / "astronaut.jpg", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("0 masks, 0 failed, 1 skipped, ")


def test_an_image_that_fails_is_reported_and_the_rest_is_processed(
    run: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    photo = ASSETS / "astronaut.jpg"
    done = dsunet("predict", run, tmp_path / "broken.jpg", photo, "-o", tmp_path / "masks")
    assert done.exit_code == 1
    assert done.stdout.startswith("1 mask, 1 failed, ")
    assert f"dsunet: {tmp_path / 'broken.jpg'}: " in done.stderr
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["astronaut.png"]


def test_weights_of_zeros_make_no_masks(nano: DSUNet, tmp_path: Path) -> None:
    zeros = {name: torch.zeros_like(value) for name, value in nano.state_dict().items()}
    torch.save(zeros, tmp_path / "zero.pth")
    photo = ASSETS / "astronaut.jpg"
    done = dsunet("predict", tmp_path / "zero.pth", photo, "-o", tmp_path / "masks")
    assert done.exit_code == 1
    assert done.stdout.startswith("0 masks, 1 failed, ")
    assert f"dsunet: {photo}: the network's output is the same at every pixel" in done.stderr
    assert not (tmp_path / "masks").exists()


def test_no_checkpoint_leaves_no_folder(tmp_path: Path) -> None:
    done = dsunet("predict", tmp_path, ASSETS / "astronaut.jpg", "-o", tmp_path / "masks")
    assert done.exit_code == 1
    assert "is a folder without a checkpoint" in done.stderr
    assert not (tmp_path / "masks").exists()


def test_other_commands_take_the_run_and_the_choice(
    run: Path, both: Path, nano: DSUNet, tmp_path: Path
) -> None:
    taken = f"dsunet: {run}: using best.safetensors\n"
    shown = dsunet("inspect", run)
    assert (shown.exit_code, shown.stderr) == (0, taken)
    assert str(run / "best.safetensors") in shown.stdout
    shown = dsunet("inspect", both, "--weights", "model")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "model, of model, ema" in shown.stdout
    out = tmp_path / "out.safetensors"
    assert dsunet("convert", run, "-o", out).stderr == taken
    assert out.read_bytes() == (run / "best.safetensors").read_bytes()
    assert dsunet("convert", both, "-o", out, "--weights", "model").stderr == ""
    assert out.read_bytes() == (run / "best.safetensors").read_bytes()


def test_export_and_verify_take_the_run_and_the_choice(
    run: Path, both: Path, tmp_path: Path
) -> None:
    artifact = tmp_path / "nano.onnx"
    done = dsunet_export("onnx", run, "-o", artifact, "--input", "tensors", "--no-verify")
    assert done.exit_code == 0, done.output
    assert f"dsunet-export: {run}: using best.safetensors\n" in done.stderr
    check_same_masks(run, artifact, tmp_path)
    assert "best.safetensors" in dsunet_export("inspect", artifact).stdout
    done = dsunet_export("verify", run, artifact)
    assert done.exit_code == 0, done.output
    assert dsunet_export("verify", both, artifact, "--weights", "model").exit_code == 0
    assert dsunet_export("verify", both, artifact, "--weights", "ema").exit_code == 1
    assert dsunet_export("verify", artifact, artifact, "--weights", "ema").exit_code == 2


def check_same_masks(run: Path, artifact: Path, folder: Path) -> None:
    """By default, both `predict` commands write masks of probabilities."""
    photo, masks = ASSETS / "astronaut.jpg", []
    for program, model in ((dsunet, run), (dsunet_run, artifact)):
        done = program("predict", model, photo, "-o", folder / "mask.png")
        assert done.exit_code == 0, done.output
        with Image.open(folder / "mask.png") as mask:
            masks.append(np.asarray(mask).astype(int))
    assert np.abs(masks[0] - masks[1]).max() <= 1  # rounding
    assert masks[0].min() > 0  # stretched, a mask has a 0


def test_explain_takes_the_run(run: Path, tmp_path: Path) -> None:
    done = dsunet(
        "explain", ASSETS / "astronaut.jpg", "--checkpoint", run, "-o", tmp_path / "levels.png",
        "--points", 10,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stderr == f"dsunet: {run}: using best.safetensors\n"


def test_weights_without_a_checkpoint_are_wrong_usage(tmp_path: Path) -> None:
    image = ASSETS / "astronaut.jpg"
    for arguments in (
        ["explain", image, "--preset", "nano", "--weights", "ema", "-o", tmp_path / "levels.png"],
        ["evaluate", "a.onnx", "--weights", "ema", "--dataset", f"x={tmp_path}"],
    ):
        done = dsunet(*arguments)
        assert done.exit_code == 2
        assert "--weights" in done.stderr
