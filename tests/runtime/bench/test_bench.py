"""`dsunet-run bench` end to end."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from dsunet_runtime import read_manifest
from dsunet_runtime.bench import monitor, workload
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.bench.workload import Runner, Setting, Workbench
from dsunet_runtime.cli import app
from dsunet_runtime.errors import BackendError
from dsunet_runtime.provider import Provider
from tests.runtime import artifacts, engines
from tests.runtime.commands.runner import fails_with_one_line
from tests.runtime.conftest import Machine

QUICK = ("--calls", 4, "--rounds", 2, "--no-cold-start")


def run(*arguments: object, as_json: bool = True) -> Result:
    options = ["--json"] if as_json else []
    return CliRunner().invoke(app, ["bench", *options, *(str(argument) for argument in arguments)])


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def picture(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(photo).save(path)
    return path


def test_every_setting_is_measured(frames_artifact: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "bench"
    settings = ("--from", "inputs", "--from", "array", "--from", "file", "--batch", 1, "--batch", 3)
    result = run(
        *(frames_artifact, "--image", picture, *settings, "--streams", 1, "--streams", 2),
        *(*QUICK, "-o", out),
    )
    found = document(result)
    measured = {(m["from"], m["batch"], m["streams"]): m for m in found["measurements"]}
    assert len(measured) == 3 * 2 * 2
    for (_, batch, streams), one in measured.items():
        latency = one["latency"]
        assert latency["calls"] == 4 * streams
        assert 0 < latency["minimum"] <= latency["median"] <= latency["p90"] <= latency["p99"]
        # Each stream is busy from the first call to the last.
        bound = batch * streams / latency["minimum"]
        assert 0 < one["images_per_second"] <= bound * 1.01
        assert one["time_relative_to_first"] is None
    assert found["image"] == {"width": 53, "height": 41}
    assert json.loads((out / "bench.json").read_text())["measurements"] == found["measurements"]
    rows = list(csv.DictReader((out / "bench.csv").read_text().splitlines()))
    assert [float(row["median"]) for row in rows] == [
        m["latency"]["median"] for m in found["measurements"]
    ]
    picture_of_it = ET.fromstring((out / "bench.svg").read_text())
    lines = picture_of_it.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2 * 6
    assert {len(str(line.get("points")).split()) for line in lines} == {2}


def test_artifacts_are_compared_with_the_first(tmp_path: Path) -> None:
    first, second = (artifacts.tensors(tmp_path / f"{name}.onnx") for name in ("a", "b"))
    options = ("--batch", 1, "--batch", 2, "-o", tmp_path / "out")
    result = run(first, second, *QUICK, *options, as_json=False)
    found = json.loads((tmp_path / "out/bench.json").read_text())
    ratios = [m["time_relative_to_first"] for m in found["measurements"]]
    assert [ratio is None for ratio in ratios] == [True, True, False, False]
    assert all(ratio["rounds"] == 2 and ratio["within_noise"] for ratio in ratios[2:])
    assert result.stdout.count("time per image, b.onnx / a.onnx") == 2
    assert "{" not in result.stdout


def test_a_cold_start_that_fails_says_why(frames_artifact: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    content = bytearray(frames_artifact.read_bytes())
    content[read_manifest(frames_artifact).graph.size // 2] ^= 1
    damaged.write_bytes(content)
    fails_with_one_line(
        *("bench", damaged, "--calls", 1), match=f"in a new process: {damaged}: damaged, or changed"
    )


def test_cold_start_and_memory(frames_artifact: Path, picture: Path) -> None:
    result = run(frames_artifact, "--image", picture, "--calls", 4, "--rounds", 2)
    (one,) = document(result)["artifacts"]
    start = one["cold_start"]
    for part in ("start", "imports", "load", "first", "next"):
        assert 0 < start[part] < 120
    # NumPy and ONNX Runtime alone take tens of megabytes.
    assert 20e6 < start["host_loaded"] <= start["host_peak"]
    assert start["host_computed"] <= start["host_peak"]
    assert start["device_loaded"] is None


def test_an_image_is_made_that_the_artifact_takes(tmp_path: Path) -> None:
    fixed = artifacts.frames(tmp_path / "fixed.onnx", batch=2, height=30, width=40)
    found = document(run(fixed, *QUICK))
    assert found["image"] == {"width": 40, "height": 30}
    assert [m["batch"] for m in found["measurements"]] == [2]
    free = artifacts.frames(tmp_path / "free.onnx")
    assert document(run(free, *QUICK))["image"] == {"width": 1280, "height": 720}


def test_what_is_wrong_is_one_line(frames_artifact: Path, picture: Path, tmp_path: Path) -> None:
    fixed = artifacts.frames(tmp_path / "fixed.onnx", batch=2, height=30, width=40)
    fails_with_one_line("bench", fixed, "--batch", 1, *QUICK, match="takes batches of 2")
    fails_with_one_line("bench", fixed, "--image", picture, *QUICK, match="resize the image")
    fails_with_one_line("bench", tmp_path / "no.onnx", match="no.onnx")
    fails_with_one_line("bench", frames_artifact, "--image", tmp_path / "no.jpg", match="no.jpg")
    fails_with_one_line(
        "bench", frames_artifact, "--from", "device", *QUICK, match="supports engines only"
    )
    assert run(frames_artifact, "--seconds", 1, "--calls", 2).exit_code == 2
    assert run(frames_artifact, "--from", "nowhere").exit_code == 2


class TestEngine:
    """On a fake GPU."""

    @pytest.fixture(autouse=True)
    def machine(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
        monkeypatch.setattr(workload, "find", lambda: machine.cuda)
        monkeypatch.setattr(monitor, "find", lambda: machine.cuda)
        return machine

    def test_with_and_without_copies(self, tmp_path: Path, picture: Path) -> None:
        path = engines.frames(tmp_path / "a.engine")
        origins = [part for origin in Origin for part in ("--from", origin)]
        found = document(run(path, "--image", picture, *origins, *QUICK))
        assert [m["from"] for m in found["measurements"]] == [*Origin]
        assert found["machine"]["gpu"] == "NVIDIA GeForce RTX 4090"

    def test_a_call_on_the_device_waits_for_its_result(
        self, machine: Machine, tmp_path: Path, picture: Path, photo: NDArray[np.uint8]
    ) -> None:
        path = engines.frames(tmp_path / "a.engine")
        with Workbench(Runner(path, None), picture, photo, None) as bench:
            (call,) = bench.workload(Setting(Origin.DEVICE, 2, 1)).calls
            devices = len(machine.cuda.devices)
            allocations = machine.device.allocations
            call()
            assert machine.device.allocations == allocations
            assert len(machine.cuda.devices) == devices
            mask = call._outputs["mask"]  # type: ignore[attr-defined]
            expected = artifacts.expected_frames_mask(np.stack([photo, photo]))
            found = machine.device.at(mask.pointer, expected.size).reshape(expected.shape)
            np.testing.assert_array_equal(found, expected)

    def test_threads_are_not_for_engines(self, tmp_path: Path, picture: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        paths = [engines.frames(tmp_path / name / "x.engine") for name in ("a", "b")]
        found = document(run(*paths, "--image", picture, "--threads", 2, *QUICK))
        # Two files of one name have different labels.
        assert [m["artifact"] for m in found["measurements"]] == [str(path) for path in paths]

    def test_without_memory_nothing_stays_held(
        self, machine: Machine, tmp_path: Path, picture: Path, photo: NDArray[np.uint8]
    ) -> None:
        path = engines.frames(tmp_path / "a.engine")
        with Workbench(Runner(path, None), picture, photo, None) as bench:
            held = set(machine.device.live)
            machine.device.gpu = replace(machine.device.gpu, memory=0)
            machine.cuda._gpus = (machine.device.gpu,)
            with pytest.raises(BackendError, match="memory"):
                bench.workload(Setting(Origin.DEVICE, 2, 1))
            assert machine.device.live == held

    def test_the_batch_must_fit_its_profile(
        self, tmp_path: Path, picture: Path, photo: NDArray[np.uint8]
    ) -> None:
        path = engines.frames(tmp_path / "a.engine")
        with (
            Workbench(Runner(path, None), picture, photo, None) as bench,
            pytest.raises(BackendError, match="takes batches of 1 to 4, not 5"),
        ):
            bench.workload(Setting(Origin.ARRAY, 5, 1))


def test_labels() -> None:
    assert Runner(Path("x/a.onnx"), Provider.CPU).label == "a.onnx"
    assert Runner(Path("x/a.onnx"), Provider.CUDA).label == "a.onnx (cuda)"
    assert Runner(Path("a.engine"), None).label == "a.engine"
    assert Runner(Path("a\udcff.engine"), None).label == "a\\xff.engine"
