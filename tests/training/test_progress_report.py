"""The output of a run, on a terminal and in a log."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
import torch

import dsunet.training.progress_report
from dsunet import random_model
from dsunet.torch_device import TorchDevice
from dsunet.training import train
from dsunet.training.progress_report import ProgressReport
from dsunet.training.progress_text import memory_in_use, start_line
from dsunet.training.training_data import find_training_data
from tests.training.conftest import SMALL, small_run


class Clock:
    """A clock that a test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_a_log_has_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    with ProgressReport(stream) as report:
        for second in range(200):
            clock.now = 1000 + second
            report.show(second / 200, f"second {second}")
    assert stream.getvalue().splitlines() == ["second 60", "second 120", "second 180"]


def on_a_terminal(columns: int, write: Callable[[TextIO], None]) -> str:
    """The text that a terminal receives."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    received: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while part := os.read(ours, 4096):
                received.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as stream:
        write(stream)
    reader.join()
    os.close(ours)
    return b"".join(received).decode()


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_has_one_line_that_fits(columns: int) -> None:
    """A wrapped line could not be cleared, and would fill the terminal."""

    def write(stream: TextIO) -> None:
        with ProgressReport(stream) as report:
            report.show(0.5, "x" * 200)

    shown, cleared = on_a_terminal(columns, write).split("\r\x1b[K")[1:]
    assert shown == ("█████····· " + "x" * 200)[: columns - 1]
    assert cleared == ""


def test_a_run_prints_its_progress(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(stream: TextIO) -> None:
        train(small_run(dataset, tmp_path / "run", val_dataset=dataset), ProgressReport(stream))

    monkeypatch.setattr(dsunet.training.progress_report, "_PAUSE", {True: 0.0, False: 0.0})
    received = on_a_terminal(100, write)
    first, *lines = re.split(r"\r\x1b\[K|\r?\n", received.removeprefix("\r\x1b[K"))
    parameters = sum(p.numel() for p in random_model(SMALL).parameters())
    assert first == (
        f"device {TorchDevice.AUTO.resolve()}, fp32; 7 images, 7 for validation; {parameters:,} "
        f"parameters, {parameters:,} trained (100.00%)"
    )
    live = [line for line in lines if "step" in line]
    pattern = (
        r"[█·]{10} epoch 1/2  step 1/2  loss \d\.\d{4}  lr 1\.0e-03  \d+ s left  RAM \d\.\d GB"
    )
    assert re.fullmatch(pattern, live[0]), live[0]
    assert any("epoch 2/2  step 2/2" in line for line in live)
    assert sum(line.startswith("epoch ") for line in lines) == 2


def test_the_first_line_counts_what_is_trained(dataset: Path, tmp_path: Path) -> None:
    model = random_model(SMALL)
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    total, trained = sum(n for n, _ in counts), sum(n for n, is_trained in counts if is_trained)
    assert 0 < trained < total / 2
    options = small_run(dataset, tmp_path / "run")
    line = start_line(options, find_training_data(options), model, torch.device("cpu"))
    assert line.endswith(f" {trained:,} trained ({trained / total:.2%})")
    assert "validation" not in line


def test_memory_is_that_of_the_process() -> None:
    found = memory_in_use(torch.device("cpu"))
    assert found == "" or 0.1 <= float(re.fullmatch(r"RAM (\d+\.\d) GB", found)[1]) < 100  # type: ignore[index]
