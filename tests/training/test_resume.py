"""A run that is killed, at any moment, ends like one that is not: bit for bit."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

import dsunet.checkpoint
from dsunet import random_model
from dsunet.errors import TrainingError
from dsunet.training import resume, train
from dsunet.training.folder import RunFolder
from dsunet.training.options import TrainingOptions
from dsunet.training.report import Report
from dsunet.training.state import Position, load_state, save_state
from dsunet.training.step import Stepper
from tests.training.conftest import SMALL, small_run, write_dataset


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number: int, function: Callable[..., Any], moment: Callable[..., Any]) -> Any:
    """The function, but at its nth call `moment` instead."""
    calls = 0

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return (moment if calls == number else function)(*args, **kwargs)

    return counting


def before_the_first_step() -> None:
    Stepper.step = at_call(1, Stepper.step, lambda *_: die())  # type: ignore[method-assign]


def after_three_steps() -> None:
    Stepper.step = at_call(4, Stepper.step, lambda *_: die())  # type: ignore[method-assign]


def in_the_middle_of_a_state() -> None:
    def half(state: Any, file: Any) -> None:
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        die()

    save = torch.save
    torch.save = at_call(3, save, half)


def in_the_middle_of_a_checkpoint() -> None:
    def half(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"\x40" * 1000)
        die()

    save = dsunet.checkpoint.save_file
    dsunet.checkpoint.save_file = at_call(3, save, half)  # type: ignore[attr-defined]


def between_log_and_state() -> None:
    def log_and_die(*args: Any) -> None:
        write(*args)
        die()

    write = RunFolder.write_log
    RunFolder.write_log = at_call(2, write, log_and_die)  # type: ignore[method-assign]


MOMENTS = (
    before_the_first_step,
    after_three_steps,
    in_the_middle_of_a_state,
    in_the_middle_of_a_checkpoint,
    between_log_and_state,
)


def options(dataset: Path, out: Path) -> TrainingOptions:
    return small_run(dataset, out, val_dataset=dataset, val_count=2, warmup=1, clip=1, save_every=0)


def outcome(out: Path) -> tuple[bytes, bytes, list[dict[str, str]]]:
    """Both checkpoints, and the log without what the clock says."""
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"], row["images_per_s"]
    names = ("checkpoint", "best")
    last, best = ((out / f"{name}.safetensors").read_bytes() for name in names)
    return last, best, rows


@pytest.fixture(scope="module")
def uninterrupted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "uninterrupted"
    train(options(dataset, out))
    return out


def in_a_process(function: Callable[[], None]) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=function)
    process.start()
    return process  # type: ignore[return-value]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at(
    moment: Callable[[], None], dataset: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    def run() -> None:
        moment()
        train(options(dataset, tmp_path / "run"))

    killed = in_a_process(run)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL

    resume(tmp_path / "run")

    assert outcome(tmp_path / "run") == outcome(uninterrupted)
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_killed_again_and_again_from_outside(
    dataset: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    out = tmp_path / "run"
    kills = 0
    process = in_a_process(lambda: train(options(dataset, out)))
    for delay in (0.3, 0.7, 1.1, 60, 60):
        while process.is_alive() and not (out / "state" / "state.pt").exists():
            time.sleep(0.05)
        process.join(delay)
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
        if process.exitcode == 0:
            break
        process = in_a_process(lambda: resume(out))
    assert kills
    assert process.exitcode == 0
    assert outcome(out) == outcome(uninterrupted)


def test_a_state_each_epoch_is_enough(dataset: Path, tmp_path: Path) -> None:
    """As by default, where minutes pass between states, and with workers and an odd last batch."""
    changes = {"workers": 1, "accumulate": 2}
    train(small_run(dataset, tmp_path / "whole", **changes))

    def run() -> None:
        after_three_steps()
        train(small_run(dataset, tmp_path / "run", **changes))

    in_a_process(run).join()
    resume(tmp_path / "run")
    files = [tmp_path / name / "checkpoint.safetensors" for name in ("whole", "run")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_scaler_of_fp16_goes_on(tmp_path: Path) -> None:
    """Of PyTorch's scaler for the CPU: training in fp16 is for GPUs."""
    scales = []
    for begins in (True, False):
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0 if begins else 2.0)
        precision = MixedPrecision("16-mixed", device="cpu", scaler=scaler)
        fabric = Fabric(accelerator="cpu", devices=1, plugins=[precision])
        model = random_model(SMALL)
        optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
        if begins:
            save_state(tmp_path / "state.pt", model, optimizer, fabric, Position(epoch=3))
        else:
            assert load_state(tmp_path / "state.pt", model, optimizer, fabric).epoch == 3
        scales.append(scaler.state_dict())
    assert scales[0] == scales[1]
    assert scales[0]["scale"] == 8


def test_other_versions_are_said(dataset: Path, tmp_path: Path, uninterrupted: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(uninterrupted, out)
    config = (out / "config.json").read_text()
    (out / "config.json").write_text(config.replace(torch.__version__.split("+")[0], "1.0"))
    said = io.StringIO()
    resume(out, Report(said))
    assert "not the torch it began with" in said.getvalue()


def test_a_finished_run_stays_as_it_is(uninterrupted: Path) -> None:
    before = outcome(uninterrupted)
    resume(uninterrupted)
    assert outcome(uninterrupted) == before


def test_other_images_are_refused(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", 4, seed=1)
    train(small_run(dataset, tmp_path / "run", epochs=1))
    mask = dataset / "Mask" / "002.png"
    mask.write_bytes(mask.read_bytes() + b"\0")
    with pytest.raises(TrainingError, match="images or masks are not those"):
        resume(tmp_path / "run")


def test_a_damaged_state_is_named(dataset: Path, tmp_path: Path) -> None:
    train(small_run(dataset, tmp_path / "run", epochs=1))
    state = tmp_path / "run" / "state" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"state\.pt cannot be gone on with"):
        resume(tmp_path / "run")


def test_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has no run to go on with: no config\.json"):
        resume(tmp_path)
