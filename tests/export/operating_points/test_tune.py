"""All points, with stand-ins for export, evaluation and timing; planted faults must show."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsunet import DSUNetConfig, Injection
from dsunet.errors import ConfigError
from dsunet_export.errors import VerificationError
from dsunet_export.operating_points.choice import fastest_within, loss_of, pareto_front
from dsunet_export.operating_points.measurement import Instruments
from dsunet_export.operating_points.points import Point, list_points
from dsunet_export.operating_points.results import Accuracy, PointResult, ResultFiles, Timing
from dsunet_export.operating_points.tune import TuningResult, tune_points
from dsunet_export.operating_points.tune_report import format_tuning, tuning_document, write_tuning
from dsunet_export.options import ExportPrecision
from dsunet_runtime.bench.workload import Runner
from dsunet_runtime.provider import Provider

NANO = DSUNetConfig.preset("nano")
FP32, INT8 = ExportPrecision.FP32, ExportPrecision.INT8
ABOUT = {"checkpoint": "nano.safetensors"}


def points_of(*sizes: int, precisions: tuple[ExportPrecision, ...] = (FP32,)) -> list[Point]:
    return list_points(NANO, [160], sizes, precisions, [Provider.CPU])


@dataclass
class Laboratory:
    """Losses and times by the size of DINOv2's input, instead of measurements."""

    losses: dict[int, float]
    ratios: dict[int, float]
    noisy: set[int] = field(default_factory=set)
    exports: list[Point] = field(default_factory=list)
    timed: list[tuple[str, str]] = field(default_factory=list)
    stops_at: int | None = None
    refuses: int | None = None

    def export(self, point: Point, path: Path) -> Any:
        if point.dino_size == self.stops_at:
            raise KeyboardInterrupt
        if point.dino_size == self.refuses:
            raise VerificationError("outside the tolerance")
        self.exports.append(point)
        path.write_text(str(point.dino_size))
        path.with_name(f"{path.name}.data").write_bytes(bytes(100))
        return SimpleNamespace(
            macs=1000 * (point.dino_size or 0), files=[_named(f"{path.name}.data")]
        )

    def evaluate(self, artifact: Path, provider: Provider) -> dict[str, Accuracy]:
        loss = self.losses[int(artifact.read_text())]
        each = tuple(s - loss for s in (0.8, 0.9))
        return {"scenes": Accuracy(0.85 - loss, 0.05 + loss, each)}

    def time(self, runner: Runner, reference: Runner) -> Timing:
        assert len(list(runner.artifact.parent.glob("*.onnx"))) <= 2
        size, first = runner.artifact.read_text(), reference.artifact.read_text()
        self.timed.append((size, first))
        ratio = self.ratios[int(size)]
        return Timing(ratio / 10, ratio, ratio - 0.01, ratio + 0.01, int(size) in self.noisy)

    def tune(self, folder: Path, points: list[Point], **changes: Any) -> TuningResult:
        instruments = Instruments(self.export, self.evaluate, self.time)
        given: dict[str, Any] = {
            "max_loss": 0.005,
            "seconds": None,
            "report": lambda number, point, found: None,
            **changes,
        }
        return tune_points(
            points, instruments, ResultFiles(folder / "points", ABOUT), folder, **given
        )


def _named(name: str) -> SimpleNamespace:
    return SimpleNamespace(name=name)


@pytest.fixture
def laboratory() -> Laboratory:
    """At 112 it is as good as the reference, at 56 faster but worse than allowed."""
    return Laboratory(
        losses={224: 0.0, 168: 0.001, 112: 0.004, 56: 0.0051},
        ratios={224: 1.0, 168: 0.9, 112: 0.7, 56: 0.5},
    )


def test_the_fastest_within_the_loss(laboratory: Laboratory, tmp_path: Path) -> None:
    found = laboratory.tune(tmp_path, points_of(168, 112, 56))
    assert [one.point.dino_size for one in found.results] == [224, 168, 112, 56]
    assert found.fastest.point.dino_size == 112
    assert laboratory.timed == [(size, "224") for size in ("224", "168", "112", "56")]
    assert [one.size for one in found.results] == [103, 103, 103, 102]
    assert laboratory.tune(tmp_path, points_of(56), max_loss=0.006).fastest.point.dino_size == 56


