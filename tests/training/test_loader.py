"""Too little memory for the images that workers read ahead is reported before they start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch.utils.data import DataLoader

import dsunet.training.loader
import dsunet.training.step
from dsunet.data.pairs import find_pairs
from dsunet.data.samples import BatchPlan, SampleKey, Samples
from dsunet.errors import TrainingError
from dsunet.training import train
from dsunet.training.loader import open_loader
from tests.training.conftest import SMALL, small_run

SAMPLE = 4 * (3 * 128**2 + 3 * 98**2 + 128**2)
"""Bytes of a sample of SMALL: both inputs and the mask, float32."""


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Set the number of free bytes of /dev/shm."""
    left = {"free": 0}

    def statvfs(path: Path) -> SimpleNamespace:
        assert path == Path("/dev/shm")
        return SimpleNamespace(f_bavail=left["free"], f_frsize=1)

    monkeypatch.setattr(os, "statvfs", statvfs)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(DataLoader, "check_worker_number_rationality", lambda _: None)
    return left


@pytest.fixture
def samples(dataset: Path) -> Samples:
    return Samples(find_pairs(dataset / "Image", dataset / "Mask").pairs, SMALL.input_sizes, seed=0)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("processes", [1, 2])
def test_counts_what_is_read_ahead(
    workers: int, processes: int, samples: Samples, shared: dict[str, int]
) -> None:
    """Two batches for each worker, and two that the step and the next one hold."""
    needed = 4 * SAMPLE * (2 * workers + 2) * processes
    shared["free"] = needed
    open_loader(samples, [[SampleKey(0, 0)]], 4, workers=workers, processes=processes)
    shared["free"] = needed - 1
    with pytest.raises(TrainingError, match=f"/dev/shm is too small for {workers} workers"):
        open_loader(samples, [[SampleKey(0, 0)]], 4, workers=workers, processes=processes)


def test_the_message_names_both_remedies(
    dataset: Path, tmp_path: Path, shared: dict[str, int]
) -> None:
    shared["free"] = 1_000_000
    with pytest.raises(TrainingError) as fault:
        train(small_run(dataset, tmp_path / "run", workers=4))
    assert str(fault.value) == (
        "/dev/shm is too small for 4 workers (15 MB needed, 1 MB free): use "
        "--workers 0, or in Docker start the container with --shm-size=2g"
    )
    assert not (tmp_path / "run").exists()


def test_without_workers_none_is_needed(samples: Samples, shared: dict[str, int]) -> None:
    shared["free"] = 0
    assert next(iter(open_loader(samples, [[SampleKey(0, 0)]], 4, workers=0)))["mask"].shape[0] == 1


def test_memory_for_the_pixels_comes_first(
    samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dsunet.training.loader, "available_memory", lambda: 10**9)
    open_loader(samples, [[SampleKey(0, 0)]], 10**9 // SAMPLE, workers=0)
    with pytest.raises(
        TrainingError,
        match=r"batches of 1000000 images need 377,392 MB of memory, but .* has 1,000",
    ):
        open_loader(samples, [[SampleKey(0, 0)]], 10**6, workers=0)


def test_a_batch_is_no_larger_than_the_data() -> None:
    assert BatchPlan(7, 10**9, seed=0).largest_part == 7
    assert BatchPlan(7, 4, seed=0, parts=2).largest_part == 2
    assert BatchPlan(8, 4, seed=0, world=2).largest_part == 2


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid(s) 7) exited unexpectedly: killed by signal: Bus error. It is",
        "Caught RuntimeError in DataLoader worker process 1.\nOriginal Traceback (most recent call "
        "last):\nRuntimeError: unable to allocate shared memory(shm) for file </torch_1_2_0>: No",
        "unable to write to file </torch_1_2_0>: No space left on device (28)",
    ],
)
def test_the_message_of_pytorch_is_one_line(
    message: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise RuntimeError(message)

    monkeypatch.setattr(dsunet.training.step.Stepper, "step", full)
    with pytest.raises(TrainingError, match="--workers 0, or in Docker start") as fault:
        train(small_run(dataset, tmp_path / "run"))
    assert "\n" not in str(fault.value)


def test_other_errors_of_pytorch_stay_as_they_are(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(dsunet.training.step.Stepper, "step", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(small_run(dataset, tmp_path / "run"))


_SCRIPT = """
import sys
from pathlib import Path
import torch
import dsunet.training.loader as loading
from dsunet.errors import TrainingError
from dsunet.training import train
from tests.training.conftest import small_run
torch.set_num_threads(1)
checked, dataset, out = sys.argv[1] == "checked", Path(sys.argv[2]), Path(sys.argv[3])
if not checked:
    loading._require_shared_memory = lambda *_: None
try:
    train(small_run(dataset, out, workers=2, batch=4))
except TrainingError as error:
    print(error)
"""


@pytest.mark.parametrize("checked", [True, False])
def test_in_a_container_with_a_small_dev_shm(checked: bool, dataset: Path, tmp_path: Path) -> None:
    """A small /dev/shm, in a mount namespace; PyTorch's own error is converted as well."""
    in_namespace = ["unshare", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    try:
        if subprocess.run([*in_namespace, mount], capture_output=True).returncode:
            pytest.skip("needs root, to mount a small /dev/shm")
    except FileNotFoundError:
        pytest.skip("needs unshare, to mount a small /dev/shm")
    (tmp_path / "script.py").write_text(_SCRIPT)
    words = [sys.executable, str(tmp_path / "script.py"), "checked" if checked else "unchecked"]
    result = subprocess.run(
        [*in_namespace, f'{mount} && exec "$@"', "sh", *words, str(dataset), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    (line,) = result.stdout.splitlines()
    assert line.startswith("/dev/shm is too small for ")
    assert "--workers 0" in line
    assert "MB needed, 1 MB free" in line or not checked
    assert "Traceback" not in result.stderr, result.stderr
