"""A run that is killed at any moment, and resumed, ends bitwise like an uninterrupted one."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

import dsunet.checkpoints.weight_files
import dsunet.training.state
from dsunet import random_model
from dsunet.errors import DataError, DSUNetError, TrainingError
from dsunet.training import resume, train
from dsunet.training.options import TrainingOptions
from dsunet.training.progress_report import ProgressReport
from dsunet.training.run_folder import RunFolder
from dsunet.training.schedule import learning_rate
from dsunet.training.state import Position, load_state, save_state, saved_position
from dsunet.training.training_network import TrainingNetwork
from dsunet_runtime.files import clear_leftovers
from tests.damage import damaged
from tests.training.conftest import SMALL, EncoderFiles, small_run, write_dataset
from tests.training.interruptions import (
    MOMENTS,
    after_one_step,
    after_three_steps,
    in_a_process,
)


def options(dataset: Path, out: Path) -> TrainingOptions:
    return small_run(dataset, out, val_dataset=dataset, val_count=2, warmup=1, clip=1, save_every=0)


def outcome(out: Path) -> tuple[bytes, bytes, list[dict[str, str]]]:
    """The bytes of both checkpoints, and the log without its times."""
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
    """The defaults: minutes between two saved states, workers, and a smaller last batch."""
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
    """PyTorch's gradient scaler for the CPU; fp16 training is for GPUs."""
    scales = []
    for begins in (True, False):
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0 if begins else 2.0)
        precision = MixedPrecision("16-mixed", device="cpu", scaler=scaler)
        fabric = Fabric(accelerator="cpu", devices=1, plugins=[precision])
        network = TrainingNetwork(random_model(SMALL), options(tmp_path, tmp_path))
        optimizer = torch.optim.AdamW(p for p in network.parameters() if p.requires_grad)
        if begins:
            save_state(tmp_path / "state.pt", "id", network, optimizer, fabric, Position(epoch=3))
        else:
            assert load_state(tmp_path / "state.pt", "id", network, optimizer, fabric).epoch == 3
        scales.append(scaler.state_dict())
    assert scales[0] == scales[1]
    assert scales[0]["scale"] == 8