def test_a_worse_point_is_not_chosen(laboratory: Laboratory, tmp_path: Path) -> None:
    """Also if it is the fastest by far, or worse on one of two datasets."""
    laboratory.losses[112] = 0.1
    assert laboratory.tune(tmp_path, points_of(168, 112, 56)).fastest.point.dino_size == 168
    good, bad = Accuracy(0.85, 0.05, (0.8, 0.9)), Accuracy(0.8, 0.05, (0.75, 0.85))
    reference = result(1.0, {"a": good, "b": good})
    found = result(0.1, {"a": good, "b": bad})
    assert loss_of(found, reference).dataset == "b"
    assert fastest_within([reference, found], reference, 0.005) is reference


def test_what_is_faster_by_chance_is_not_chosen(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.noisy = {112}
    assert laboratory.tune(tmp_path, points_of(112, 168)).fastest.point.dino_size == 168


def result(ratio: float, accuracy: dict[str, Accuracy], dino: int = 1) -> PointResult:
    point = Point(160, dino, FP32, Provider.CPU)
    return PointResult(point, 1, 1, accuracy, Timing(ratio, ratio, ratio, ratio, False))


def test_loss_and_its_error() -> None:
    before = Accuracy(0.8, 0.05, (0.7, 0.8, 0.9))
    after = Accuracy(0.78, 0.05, (0.7, 0.75, 0.89))
    loss = loss_of(result(0.5, {"a": after}), result(1.0, {"a": before}))
    assert loss.value == pytest.approx(0.02)
    deviations = [(d - 0.02) ** 2 for d in (0.0, 0.05, 0.01)]
    assert loss.standard_error == pytest.approx(math.sqrt(sum(deviations) / 2) / math.sqrt(3))


def test_pareto_front() -> None:
    def one(ratio: float, s_measure: float) -> PointResult:
        return result(ratio, {"a": Accuracy(s_measure, 0, (s_measure,))})

    reference = one(1.0, 0.9)
    better, slower, worse, same = one(0.8, 0.91), one(0.9, 0.905), one(0.5, 0.7), one(0.5, 0.7)
    dominated = one(0.6, 0.69)
    found = pareto_front([reference, better, slower, worse, same, dominated], reference)
    assert found == [better, worse, same]


@pytest.mark.parametrize("stop", [224, 168, 112, 56])
def test_a_resumed_run_equals_an_uninterrupted_one(
    laboratory: Laboratory, tmp_path: Path, stop: int
) -> None:
    points = points_of(168, 112, 56)
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    whole = laboratory.tune(tmp_path / "whole", points)
    laboratory.stops_at = stop
    with pytest.raises(KeyboardInterrupt):
        laboratory.tune(tmp_path / "resumed", points)
    laboratory.stops_at, laboratory.exports = None, []
    resumed = laboratory.tune(tmp_path / "resumed", points)
    assert tuning_document(resumed, ABOUT) == tuning_document(whole, ABOUT)
    left = [point for point in points if (point.dino_size or 0) <= stop]
    assert laboratory.exports == [*points[:1], *left[stop == 224 :]]
    assert not list((tmp_path / "resumed").glob("**/*.onnx"))


def test_results_are_those_of_their_inputs(laboratory: Laboratory, tmp_path: Path) -> None:
    points = points_of(112)
    laboratory.tune(tmp_path, points)
    laboratory.exports = []
    laboratory.tune(tmp_path, points)
    assert laboratory.exports == []
    files = ResultFiles(tmp_path / "points", {**ABOUT, "checkpoint": "other.safetensors"})
    assert files.read(points[1]) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"point": 1}'])
def test_a_damaged_result_is_measured_again(
    laboratory: Laboratory, tmp_path: Path, damage: bytes
) -> None:
    points = points_of(112)
    whole = laboratory.tune(tmp_path, points)
    ResultFiles(tmp_path / "points", ABOUT).path(points[1]).write_bytes(damage)
    laboratory.exports = []
    again = laboratory.tune(tmp_path, points)
    assert laboratory.exports == points
    assert tuning_document(again, ABOUT) == tuning_document(whole, ABOUT)


def test_a_result_of_another_point_is_not_read(laboratory: Laboratory, tmp_path: Path) -> None:
    points = points_of(112, 56)
    laboratory.tune(tmp_path, points)
    files = ResultFiles(tmp_path / "points", ABOUT)
    files.path(points[2]).rename(files.path(points[1]))
    assert files.read(points[1]) is None


