"""`predict --ray` beside `predict` in one process, on a cluster of this machine with two cores."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsunet_runtime import BackendError
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.selftest.policy import SelfTestPolicy
from dsunet_runtime.workers import ray_workers
from dsunet_runtime.workers.attempts import attempt
from dsunet_runtime.workers.units import Unit
from dsunet_runtime.workers.worker import MOST_ATTEMPTS, LoadOptions, WorkerOptions
from tests.runtime.workers.conftest import (
    ALWAYS,
    ONCE,
    contents,
    killed_on_the_way,
    make_images,
    predict,
    summary,
)

TWO = ("--workers", "2", "--threads-per-worker", "1")


@pytest.fixture(scope="module")
def address(deadly_names: None) -> Iterator[str]:
    """A cluster, of which this process is not a part."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        context = ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=80 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield context.address_info["gcs_address"]
        ray.shutdown()


def test_same_files_and_lines_as_in_one_process(
    address: str, frames_artifact: Path, tmp_path: Path
) -> None:
    images = make_images(tmp_path / "images", 40)
    (images / "007.png").write_bytes(b"not an image")
    options = ("--batch", "3", "--overlay")
    one = predict(frames_artifact, images, tmp_path / "one", *options)
    two = predict(frames_artifact, images, tmp_path / "two", *options, "--ray", address, *TWO)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert two.stderr == one.stderr
    assert (two.exit_code, summary(two)) == (1, "39 masks, 1 failed")


def test_one_that_is_killed_is_replaced(
    address: str, frames_artifact: Path, tmp_path: Path
) -> None:
    images = make_images(tmp_path / "images", 600, size=100)
    masks = tmp_path / "masks"
    with killed_on_the_way(masks, lambda: workers()[0]) as counts:
        result = predict(frames_artifact, images, masks, "--ray", address, *TWO)
    assert (result.stderr, summary(result)) == ("", "600 masks, 0 failed")
    assert [10 <= count < 600 for count in counts] == [True]
    predict(frames_artifact, images, tmp_path / "one")
    assert contents(masks) == contents(tmp_path / "one")


def workers() -> list[int]:
    """Processes of this machine that Ray calls by the class of the workers."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"_RayWorker" in line.read_bytes():
                found.append(int(line.parent.name))
        except OSError:  # it has ended
            continue
    return found


def test_an_image_that_ends_every_worker(
    address: str, frames_artifact: Path, tmp_path: Path
) -> None:
    images = make_images(tmp_path / "images", 40)
    predict(frames_artifact, images, tmp_path / "one")
    (images / "005.png").rename(images / f"{ALWAYS}.png")
    (images / "030.png").rename(images / f"{ONCE}.png")
    result = predict(frames_artifact, images, tmp_path / "two", "--ray", address, *TWO)
    (line,) = result.stderr.splitlines()
    assert f"{ALWAYS}.png: {MOST_ATTEMPTS} worker processes have ended while" in line
    assert (result.exit_code, summary(result)) == (1, "39 masks, 1 failed")
    found, expected = contents(tmp_path / "two"), contents(tmp_path / "one")
    assert found.pop(f"{ONCE}.png") == expected.pop("030.png")
    del expected["005.png"]
    assert found == expected


def test_more_than_the_cluster_has(address: str, frames_artifact: Path, tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 1)
    wanted = ("--ray", address, "--workers", "3", "--threads-per-worker", "1")
    result = predict(frames_artifact, images, tmp_path / "masks", *wanted)
    assert result.exit_code == 1
    assert "has room for 2 workers of 1 core: use fewer --workers" in result.stderr
    assert not (tmp_path / "masks").exists()


def test_nobody_answers(frames_artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    images = make_images(tmp_path / "images", 1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        result = predict(frames_artifact, images, tmp_path / "masks", "--ray", address)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith(f"--ray {address}: no connection to a Ray cluster: Connection refused")


def test_what_answers_is_not_ray(
    frames_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_workers, "_CONNECT_SECONDS", 5)
    images = make_images(tmp_path / "images", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        result = predict(frames_artifact, images, tmp_path / "masks", "--ray", address)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "Ray has not answered in 5 s" in line or "no connection to a Ray cluster" in line


class TestOfAWorker:
    """What a worker answers, without Ray."""

    @pytest.fixture
    def options(self, frames_artifact: Path, tmp_path: Path) -> WorkerOptions:
        (tmp_path / "marks").mkdir()
        load_options = LoadOptions(frames_artifact, None, SelfTestPolicy.AUTO, False, None)
        digest = read_manifest(frames_artifact).sha256
        return WorkerOptions(load_options, digest, 1, 1, (), tmp_path / "marks")

    def answer(self, options: WorkerOptions) -> object:
        worker = ray_workers._RayWorker(options, 2, Path.cwd(), "the command's machine")
        return pickle.loads(worker({"unit": pickle.dumps(Unit(0, ()))})["answer"])

    def test_storage_that_is_not_shared(self, options: WorkerOptions) -> None:
        options.marks.rmdir()
        error = self.answer(options)
        assert isinstance(error, BackendError)
        assert "No such file" in str(error)
        assert "on storage that all machines mount under the same path" in str(error)
        assert str(error).startswith(f"{os.uname().nodename}: ")

    def test_loading_that_ends_workers(self, options: WorkerOptions) -> None:
        assert self.answer(options) == []
        marks = [attempt(options.marks, "load") for _ in range(MOST_ATTEMPTS + 2)]
        for mark in marks:
            mark.__enter__()
        error = self.answer(options)
        assert isinstance(error, BackendError)
        assert "worker processes have ended while they loaded it" in str(error)

    def test_errors_of_the_program(
        self, options: WorkerOptions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ray_workers, "Worker", lambda options: 1 / 0)
        error = self.answer(options)
        assert isinstance(error, RuntimeError)
        assert "ZeroDivisionError" in str(error)