def test_other_versions_are_reported(dataset: Path, tmp_path: Path, uninterrupted: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(uninterrupted, out)
    folder = RunFolder(out)
    config = folder.read_config()
    folder.write_config(dataclasses.replace(config, versions=config.versions | {"torch": "1.0"}))
    said = io.StringIO()
    resume(out, ProgressReport(said))
    assert "versions differ from the start of the run (torch)" in said.getvalue()


def test_a_finished_run_stays_as_it_is(uninterrupted: Path) -> None:
    before = outcome(uninterrupted)
    resume(uninterrupted)
    assert outcome(uninterrupted) == before


def test_other_images_are_refused(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", 4, seed=1)
    train(small_run(dataset, tmp_path / "run", epochs=1))
    mask = dataset / "Mask" / "002.png"
    mask.write_bytes(mask.read_bytes() + b"\0")
    with pytest.raises(TrainingError, match="images or masks have changed since"):
        resume(tmp_path / "run")


def test_a_dataset_that_moved(tmp_path: Path) -> None:
    """With the path in config.json changed, as the message advises, the run resumes."""
    dataset, run = write_dataset(tmp_path / "data", 4, seed=1), tmp_path / "run"
    train(small_run(dataset, run, epochs=1))
    dataset.rename(tmp_path / "moved")
    remedy = f"restore it at that path, or change the path in {run}/config.json and set its check"
    with pytest.raises(DataError, match=re.escape(f"{dataset}: is not a folder: {remedy}")):
        resume(run)
    values = json.loads((run / "config.json").read_text())
    values["options"]["datasets"] = [str(tmp_path / "moved")]
    (run / "config.json").write_text(json.dumps(values | {"checksum": None}))
    resume(run, epochs=2)
    assert len((run / "log.csv").read_text().splitlines()) == 3


def test_a_damaged_state_is_refused(uninterrupted: Path, tmp_path: Path) -> None:
    """Damage is detected in values, names, strides, order and the pickle."""
    run = RunFolder(uninterrupted).read_config().run
    content = RunFolder(uninterrupted).state.read_bytes()
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    assert saved_position(path, run).epoch == 2
    # The pickle is in the first kilobytes, the archive's directory in the last.
    for version in damaged(content, 200, seed=5, structure=40_000):
        path.write_bytes(version)
        with pytest.raises(TrainingError, match=r"state\.pt cannot be resumed \(it is damaged"):
            saved_position(path, run)


def test_a_damaged_state_ends_the_run(uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    state = tmp_path / "run" / "state" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"it is damaged: .*: restore it, or start a new run"):
        resume(tmp_path / "run", epochs=3)


@pytest.mark.parametrize(("supported", "remedy"), [(1, "update dsunet, or resume"), (3, "resume")])
def test_a_state_of_another_version_is_refused(
    uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, supported: int, remedy: str
) -> None:
    folder = RunFolder(uninterrupted)
    monkeypatch.setattr(dsunet.training.state, "STATE_VERSION", supported)
    match = rf"has version 2, but .* resumes version {supported}: {remedy} with the version that wr"
    with pytest.raises(TrainingError, match=match):
        saved_position(folder.state, folder.read_config().run)


def test_the_state_of_another_run_is_refused(
    uninterrupted: Path, dataset: Path, tmp_path: Path
) -> None:
    train(small_run(dataset, tmp_path / "run", epochs=1))
    ids = {RunFolder(run).read_config().run for run in (uninterrupted, tmp_path / "run")}
    assert len(ids) == 2
    shutil.copy(RunFolder(uninterrupted).state, RunFolder(tmp_path / "run").state)
    with pytest.raises(TrainingError, match="it belongs to another run"):
        resume(tmp_path / "run")


class TestLengthening:
    @pytest.fixture
    def run(self, uninterrupted: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(uninterrupted, tmp_path / "run"))

    def test_goes_on_along_the_longer_cosine(self, run: Path) -> None:
        said = io.StringIO()
        before = RunFolder(run).read_config()
        resume(run, ProgressReport(said), epochs=4)

        assert "lengthened from 2 to 4 epochs: the learning rate continues" in said.getvalue()
        rates = [float(row["lr"]) for row in outcome(run)[2]]
        options = before.options
        longer = dataclasses.replace(options, epochs=4)
        assert rates == [
            *(learning_rate(options, epoch, 1, 2) for epoch in (0, 1)),
            *(learning_rate(longer, epoch, 1, 2) for epoch in (2, 3)),
        ]
        assert rates[2] == pytest.approx(1e-3 * (1 + math.cos(math.pi / 2)) / 2, rel=1e-3)
        config = RunFolder(run).read_config()
        change = {"from": 2, "to": 4, "epoch": 2, "step": 0}
        assert config == dataclasses.replace(before, options=longer, lengthened=(change,))
        assert "is finished" in said_by(lambda report: resume(run, report))

    def test_is_the_same_after_a_kill(self, run: Path, tmp_path: Path) -> None:
        whole = shutil.copytree(run, tmp_path / "whole")
        resume(whole, epochs=3)

        def killed() -> None:
            after_one_step()
            resume(run, epochs=3)

        process = in_a_process(killed)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        resume(run)
        assert outcome(run) == outcome(whole)

    def test_is_no_shortening(self, run: Path) -> None:
        with pytest.raises(TrainingError, match="a run of 2 epochs: --epochs can only increase"):
            resume(run, epochs=1)

    def test_other_workers_change_nothing(
        self, dataset: Path, uninterrupted: Path, tmp_path: Path
    ) -> None:
        def killed() -> None:
            after_three_steps()
            train(options(dataset, tmp_path / "run"))

        in_a_process(killed).join()
        resume(tmp_path / "run", workers=1)
        assert outcome(tmp_path / "run") == outcome(uninterrupted)
        assert RunFolder(tmp_path / "run").read_config().options.workers == 1
        assert not RunFolder(tmp_path / "run").read_config().lengthened


def said_by(function: Callable[[ProgressReport], None]) -> str:
    stream = io.StringIO()
    function(ProgressReport(stream))
    return stream.getvalue()


@pytest.mark.parametrize("limit", [400, 20_000, 150_000, 700_000, 1_500_000])
def test_a_full_disk_is_one_line_and_the_run_goes_on(
    limit: int, dataset: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """A limit of the file size stands in for a full disk: the same calls fail."""
    out, said = tmp_path / "run", tmp_path / "said"

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            train(options(dataset, out))
        except DSUNetError as error:
            said.write_text(str(error)[:600])

    in_a_process(run).join()
    assert "cannot be written: " in said.read_text()
    assert "File too large" in said.read_text()
    assert "\n" not in said.read_text()
    assert not list(out.rglob(".dsunet-*"))
    if RunFolder(out).config.exists():
        assert f"; after fixing that, resume with dsunet train --resume {out}" in said.read_text()
        resume(out)
    else:
        train(options(dataset, out))
    assert outcome(out) == outcome(uninterrupted)


def test_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has no run to resume: config\.json is missing"):
        resume(tmp_path)
    checkpoint = tmp_path / "best.safetensors"
    checkpoint.touch()
    with pytest.raises(TrainingError, match=f"is a file: give the run folder, {tmp_path}$"):
        resume(checkpoint)


def test_what_killed_runs_left_behind_is_cleared(
    dataset: Path, tmp_path: Path, encoder_files: EncoderFiles
) -> None:
    """The next run removes temporary files of checkpoints, states, sheets and the cache."""
    run = small_run(
        dataset, tmp_path / "run", epochs=1, cache=tmp_path / "cache", train_encoders=False,
        sam2=encoder_files.sam2, dinov2=encoder_files.dinov2,
    )  # fmt: skip
    train(run)
    folder = RunFolder(run.output)
    cached = next((tmp_path / "cache").rglob("*.safetensors"))
    cached.unlink()
    folders = [folder.path, folder.state.parent, folder.overlays, cached.parent]
    for number, place in enumerate(folders):
        (place / f".dsunet-{number:032x}.tmp").mkdir()
        (place / f".dsunet-{number:032x}.tmp" / "half").write_bytes(b"half")
        (place / f".dsunet-{number + 9:032x}.tmp").write_bytes(b"half")
    clear_leftovers.cache_clear()  # as in another process
    resume(run.output, epochs=2)
    assert not list(tmp_path.rglob(".dsunet-*"))


def test_names_that_are_no_utf8(tmp_path: Path, encoder_files: EncoderFiles) -> None:
    """Relative paths of images, datasets, caches and runs."""
    name = os.fsdecode(b"caf\xe9")
    dataset = write_dataset(tmp_path / name / "data", 4, seed=1)
    for path in [*dataset.glob("*/*")]:
        path.rename(path.with_name(name + path.name))
    run = tmp_path / name / "run"
    train(
        small_run(
            dataset, run, epochs=1, val_dataset=dataset, workers=1, cache=tmp_path / name / "cache",
            train_encoders=False, sam2=encoder_files.sam2, dinov2=encoder_files.dinov2,
        )
    )  # fmt: skip
    resume(run, epochs=2)
    config = RunFolder(run).read_config()
    assert config.options.datasets == (dataset,)
    assert saved_position(RunFolder(run).state, config.run).epoch == 2
    assert sorted(path.name for path in run.iterdir()) == [
        "best.safetensors", "checkpoint.safetensors", "config.json", "curve.png", "log.csv",
        "overlays", "state",
    ]  # fmt: skip
