from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import dsunet.training.step
from dsunet import (
    CheckpointError,
    Injection,
    inspect_checkpoint,
    load_encoders,
    load_model,
    random_model,
    resize_inputs,
)
from dsunet.checkpoints.load_and_save import save_model
from dsunet.errors import DataError, TrainingError
from dsunet.network.model import SegmentationLogits
from dsunet.torch_device import TorchDevice
from dsunet.training import train
from dsunet.training.options import TrainingOptions, TrainingPrecision
from dsunet.training.progress_report import ProgressReport
from dsunet.training.run_folder import RunFolder
from dsunet.training.step import Stepper
from dsunet_runtime.plain_values import decode, encode
from tests.training.conftest import SMALL, EncoderFiles, small_run, write_dataset


def read_log(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def test_a_run_learns_and_leaves_everything_behind(dataset: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "runs" / "a", io.StringIO()
    options = small_run(
        dataset, out, epochs=6, val_dataset=dataset, val_count=3, val_every=2, warmup=1
    )
    train(options, ProgressReport(said))

    log = read_log(out)
    assert [row["epoch"] for row in log] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in log] == [2, 4, 6, 8, 10, 12]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    for row in log:
        parts = row["loss_coarse"], row["loss_middle"], row["loss_fine"]
        assert row["loss"] == pytest.approx(np.dot(parts, (0.25, 0.5, 1)))
    assert [row["epoch"] for row in log if "val_s" in row] == [2, 4, 6]
    assert log[-1]["val_s"] > 0.7
    assert re.findall(r"^epoch (\d)/6 ", said.getvalue(), re.MULTILINE) == [*"123456"]

    model = load_model(out / "checkpoint.safetensors")
    assert model.config == SMALL
    assert (out / "best.safetensors").exists()
    config = json.loads((out / "config.json").read_text())
    assert RunFolder(out).read_config().options == options
    assert config["data"]["pairs"] == 7
    assert config["data"]["val_pairs"] == 3
    assert torch.__version__.startswith(config["versions"]["torch"])
    for name in ("curve.png", "overlays/epoch_001.jpg", "overlays/epoch_006.jpg"):
        with Image.open(out / name) as image:
            image.verify()


def test_the_same_seed_gives_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    for name, changes in (("a", {}), ("b", {"workers": 2}), ("c", {"seed": 1})):
        train(small_run(dataset, tmp_path / name, epochs=1, **changes))
    a, b, c = ((tmp_path / name / "checkpoint.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("injection", [Injection.LAST, Injection.NONE])
def test_frozen_encoders_stay_as_they_were(
    injection: Injection, dataset: Path, tmp_path: Path, encoder_files: EncoderFiles
) -> None:
    files: dict[str, Any] = {"sam2": encoder_files.sam2}
    if injection is Injection.LAST:
        files["dinov2"] = encoder_files.dinov2
    config = SMALL.replace(injection=injection)
    options = {"config": config, "epochs": 1, "train_encoders": False, **files}
    train(small_run(dataset, tmp_path / "run", **options))

    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    assert inspect_checkpoint(checkpoint).content == "trained"
    state = load_model(checkpoint, **files).state_dict()
    given = random_model(SMALL, seed=3).state_dict()
    encoders = [key for key in state if key.startswith(("hiera.trunk.", "dino.vit."))]
    assert encoders
    assert all(torch.equal(state[key], given[key]) for key in encoders)
    config_json = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config_json["encoders"] == inspect_checkpoint(checkpoint).encoders

    train(small_run(dataset, tmp_path / "all", save_all=True, **options))
    whole = load_model(tmp_path / "all" / "checkpoint.safetensors").state_dict()
    assert all(torch.equal(whole[key], state[key]) for key in state)


def test_training_goes_on_from_a_checkpoint(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the best one of another run, whose folder is given."""
    model = random_model(SMALL, seed=7)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    start = tmp_path / "other run"
    start.mkdir()
    save_model(model, start / "best.safetensors")
    content = (start / "best.safetensors").read_bytes()
    # Encoders from the checkpoint, frozen; steps so small that what is trained hardly moves.
    options = small_run(
        dataset, tmp_path / "run", config=None, checkpoint=start, lr=1e-6, epochs=1,
        train_encoders=False, save_all=True,
    )  # fmt: skip
    train(options)
    assert f"{start}: using best.safetensors\n" in capsys.readouterr().err
    after = load_model(tmp_path / "run" / "checkpoint.safetensors").state_dict()
    moved = {key for key in before if not torch.equal(after[key], before[key])}
    assert any(key.startswith("rfb.") for key in moved)
    assert not any(key.startswith(("hiera.trunk.", "dino.")) for key in moved)
    for key in moved - {key for key in moved if "running" in key or "batches" in key}:
        torch.testing.assert_close(after[key], before[key], atol=1e-5, rtol=0)
    assert (start / "best.safetensors").read_bytes() == content
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["checkpoint_sha256"] == hashlib.sha256(content).hexdigest()


def test_parts_add_up_to_the_batch(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except for batch norm, which sees one part at a time: here it uses its running statistics."""
    step = Stepper.step

    def with_fixed_norms(self: Stepper, *args: Any) -> Tensor:
        for module in self._forward.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        return step(self, *args)

    monkeypatch.setattr(Stepper, "step", with_fixed_norms)
    start = tmp_path / "start.safetensors"
    save_model(random_model(SMALL, seed=7), start)
    states = []
    for name, parts in (("a", 1), ("b", 2)):
        out = tmp_path / name
        changes = {"config": None, "checkpoint": start, "epochs": 1, "clip": 1.0}
        train(small_run(dataset, out, accumulate=parts, **changes))
        states.append(load_model(out / "checkpoint.safetensors").state_dict())
    one, other = (torch.cat([t.flatten() for t in state.values()]) for state in states)
    # Two steps of AdamW at 1e-3 whatever the gradient's size: almost all of them agree, and
    # rounding turns round those whose gradient is almost nothing.
    assert torch.isclose(one, other, rtol=0, atol=1e-4).float().mean() > 0.98


def test_bf16_learns(dataset: Path, tmp_path: Path) -> None:
    train(small_run(dataset, tmp_path / "run", precision=TrainingPrecision.BF16))
    log = read_log(tmp_path / "run")
    assert log[-1]["loss"] < log[0]["loss"]


def test_fp16_is_for_gpus(dataset: Path, tmp_path: Path) -> None:
    options = small_run(
        dataset, tmp_path / "run", precision=TrainingPrecision.FP16, device=TorchDevice.CPU
    )
    with pytest.raises(TrainingError, match="use --precision bf16"):
        train(options)


def test_a_second_run_does_not_overwrite_the_first(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(small_run(dataset, out, epochs=1))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(TrainingError, match=f"resume it with --resume {out}"):
        train(small_run(dataset, out, epochs=1))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_all_faults_of_the_data_are_listed_before_training(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", 4, seed=2)
    (dataset / "Image" / "001.jpg").write_bytes(b"nothing")
    Image.new("L", (7, 7)).save(dataset / "Mask" / "003.png")
    with pytest.raises(DataError) as fault:
        train(small_run(dataset, tmp_path / "run"))
    assert "001.jpg" in str(fault.value)
    assert "003.jpg" in str(fault.value)
    assert not (tmp_path / "run").exists()


def test_missing_weights_leave_no_run_behind(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--sam2 and --dinov2"):
        train(small_run(dataset, tmp_path / "run", train_encoders=False))
    with pytest.raises(CheckpointError, match="needs DINOv2"):
        train(small_run(dataset, tmp_path / "run", sam2=Path("x.pt")))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_the_run(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dsunet.training.step.stage_losses
    steps = 0

    def broken(logits: SegmentationLogits, mask: Tensor, *, weighted_bce: bool) -> Tensor:
        nonlocal steps
        steps += 1
        return real(logits, mask, weighted_bce=weighted_bce) * (torch.nan if steps == 4 else 1)

    monkeypatch.setattr(dsunet.training.step, "stage_losses", broken)
    with pytest.raises(TrainingError, match="the loss of step 2 of epoch 2 is not finite"):
        train(small_run(dataset, tmp_path / "run"))
    state = torch.load(tmp_path / "run" / "state" / "state.pt", weights_only=True)
    assert state["position"]["epoch"] == 1
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_too_little_memory_is_one_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB\nGPU 0 has")

    monkeypatch.setattr(dsunet.training.step, "stage_losses", full)
    with pytest.raises(TrainingError, match="--accumulate, use --checkpointing") as fault:
        train(small_run(dataset, tmp_path / "run"))
    assert "\n" not in str(fault.value)


def test_a_file_that_vanishes_during_training_is_one_line(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", 4, seed=2)

    class Vanishing(ProgressReport):
        def epoch(self, row: Any, epochs: int) -> None:
            (dataset / "Image" / "001.jpg").unlink()

    with pytest.raises(DataError, match=r"001\.jpg") as fault:
        train(small_run(dataset, tmp_path / "run", workers=1, epochs=4), Vanishing())
    assert "\n" not in str(fault.value)


def test_options_survive_json(tmp_path: Path) -> None:
    options = TrainingOptions(
        output=tmp_path, datasets=(Path("a"), Path("b")), config=SMALL, clip=0.5, cache=Path("c"),
        precision=TrainingPrecision.BF16, val_dataset=Path("v"), deep_supervision=(0, 0, 1),
    )  # fmt: skip
    assert through_json(options) == options
    plain = TrainingOptions(output=tmp_path, images=Path("i"), masks=Path("m"))
    assert through_json(plain) == plain


def through_json(options: TrainingOptions) -> TrainingOptions:
    return decode(TrainingOptions, json.loads(json.dumps(encode(options))), exact=True)


def test_paths_hold_in_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = TrainingOptions(output=Path("run"), datasets=(Path("a"), Path("/b")), dinov2="vit.pth")
    assert files.absolute() == TrainingOptions(
        output=tmp_path / "run",
        datasets=(tmp_path / "a", Path("/b")),
        dinov2=str(tmp_path / "vit.pth"),
    )
    hub = TrainingOptions(output=tmp_path, datasets=(tmp_path,), dinov2="timm:vit")
    assert hub.absolute() == hub


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ()}, "give either --images and --masks, or --dataset"),
        ({"images": Path("i")}, "omit --images and --masks"),
        ({"val_images": Path("i")}, "give either --val-images and --val-masks"),
        ({"batch": 10, "accumulate": 4}, "a multiple of 4"),
        ({"epochs": 0}, "--epochs is 0: it must be from 1 to 1,000,000,000"),
        ({"vertical_flip": 1.5}, "--vertical-flip is 1.5: it must be from 0 to 1"),
        ({"blend_hiera": -0.1}, "--blend-hiera is -0.1: it must be from 0 to 1"),
        ({"mismatch": 1.5}, "--mismatch is 1.5: it must be from 0 to 1"),
        ({"dino_loss": math.inf, "train_encoders": True}, "--dino-loss is inf"),
        (
            {"dino_loss": 1.0, "train_encoders": False},
            "--dino-loss trains DINOv2, which is frozen: add --train-encoders",
        ),
        ({"lr": 0}, "--lr is 0: it must be more than 0"),
        ({"deep_supervision": (0, 0, 0)}, "not all of them 0"),
        ({"deep_supervision": (1, 1, math.nan)}, "0 or more and finite"),
        ({"lr": math.inf}, "--lr is inf: it must be more than 0, and finite"),
        ({"lr": math.nan}, "--lr is nan"),
        ({"min_lr": math.inf}, "--min-lr is inf"),
        ({"save_every": math.nan}, "--save-every is nan"),
        ({"clip": math.inf}, "--clip is inf"),
        ({"seed": 2**64}, "--seed is 18446744073709551616: it must be from 0 to"),
        ({"epochs": 10**400}, "--epochs is 1000"),
        ({"workers": 10**12}, "--workers is 1000000000000"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        small_run(Path("d"), Path("o"), **changes)


def test_the_paper_is_the_default() -> None:
    options = TrainingOptions(output=Path("o"), datasets=(Path("d"),))
    assert (options.epochs, options.batch, options.lr, options.min_lr) == (50, 8, 1e-3, 1e-7)
    assert options.weight_decay == 5e-4
    assert (options.horizontal_flip, options.vertical_flip) == (0.5, 0.5)
    assert options.deep_supervision == (0.25, 0.5, 1)
    assert not options.weighted_bce
    assert not options.train_encoders


def test_a_checkpoint_is_fine_tuned_at_other_sizes(
    dataset: Path, encoder_files: EncoderFiles, tmp_path: Path
) -> None:
    """The result has the new sizes, and loads with the official files of its frozen encoders."""
    start = tmp_path / "start.safetensors"
    model = random_model(SMALL, seed=4)
    load_encoders(model, sam2=encoder_files.sam2, dinov2=encoder_files.dinov2)
    save_model(model, start, only_trained=True)
    official = {"sam2": encoder_files.sam2, "dinov2": encoder_files.dinov2}
    out = tmp_path / "run"
    options = small_run(
        dataset, out, config=None, checkpoint=start, epochs=1, train_encoders=False,
        hiera_size=160, dino_size=56, **official,
    )  # fmt: skip
    train(options, ProgressReport(io.StringIO()))
    tuned = load_model(out / "checkpoint.safetensors", **official)
    assert tuned.config == SMALL.resized(hiera_size=160, dino_size=56)
    expected = resize_inputs(model, hiera_size=160, dino_size=56).state_dict()
    frozen = {key for key in expected if key.startswith(("hiera.trunk.", "dino."))}
    for key, tensor in tuned.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, expected[key]) is (key in frozen), key
    assert RunFolder(out).read_config().options == options
