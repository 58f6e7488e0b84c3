"""`predict --workers` beside `predict` in one process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dsunet_runtime import ArtifactError
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.prediction.jobs import Job
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.policy import SelfTestPolicy
from dsunet_runtime.workers import dispatch, processes
from dsunet_runtime.workers.attempts import attempt
from dsunet_runtime.workers.devices import VISIBLE
from dsunet_runtime.workers.parallelism import Parallelism
from dsunet_runtime.workers.units import Item, Unit
from dsunet_runtime.workers.worker import MOST_ATTEMPTS, LoadOptions, Worker, WorkerOptions
from tests.runtime import artifacts
from tests.runtime.workers.conftest import (
    ALWAYS,
    ONCE,
    contents,
    killed_on_the_way,
    make_images,
    predict,
    summary,
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_images(tmp_path / "images", 40)


@pytest.mark.parametrize("options", [(), ("--batch", "3", "--overlay", "--binary", "otsu")])
def test_same_files_and_lines_as_in_one_process(
    frames_artifact: Path, images: Path, tmp_path: Path, options: Sequence[str]
) -> None:
    (images / "007.png").write_bytes(b"not an image")
    (images / "020.png").unlink()
    (images / "020.png").symlink_to("nowhere")
    one = predict(frames_artifact, images, tmp_path / "one", *options)
    two = predict(frames_artifact, images, tmp_path / "two", "--workers", "2", *options)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert two.stderr == one.stderr
    assert (two.exit_code, summary(two)) == (one.exit_code, summary(one))
    assert summary(two) == "38 masks, 2 failed"
    assert multiprocessing.active_children() == []


def some_child() -> int:
    child = multiprocessing.active_children()[0]
    assert child.pid is not None
    return child.pid


def test_one_that_is_killed_is_replaced(
    frames_artifact: Path, tmp_path: Path, deadly_names: None
) -> None:
    images = make_images(tmp_path / "images", 300, size=100)
    masks = tmp_path / "masks"
    with killed_on_the_way(masks, some_child) as counts:
        result = predict(frames_artifact, images, masks, "--workers", "2")
    assert result.exit_code == 0, result.output
    assert summary(result) == "300 masks, 0 failed"
    assert [10 <= count < 300 for count in counts] == [True]
    predict(frames_artifact, images, tmp_path / "one")
    assert contents(masks) == contents(tmp_path / "one")


@pytest.mark.parametrize("batch", ["1", "4"])
def test_an_image_that_ends_every_worker(
    frames_artifact: Path, images: Path, tmp_path: Path, deadly_names: None, batch: str
) -> None:
    predict(frames_artifact, images, tmp_path / "one")
    (images / "005.png").rename(images / f"{ALWAYS}.png")
    (images / "030.png").rename(images / f"{ONCE}.png")
    options = ("--workers", "2", "--batch", batch)
    result = predict(frames_artifact, images, tmp_path / "two", *options)
    assert result.exit_code == 1
    assert summary(result) == "39 masks, 1 failed"
    (line,) = result.stderr.splitlines()
    assert f"{ALWAYS}.png: {MOST_ATTEMPTS} worker processes have ended while" in line
    found, expected = contents(tmp_path / "two"), contents(tmp_path / "one")
    assert found.pop(f"{ONCE}.png") == expected.pop("030.png")
    del expected["005.png"]
    assert found == expected  # and nothing that killed processes had begun


def test_an_artifact_whose_loading_ends_every_worker(
    images: Path, tmp_path: Path, deadly_names: None
) -> None:
    artifact = artifacts.frames(tmp_path / f"{ALWAYS}.onnx")
    result = predict(artifact, images, tmp_path / "masks", "--workers", "2")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "worker processes have ended while they loaded it (the last: signal 9)" in line
    assert not (tmp_path / "masks").exists()
    assert multiprocessing.active_children() == []


def test_what_loading_raises_is_one_line(
    frames_artifact: Path, images: Path, tmp_path: Path
) -> None:
    content = bytearray(frames_artifact.read_bytes())
    content[content.index(b"MatMul")] ^= 1
    frames_artifact.write_bytes(content)
    result = predict(frames_artifact, images, tmp_path / "masks", "--workers", "2")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "frames.onnx: damaged" in line
    assert not (tmp_path / "masks").exists()


def test_nothing_to_do(frames_artifact: Path, images: Path, tmp_path: Path) -> None:
    predict(frames_artifact, images, tmp_path / "masks")
    again = ("--skip-existing", "--workers", "2")
    result = predict(frames_artifact, images, tmp_path / "masks", *again)
    assert result.exit_code == 0
    assert summary(result) == "0 masks, 0 failed, 40 skipped"


def wait_for_end(group: int) -> None:
    """Python's tracker of resources ends a moment after its parent."""
    deadline = time.monotonic() + 5
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)
        pytest.fail(f"a process of the group {group} is left")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(frames_artifact: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C reaches all processes of the group."""
    images = make_images(tmp_path / "images", 400, size=100)
    masks = tmp_path / "masks"
    program = [sys.executable, "-m", "dsunet_runtime", "predict", frames_artifact, images]
    process = subprocess.Popen(
        [*program, "-o", masks, "--workers", "2"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while len(list(masks.glob("*.png"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert output == ("dsunet-run: interrupted\n" if number == signal.SIGINT else "")
    finished = list(masks.iterdir())
    assert 3 <= len(finished) < 400
    for path in finished:
        Image.open(path).load()
    wait_for_end(process.pid)


class TestWorker:
    @pytest.fixture
    def options(self, frames_artifact: Path, tmp_path: Path) -> WorkerOptions:
        marks = tmp_path / "marks"
        marks.mkdir()
        load_options = LoadOptions(frames_artifact, None, SelfTestPolicy.AUTO, False, None)
        digest = read_manifest(frames_artifact).sha256
        kinds = tuple(output.kind for output in Job.of_mask(Path(), Path()).outputs)
        return WorkerOptions(load_options, digest, 1, 1, kinds, marks)

    def test_another_artifact(self, options: WorkerOptions) -> None:
        artifacts.frames(options.load_options.artifact, weights=artifacts.FRAMES_WEIGHTS / 2)
        with pytest.raises(ArtifactError, match=r"frames\.onnx: has changed since the start"):
            Worker(options)

    def test_no_marks_can_be_written(self, options: WorkerOptions, tmp_path: Path) -> None:
        """As on a full disk, or when the folder is removed."""
        images = make_images(tmp_path / "images", 2)
        jobs = [Job.of_mask(path, tmp_path / f"{path.stem}.png") for path in images.iterdir()]
        with Worker(options) as worker:
            options.marks.rmdir()
            found = [*worker.run(Unit(4, tuple(map(Item.of, jobs))))]
        assert [index for index, _ in found] == [4, 5]
        for (_, outcome), job in zip(found, jobs, strict=True):
            assert str(outcome.fault) == (
                f"{job.outputs[0].path}: cannot be written: No such file or directory"
            )

    def test_attempts_are_forgotten_when_they_end(
        self, options: WorkerOptions, tmp_path: Path
    ) -> None:
        images = make_images(tmp_path / "images", 1)
        job = Job.of_mask(images / "000.png", tmp_path / "mask.png")
        unit = Unit(0, (Item.of(job),))
        with (
            Worker(options) as worker,
            attempt(options.marks, "0+1"),
            attempt(options.marks, "0+1"),
        ):
            ((_, outcome),) = worker.run(unit)
            assert outcome.fault is None
            with attempt(options.marks, "0+1"):
                ((_, outcome),) = worker.run(unit)
            assert "worker processes have ended" in str(outcome.fault)
        assert not list(options.marks.iterdir())


def test_variables_are_set_before_a_library_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, dsunet_runtime.workers.processes\nprint(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "dsunet_runtime.workers.worker" in modules.split()
    assert not {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cuda", "ray"} & {
        *modules.split()
    }

    class LoadedError(Exception):
        pass

    def load(options: object) -> object:
        raise LoadedError(os.environ[VISIBLE])

    monkeypatch.setattr(processes, "Worker", load)
    monkeypatch.setenv(VISIBLE, "4,5")
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs, pytest.raises(LoadedError, match=r"^5$"):
        processes._serve(theirs, {VISIBLE: "5"}, None)  # type: ignore[arg-type]


class TestDivision:
    """Of GPUs and cores among workers."""

    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def predict(
            options: WorkerOptions, units: Sequence[Unit], environments: Any, *, first_alone: bool
        ) -> Iterator[Any]:
            found.update(
                threads=options.threads, environments=environments, first_alone=first_alone
            )
            return iter(())

        monkeypatch.setattr(processes, "predict_in_processes", predict)
        return found

    def compute(self, provider: Provider | None, parallelism: Parallelism, jobs: int = 100) -> None:
        load_options = LoadOptions(Path("a.onnx"), provider, SelfTestPolicy.AUTO, False, None)
        options = WorkerOptions(load_options, "", parallelism.threads, 1, (), Path())
        dispatch._computed(options, [Job(Path(), ())] * jobs, parallelism)

    def test_gpus(self, started: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VISIBLE, "2,5")
        self.compute(Provider.CUDA, Parallelism("gpus", None, None))
        assert started["environments"] == [{VISIBLE: "2"}, {VISIBLE: "5"}]
        assert started["first_alone"]
        self.compute(Provider.CUDA, Parallelism("3", None, None))
        assert started["environments"] == [{VISIBLE: "2"}, {VISIBLE: "5"}, {VISIBLE: "2"}]

    def test_cores(self, started: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dispatch, "cores", lambda: 7)
        self.compute(None, Parallelism("3", None, None))
        assert started == {"threads": 2, "environments": [{}] * 3, "first_alone": False}
        self.compute(Provider.OPENVINO, Parallelism("100", None, None))
        assert started == {"threads": 1, "environments": [{}] * 100, "first_alone": True}
        self.compute(None, Parallelism("2", 5, None), jobs=1)
        assert started == {"threads": 5, "environments": [{}], "first_alone": False}
