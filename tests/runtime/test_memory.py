"""What does not fit into memory is refused with the figure, before anything is allocated."""

from __future__ import annotations

import dataclasses
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import dsunet_runtime
from dsunet_runtime import BackendError, memory, read_manifest
from dsunet_runtime.cli import app
from dsunet_runtime.memory import available_memory, check_memory
from tests.runtime import artifacts
from tests.runtime.test_segmenter import random_image


@pytest.fixture(autouse=True)
def little_is_allocated() -> Iterator[None]:
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    Image.fromarray(random_image(40, 50)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class TestAvailable:
    def test_is_part_of_what_the_machine_has(self) -> None:
        pages = resource.getpagesize()
        found = available_memory()
        assert found is not None
        total = Path("/proc/meminfo").read_text().split()[1]
        assert pages < found <= 1024 * int(total)

    def test_in_a_container(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "_CONTROL_GROUP", tmp_path)
        (tmp_path / "memory.max").write_text("1000000\n")
        (tmp_path / "memory.current").write_text("700000\n")
        (tmp_path / "memory.stat").write_text("anon 500000\nfile 200000\n")
        assert available_memory() == 500_000
        (tmp_path / "memory.max").write_text("max\n")
        assert (available_memory() or 0) > 500_000

    def test_unknown_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "_CONTROL_GROUP", tmp_path)
        monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
        assert available_memory() is None
        check_memory(1 << 60, "it", "ask for less")

    def test_figures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "available_memory", lambda: 2_000_000_000)
        check_memory(2_000_000_000, "it", "ask for less")
        with pytest.raises(
            BackendError,
            match=r"it takes 2,500\.0 GB and only 2\.0 GB of memory are available: ask for less",
        ):
            check_memory(2_500_000_000_000, "it", "ask for less")


class TestCommands:
    @pytest.mark.parametrize(
        "options", [("--batch", 1_000_000), ("--batch", 100_000, "--streams", 1000)]
    )
    @pytest.mark.parametrize("origin", ["inputs", "array", "file"])
    def test_bench(self, tmp_path: Path, options: tuple[object, ...], origin: str) -> None:
        path = artifacts.frames(tmp_path / "a.onnx")
        result = run("bench", path, "--from", origin, *options)
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert "a.onnx: the input of batch 1" in line
        assert "GB of memory are available: lower --batch or --streams" in line

    @pytest.mark.parametrize(
        "option", ["--batch", "--streams", "--threads", "--calls", "--rounds", "--seconds"]
    )
    @pytest.mark.parametrize("value", ["1000000000", "9" * 400, "9" * 5000])
    def test_bench_with_numbers_out_of_bounds(
        self, tmp_path: Path, option: str, value: str
    ) -> None:
        path = artifacts.frames(tmp_path / "a.onnx")
        result = run("bench", path, option, value)
        assert result.exit_code == 2
        assert option in result.stderr

    @pytest.mark.parametrize("value", ["1000000000", "9" * 5000])
    def test_predict_with_numbers_out_of_bounds(
        self, photo_file: Path, tmp_path: Path, value: str
    ) -> None:
        path = artifacts.frames(tmp_path / "a.onnx")
        result = run("predict", path, photo_file, "-o", tmp_path / "out", "--batch", value)
        assert result.exit_code == 2

    def test_predict(
        self, photo_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "photos"
        folder.mkdir()
        for index in range(20):
            (folder / f"{index:02}.png").symlink_to(photo_file)
        path = artifacts.frames(tmp_path / "a.onnx")
        arguments = ("predict", path, folder, "-o", tmp_path / "out", "--batch")
        # 40×50×3 bytes, thrice, and for as many as there are.
        monkeypatch.setattr(memory, "available_memory", lambda: 20 * 3 * 6000 - 1)
        result = run(*arguments, 1_000_000)
        assert result.exit_code == 1
        assert "a batch of 20 images like" in result.stderr
        assert "GB of memory are available: lower --batch" in result.stderr
        assert not (tmp_path / "out").exists()
        monkeypatch.setattr(memory, "available_memory", lambda: 20 * 3 * 6000)
        assert run(*arguments, 1_000_000).exit_code == 0
        assert len(list((tmp_path / "out").iterdir())) == 20


class TestApi:
    def test_a_batch_that_is_filled_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx", batch=1 << 20)
        monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
        with (
            dsunet_runtime.load(path) as segmenter,
            pytest.raises(BackendError, match=r"a batch of 1,048,576 images takes 5\.\d GB"),
        ):
            segmenter(random_image(4, 4))

    def test_a_batch_of_many(self, tmp_path: Path) -> None:
        image = np.broadcast_to(np.uint8(7), (6000, 6000, 3))
        with dsunet_runtime.load(artifacts.frames(tmp_path / "a.onnx")) as segmenter:
            prepared = segmenter.prepare(np.zeros((1, 1, 3), np.uint8))
            huge = dataclasses.replace(prepared, inputs={"image": image})
            with pytest.raises(BackendError, match="use a smaller batch"):
                segmenter.infer([huge] * 100_000)

    @pytest.mark.parametrize("threads", [0, -1, 1025, 10**30])
    def test_threads(self, tmp_path: Path, threads: int) -> None:
        path = artifacts.frames(tmp_path / "a.onnx")
        read_manifest(path)
        with pytest.raises(BackendError, match=r"use 1 to 1,024, or None"):
            dsunet_runtime.load(path, threads=threads)
