"""The log for TensorBoard, read back by TensorBoard."""

from __future__ import annotations

import csv
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsunet import MissingExtraError
from dsunet.errors import TrainingError
from dsunet.training import resume, train
from dsunet.training.run_folder import RunFolder
from dsunet.training.step import Stepper
from tests.training.conftest import small_run
from tests.training.interruptions import at_call


def test_a_missing_package_is_reported_before_anything_begins(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"tensorboard is not installed: .*\[tensorboard\]"):
        train(small_run(dataset, tmp_path / "run", tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_utf8_is_refused_before_anything_begins(
    dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / os.fsdecode(b"rt\xe9")
    with pytest.raises(TrainingError, match=r"rt.*not valid UTF-8.*without --tensorboard"):
        train(small_run(dataset, out, tensorboard=True))
    assert not out.exists()
    train(small_run(dataset, tmp_path / "run"))
    config = RunFolder(tmp_path / "run").read_config()
    options = replace(config.options, tensorboard=True)
    RunFolder(tmp_path / "run").write_config(replace(config, options=options))
    (tmp_path / "run").rename(out)
    before = sorted(out.rglob("*"))
    with pytest.raises(TrainingError, match=r"not valid UTF-8"):
        resume(out, epochs=3)
    assert sorted(out.rglob("*")) == before


class TestLog:
    @pytest.fixture(autouse=True)
    def _is_installed(self) -> None:
        pytest.importorskip("tensorboard", reason="needs dsunet[tensorboard]")

    def scalars(self, out: Path) -> dict[str, dict[int, float]]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(RunFolder(out).tensorboard))
        events.Reload()
        return {
            tag: {event.step: event.value for event in events.Scalars(tag)}
            for tag in events.Tags()["scalars"]
        }

    def test_has_every_step_and_epoch(self, dataset: Path, tmp_path: Path) -> None:
        out = tmp_path / "run"
        train(small_run(dataset, out, val_dataset=dataset, warmup=1, tensorboard=True))
        found = self.scalars(out)
        with RunFolder(out).log.open() as file:
            rows = list(csv.DictReader(file))
        assert set(found["step/loss"]) == {1, 2, 3, 4}
        for epoch, row in enumerate(rows):
            losses = [found["step/loss"][2 * epoch + step] for step in (1, 2)]
            assert sum(losses) / 2 == pytest.approx(float(row["loss"]), rel=1e-5)
            for name in ("loss", "lr", "val_s", "val_mae"):
                assert found[f"epoch/{name}"][2 * epoch + 2] == pytest.approx(float(row[name]))
        # The warm-up's first step has half of the rate; events are float32.
        assert found["step/lr"] == pytest.approx({1: 5e-4, 2: 1e-3, 3: 5e-4, 4: 5e-4}, rel=1e-3)

    def test_goes_on_after_an_interruption(
        self, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        options = {"tensorboard": True, "epochs": 3}
        train(small_run(dataset, tmp_path / "whole", **options))
        with monkeypatch.context() as patch:
            patch.setattr(Stepper, "step", at_call(4, Stepper.step, interrupt))
            with pytest.raises(KeyboardInterrupt):
                train(small_run(dataset, tmp_path / "run", **options))
        resume(tmp_path / "run")
        whole, found = (self.scalars(tmp_path / name)["step/loss"] for name in ("whole", "run"))
        assert found == whole
        assert len(found) == 6

    def test_a_full_disk_is_one_line(
        self, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(SummaryWriter, "flush", full)
        with pytest.raises(TrainingError, match=r"cannot be written: No space left .*--resume"):
            train(small_run(dataset, tmp_path / "run", tensorboard=True))
