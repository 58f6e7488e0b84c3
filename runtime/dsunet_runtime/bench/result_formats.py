"""Benchmark results as tables, JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsunet_runtime import __version__
from dsunet_runtime.bench.benchmark import BenchResults, RelativeTime
from dsunet_runtime.bench.cold_start import ColdStart
from dsunet_runtime.bench.latency_plot import draw_latency_plot
from dsunet_runtime.bench.measurement import Measurement
from dsunet_runtime.bench.monitor import describe_machine
from dsunet_runtime.bench.roofline.roofline_plot import draw_roofline_plot
from dsunet_runtime.bench.roofline.roofline_table import (
    format_roofline,
    roofline_document,
    roofline_rows,
)
from dsunet_runtime.files import make_folder, write_whole

_PACKAGES = (
    *("numpy", "pillow", "onnxruntime", "onnxruntime-gpu"),
    *("tensorrt-rtx", "tensorrt", "cuda-python", "pycuda"),
)
_COLUMNS = ("min", "median", "mean", "p90", "p95", "p99")
_FIELDS = ("minimum", "median", "mean", "p90", "p95", "p99")
_CALLS, _COLD_STARTS = "latency in ms", "cold start in s"
_UNKNOWN = "–"


def format_tables(results: BenchResults) -> str:
    """Format tables of latency, ratios, cold starts and rooflines, GPU readings and warnings."""
    blocks = [_calls(results.measurements), _ratios(results.relative_times)]
    blocks.append(_cold_starts(results))
    blocks += map(format_roofline, results.rooflines)
    if results.gpu_readings is not None:
        readings = results.gpu_readings
        blocks.append(
            [
                f"GPU: {readings.clock_mhz.median:.0f} MHz ({readings.clock_mhz.minimum:.0f} to "
                f"{readings.clock_mhz.maximum:.0f}), {readings.power_w.median:.0f} W, "
                f"{readings.temperature_c.median:.0f} °C"
            ]
        )
    blocks.append([f"warning: {line}" for line in results.warnings])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def bench_document(results: BenchResults) -> dict[str, Any]:
    """Return all results and the machine as plain values for JSON, in seconds and bytes."""
    relative_times = {id(one.measurement): one for one in results.relative_times}
    return {
        "format_version": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(results.gpu),
        "versions": _versions(),
        "image": {"width": results.width, "height": results.height},
        "artifacts": [
            {
                "artifact": one.runner.title,
                "provider": one.runner.provider,
                "precision": one.manifest.precision.compute,
                "input": one.manifest.input_form,
                "graph_sha256": one.manifest.graph.sha256,
                "cold_start": one.cold_start and dataclasses.asdict(one.cold_start),
            }
            for one in results.runners
        ],
        "measurements": [
            {
                **_setting(one),
                "warm_up": dataclasses.asdict(one.warm_up),
                "latency": dataclasses.asdict(one.latency),
                "images_per_second": one.images_per_second,
                "time_relative_to_first": _ratio(relative_times.get(id(one))),
            }
            for one in results.measurements
        ],
        "rooflines": [roofline_document(one) for one in results.rooflines],
        "gpu": results.gpu_readings and dataclasses.asdict(results.gpu_readings),
        "host_growth": results.host_growth,
        "warnings": list(results.warnings),
    }


def write_bench(results: BenchResults, folder: Path) -> None:
    """Write bench.json, bench.csv and bench.svg; with rooflines also roofline.csv and roofline.svg.

    Each file is written atomically.  Raises OutputError if one cannot be written.
    """
    files = {
        "bench.json": json.dumps(bench_document(results), indent=2) + "\n",
        "bench.csv": _as_csv(_csv_rows(results.measurements)),
        "bench.svg": draw_latency_plot(results.measurements),
    }
    if results.rooflines:
        rows = [row for one in results.rooflines for row in roofline_rows(one)]
        files["roofline.csv"] = _as_csv(rows)
        files["roofline.svg"] = draw_roofline_plot(results.rooflines)
    make_folder(folder)
    for name, text in files.items():
        _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def _calls(measurements: Sequence[Measurement]) -> list[str]:
    labels = [one.workload.runner.label for one in measurements]
    width = max(len(_CALLS), *map(len, labels)) + 2
    heading = "".join(f"{name:>9}" for name in _COLUMNS)
    lines = [f"{_CALLS:{width}}{'from':6} batch streams{heading}{'images/s':>10}{'calls':>7}"]
    for label, one in zip(labels, measurements, strict=True):
        setting, latency = one.workload.setting, one.latency
        figures = "".join(f"{1000 * getattr(latency, name):9.2f}" for name in _FIELDS)
        lines.append(
            f"{label:{width}}{setting.origin:6}{setting.batch:>6}{setting.streams:>8}"
            f"{figures}{one.images_per_second:10.1f}{latency.calls:>7}"
        )
    return lines


def _ratios(relative_times: Sequence[RelativeTime]) -> list[str]:
    return [
        f"time per image, {one.measurement.workload.runner.label} / "
        f"{one.first.workload.runner.label}, {one.measurement.workload.setting}: "
        f"{one.time.median:.3f} ({one.time.minimum:.3f} to {one.time.maximum:.3f})"
        + (", within noise" if one.time.within_noise else "")
        for one in relative_times
    ]


def _cold_starts(results: BenchResults) -> list[str]:
    started = [
        (one.runner.label, one.cold_start) for one in results.runners if one.cold_start is not None
    ]
    if not started:
        return []
    width = max(len(_COLD_STARTS), *(len(label) for label, _ in started)) + 2
    columns = ("start", "import", "load", "first", "next", "host MB", "peak MB", "GPU MB")
    heading = "".join(f"{name:>9}" for name in columns)
    lines = [f"{_COLD_STARTS:{width}}{heading}"]
    return lines + [f"{label:{width}}{_cells(start)}" for label, start in started]


def _cells(start: ColdStart) -> str:
    seconds = (start.start, start.imports, start.load, start.first, start.next)
    memory = (start.host_computed, start.host_peak, start.device_computed)
    return "".join(f"{value:9.2f}" for value in seconds) + "".join(
        f"{_UNKNOWN if value is None else f'{value / 1e6:.0f}':>9}" for value in memory
    )


def _setting(one: Measurement) -> dict[str, Any]:
    runner, setting = one.workload.runner, one.workload.setting
    return {
        "artifact": runner.title,
        "provider": runner.provider,
        "from": setting.origin,
        "batch": setting.batch,
        "streams": setting.streams,
    }


def _ratio(one: RelativeTime | None) -> dict[str, Any] | None:
    return None if one is None else dataclasses.asdict(one.time)


def _csv_rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    return [
        {**_setting(one), **dataclasses.asdict(one.latency), "images_per_s": one.images_per_second}
        for one in measurements
    ]


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _versions() -> dict[str, str]:
    return {"dsunet": __version__, **dict(_installed())}


def _installed() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