def test_the_budget(laboratory: Laboratory, tmp_path: Path) -> None:
    """The reference is measured in any case; what was measured before costs nothing."""
    points = points_of(168, 112)
    found = laboratory.tune(tmp_path, points, seconds=0)
    assert [one.point for one in found.results] == points[:1]
    assert found.not_tried == points[1:]
    assert "not tried, because the time limit of --budget was reached: 2 points" in format_tuning(
        found
    )
    laboratory.tune(tmp_path, points[:2])
    found = laboratory.tune(tmp_path, points, seconds=0)
    assert [one.point for one in found.results] == points[:2]


def test_a_point_that_fails_is_left_out(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.refuses = 112
    found = laboratory.tune(tmp_path, points_of(168, 112, 56))
    assert [one.point.dino_size for one in found.results] == [224, 168, 56]
    assert "not measured: hiera 160, dino 112, fp32, cpu: outside the tolerance" in format_tuning(
        found
    )
    laboratory.refuses = 224
    (tmp_path / "new").mkdir()
    with pytest.raises(VerificationError):
        laboratory.tune(tmp_path / "new", points_of(112))
    assert not list((tmp_path / "new").iterdir())


def test_one_artifact_for_several_providers(laboratory: Laboratory, tmp_path: Path) -> None:
    points = list_points(NANO, [160], [112], [FP32], [Provider.CPU, Provider.OPENVINO])
    laboratory.tune(tmp_path, points)
    assert [(one.dino_size, one.provider) for one in points] == [
        (224, "cpu"), (112, "cpu"), (112, "openvino"),
    ]  # fmt: skip
    assert [point.dino_size for point in laboratory.exports] == [224, 112]


class TestPoints:
    def test_default_sizes(self) -> None:
        points = list_points(DSUNetConfig.preset("large"), [], [], [FP32], [Provider.CPU])
        assert {point.dino_size for point in points} == {518, 392, 266, 196}
        assert {point.hiera_size for point in points} == {352, 256}
        nano = list_points(NANO, [], [], [FP32], [Provider.CPU])
        assert {point.hiera_size for point in nano} == {160, 128}

    def test_sizes_that_the_network_does_not_take_are_not_tried(self) -> None:
        config = NANO.resized(hiera_size=128)
        points = list_points(config, [], [], [FP32], [Provider.CPU])
        assert {point.hiera_size for point in points} == {128}

    def test_the_reference_is_first_and_once(self) -> None:
        points = points_of(112, 224, precisions=(INT8, FP32))
        assert points[0] == Point(160, 224, FP32, Provider.CPU)
        assert len(points) == len(set(points)) == 4

    def test_without_dinov2(self) -> None:
        config = NANO.replace(injection=Injection.NONE)
        points = list_points(config, [], [], [FP32], [Provider.CPU])
        assert points == [
            Point(160, None, FP32, Provider.CPU),
            Point(128, None, FP32, Provider.CPU),
        ]
        assert points[0].label == "hiera 160, fp32, cpu"
        with pytest.raises(ConfigError, match="no DINOv2"):
            list_points(config, [], [112], [FP32], [Provider.CPU])

    def test_a_size_that_does_not_fit(self) -> None:
        with pytest.raises(ConfigError, match="such as 98 or 112"):
            points_of(100)


def test_report(laboratory: Laboratory, tmp_path: Path) -> None:
    found = laboratory.tune(tmp_path, points_of(168, 112, 56))
    write_tuning(found, ABOUT, tmp_path)
    document = json.loads((tmp_path / "tune.json").read_text())
    assert document["fastest"]["dino_size"] == 112
    assert [one["on_front"] for one in document["points"]] == [True] * 4
    assert document["points"][2]["loss"] == pytest.approx(0.004)
    page = (tmp_path / "tune.html").read_text()
    assert page.count("<circle") == 5  # four on the front, and the chosen one again
    assert page.count("<polyline") == 1
    for line in format_tuning(found).splitlines():
        assert line.startswith(">*") is (" 112 " in line and "  0.700  " in line), line


def test_without_any_loss_the_plot_still_has_an_axis(tmp_path: Path) -> None:
    one = result(1.0, {"a": Accuracy(0.9, 0.1, (0.9,))})
    write_tuning(TuningResult([one], {}, [], 0.005), ABOUT, tmp_path)
    document = json.loads((tmp_path / "tune.json").read_text())
    assert document["points"][0]["loss_standard_error"] is None
