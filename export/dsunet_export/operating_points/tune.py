"""Measure all points, one after the other, and choose one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsunet.errors import DSUNetError
from dsunet_export.errors import ExportError
from dsunet_export.operating_points.choice import fastest_within, pareto_front, result_in_words
from dsunet_export.operating_points.measurement import Instruments
from dsunet_export.operating_points.points import Point
from dsunet_export.operating_points.results import PointResult, ResultFiles
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.bench.workload import Runner
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.files import staging_folder


@dataclass(frozen=True, slots=True)
class TuningResult:
    """The results of all points, and the chosen one."""

    results: Sequence[PointResult]
    """The first is the reference."""
    failures: dict[Point, str]
    """Points that cannot be exported or run, with the reason."""
    not_tried: Sequence[Point]
    """Points that the time limit left out."""
    max_loss: float

    @property
    def reference(self) -> PointResult:
        """The network's own sizes in fp32."""
        return self.results[0]

    @property
    def front(self) -> list[PointResult]:
        """The Pareto front of time and loss."""
        return pareto_front(self.results, self.reference)

    @property
    def fastest(self) -> PointResult:
        """The fastest result within the loss."""
        return fastest_within(self.results, self.reference, self.max_loss)


def tune_points(
    points: Sequence[Point],
    instruments: Instruments,
    files: ResultFiles,
    folder: Path,
    *,
    max_loss: float,
    seconds: float | None,
    report: Callable[[int, Point, str], None],
) -> TuningResult:
    """Measure every point, or read its stored result.

    Args:
        points: The points; the first is the reference.
        instruments: Functions that export, evaluate and time.
        files: The files of the results.
        folder: Folder for the artifacts while they are measured: two at a time.
        max_loss: Largest loss of S-measure of the fastest point.
        seconds: Time after which no further point is begun; None for no limit.  The reference is
            always measured.
        report: Called after each point with its number from 1 and a line about it.

    Raises:
        ExportError, DSUNetError, RuntimeFault: The reference cannot be measured.
    """
    end = None if seconds is None else time.monotonic() + seconds
    results: list[PointResult] = []
    failures: dict[Point, str] = {}
    not_tried = []
    with staging_folder(folder) as staging:
        artifacts = _Artifacts(instruments.export, staging, points[0])
        for number, point in enumerate(points, 1):
            found = files.read(point)
            if found is None:
                if results and end is not None and time.monotonic() >= end:
                    not_tried.append(point)
                    continue
                try:
                    found = _measure(point, artifacts, instruments)
                except (ExportError, DSUNetError, RuntimeFault) as fault:
                    if not results:
                        raise
                    failures[point] = str(fault)
                    report(number, point, str(fault))
                    continue
                files.write(found)
            results.append(found)
            report(number, point, result_in_words(found, results[0]))
    return TuningResult(results, failures, not_tried, max_loss)


class _Artifacts:
    """The artifact of the reference, and one other at a time."""

    def __init__(
        self, export: Callable[[Point, Path], Manifest], folder: Path, reference: Point
    ) -> None:
        self._export = export
        self._folder = folder
        self._reference = reference
        self._made: dict[tuple[object, ...], tuple[Path, Manifest]] = {}

    def reference(self) -> Runner:
        return Runner(self.of(self._reference)[0], self._reference.provider)

    def of(self, point: Point) -> tuple[Path, Manifest]:
        """Return the artifact of a point, exported unless it is the last or the reference's."""
        key, kept = _artifact_of(point), _artifact_of(self._reference)
        if key not in self._made:
            for other in self._made.keys() - {kept}:
                path, _ = self._made.pop(other)
                for file in self._folder.glob(f"{path.name}*"):
                    file.unlink()
            path = self._folder / f"{'-'.join(map(str, key))}.onnx"
            self._made[key] = path, self._export(point, path)
        return self._made[key]


def _artifact_of(point: Point) -> tuple[object, ...]:
    """Return what identifies the artifact of a point: all but the provider."""
    return point.hiera_size, point.dino_size, point.precision


def _measure(point: Point, artifacts: _Artifacts, instruments: Instruments) -> PointResult:
    reference = artifacts.reference()  # first: the artifact of one other point is kept at a time
    artifact, manifest = artifacts.of(point)
    files = [artifact, *(artifact.with_name(file.name) for file in manifest.files)]
    return PointResult(
        point,
        manifest.macs,
        sum(file.stat().st_size for file in files),
        instruments.evaluate(artifact, point.provider),
        instruments.time(Runner(artifact, point.provider), reference),
    )
