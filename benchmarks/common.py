"""Shared code of the benchmarks: interleaved measurement, statistics, processes, result files."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsunet_runtime.bench.measurement import Schedule, measure_interleaved, warm_up_all
from dsunet_runtime.bench.memory_use import peak_resident
from dsunet_runtime.bench.monitor import describe_machine
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.bench.statistics import Ratio
from dsunet_runtime.bench.workload import Call, Runner, Setting, Workload
from dsunet_runtime.cuda import Gpu
from dsunet_runtime.progress import StatusLine

RESULTS = Path(os.environ.get("DSUNET_RESULTS", Path(__file__).parent / "results"))
"""Folder of the result files; set DSUNET_RESULTS for trial runs."""

_PACKAGES = (
    *("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "openvino", "tensorrt-rtx"),
    *("numpy", "pillow", "pysodmetrics"),
)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Create the parser of a script whose docstring is the description, with its line breaks."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def preset_parser(
    description: str | None, preset: str, *, rounds: int = 10, seconds: float = 10
) -> argparse.ArgumentParser:
    """Create a parser with --preset and the options of the schedule; the values are defaults."""
    parser = make_parser(description)
    add_preset_option(parser, preset)
    add_schedule_options(parser, rounds=rounds, seconds=seconds)
    return parser


def add_preset_option(parser: argparse.ArgumentParser, preset: str) -> None:
    """Add --preset."""
    parser.add_argument(
        "--preset", default=preset, help="Preset of the network (default: %(default)s)."
    )


def add_rounds_option(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Add --rounds."""
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="Number of rounds (default: %(default)s)."
    )


def add_schedule_options(
    parser: argparse.ArgumentParser, *, rounds: int = 10, seconds: float = 10
) -> None:
    """Add the options that `schedule_of` reads."""
    add_rounds_option(parser, rounds)
    parser.add_argument(
        "--seconds",
        type=float,
        default=seconds,
        help="Measuring time per variant, over all rounds (default: %(default)s).",
    )


def schedule_of(arguments: argparse.Namespace) -> Schedule:
    """Return the schedule that the options define."""
    return Schedule(rounds=arguments.rounds, seconds=arguments.seconds)


def measure_interleaved_calls(
    calls: Mapping[str, Call], schedule: Schedule
) -> dict[str, list[float]]:
    """Measure variants interleaved; return the median seconds of a call in each round, by variant.

    Each variant is warmed up until its latency is stable.  Each round starts with another variant.
    """
    setting = Setting(Origin.INPUTS, batch=1, streams=1)
    workloads = [
        Workload(Runner(Path(name), None), setting, (call,)) for name, call in calls.items()
    ]
    with StatusLine(sys.stderr) as status:
        measurements = warm_up_all(workloads, schedule, status.show)
        measure_interleaved(measurements, schedule, status.show)
    return {
        name: [statistics.median(one.calls) for one in measurement.rounds]
        for name, measurement in zip(calls, measurements, strict=True)
    }


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median and range of repeated timings, for result files."""
    return {
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "all_s": seconds,
    }


def summaries(times: Mapping[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Median and range of each variant, for result files."""
    return {name: summary(seconds) for name, seconds in times.items()}


def ratio(new: list[float], old: list[float]) -> dict[str, Any]:
    """Ratio new / old by round, for result files."""
    found = Ratio.of(new, old)
    return {"median": found.median, "min": found.minimum, "max": found.maximum}


def print_times(times: Mapping[str, list[float]]) -> None:
    """Print median and range of each variant."""
    for name, seconds in times.items():
        median, low, high = (1000 * f(seconds) for f in (statistics.median, min, max))
        print(f"{name:32}{median:10.2f} ms  ({low:.2f} to {high:.2f})", flush=True)


def in_new_process(*arguments: object) -> Any:
    """Run Python in a new process, and return the JSON of its last line of output."""
    output = subprocess.run(
        [sys.executable, *(str(argument) for argument in arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return json.loads(output.splitlines()[-1])


def peak_bytes() -> int:
    """Peak resident memory of this process in bytes.

    `getrusage` is not used, since it includes the peak of the parent process.
    """
    peak = peak_resident()
    if peak is None:
        raise SystemExit("peak memory can be measured on Linux only")
    return peak


def write(name: str, result: Mapping[str, Any], gpu: Gpu | None = None) -> None:
    """Write results/NAME.json, and print its content as the last line."""
    document = {"benchmark": name, **_circumstances(gpu), **result}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))


def _circumstances(gpu: Gpu | None) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        **describe_machine(gpu),
        "load_after": os.getloadavg(),
        "versions": dict(_installed()),
    }


def _commit() -> str | None:
    """Short hash of the commit, with `-dirty` if files other than benchmark output have changed.

    None without git or outside a repository.
    """
    head = _git("rev-parse", "--short", "HEAD")
    written = ("results", "plots", "README.md")
    but = [f":(top,exclude)benchmarks/{name}" for name in written]
    changed = _git("status", "--porcelain", "-uno", "--", ":/", *but)
    return f"{head}-dirty" if head and changed else head or None


def _git(*arguments: str) -> str:
    """Output of a git command; empty if it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _installed() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
