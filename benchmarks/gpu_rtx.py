"""TensorRT for RTX on a GPU that its documentation does not list: compatibility and latency.

An engine of `nano` in the frames form in FP16 is built and loaded for every plausible target, and
the messages of TensorRT are recorded.  With the first target that works, for `nano` and then for
--preset: parity with ONNX Runtime on the CPU; cold start without and with the runtime cache;
latency in GPU memory at batch 1, 4 and 8, with and without CUDA graphs, interleaved; and for `nano`
the growth of memory over many inferences.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

from common import add_schedule_options, in_new_process, schedule_of, write
from gpu_calls import machine_parser, open_device, reason_of
from gpu_frames import frames_artifact, make_frames, mask_parity

import dsunet_runtime
from dsunet_export.options import ExportPrecision
from dsunet_export.stopwatch import print_step
from dsunet_export.tensorrt import configuration
from dsunet_export.tensorrt.builder import build_engine
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.profiles import Ranges
from dsunet_export.tensorrt.targets import Target
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.backends.tensorrt.engine import LoadedEngine
from dsunet_runtime.bench.cold_start import measure_cold_start
from dsunet_runtime.bench.image import DEFAULT_SIZE, make_image
from dsunet_runtime.bench.measurement import Schedule, measure_interleaved, warm_up_all
from dsunet_runtime.bench.memory_use import device_used, resident
from dsunet_runtime.bench.monitor import GpuMonitor
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.bench.workload import Runner, Setting, Workbench
from dsunet_runtime.cuda import Gpu
from dsunet_runtime.images.decode import read_rgb

NONE = "none"
"""A target: all GPUs that TensorRT supports."""
TARGETS = ("CURRENT", NONE, "SM80", "SM86", "SM89")
TRIED = "nano"
BATCHES = (1, 4, 8)
SMALLEST = (64, 64)
"""Minimum height and width of the engines."""
WITHOUT_A_GPU = "8.0"
"""The compute capability that is written beside an engine where there is no GPU to load it."""


def main() -> None:
    parser = machine_parser(__doc__)
    parser.add_argument(
        "--inferences",
        type=int,
        default=10_000,
        help="Number of calls for the growth of memory (default: %(default)s).",
    )
    parser.add_argument(
        "--attempt",
        choices=TARGETS,
        help="Internal: build, load and run one target in this process.",
    )
    add_schedule_options(parser, rounds=5, seconds=2)
    arguments = parser.parse_args()
    gpu = open_device(arguments.device)
    tried = frames_artifact(TRIED, ExportPrecision.FP16, arguments.work)
    if arguments.attempt:
        print(json.dumps(attempt(tried, arguments.attempt, gpu)))
        return
    found: dict[str, Any] = {"attempts": {}, "presets": {}, "left_out": {}}
    with ThreadPoolExecutor(len(TARGETS)) as pool:
        found["attempts"] = dict(
            zip(TARGETS, pool.map(attempt_in_new_process, TARGETS), strict=True)
        )
    write("gpu_rtx", found, gpu)
    runs = [member for member, one in found["attempts"].items() if one["outcome"] == "runs"]
    if not runs or gpu is None:
        found["left_out"]["measurements"] = "no engine runs here: see `attempts`"
        write("gpu_rtx", found, gpu)
        return
    for preset in dict.fromkeys((TRIED, arguments.preset)):
        result: dict[str, Any] = {}
        found["presets"][preset] = result
        for name, measure in measurements_of(preset, runs[0], arguments, gpu).items():
            begun = time.perf_counter()
            try:
                result[name] = measure()
            except Exception as error:  # whatever a library raises: the others go on
                found["left_out"][f"{name} of {preset}"] = reason_of(error)
            print(f"{preset} {name}: {time.perf_counter() - begun:.1f} s", flush=True)
            write("gpu_rtx", found, gpu)


def attempt_in_new_process(member: str) -> dict[str, Any]:
    """Run `attempt` in a new process, which may crash."""
    try:
        result: dict[str, Any] = in_new_process(__file__, *sys.argv[1:], "--attempt", member)
    except subprocess.CalledProcessError as error:
        result = {"outcome": "crashes", "reason": str(error)}
    print(member, result["outcome"], result["reason"], flush=True)
    return result


def measurements_of(
    preset: str, member: str, arguments: argparse.Namespace, gpu: Gpu
) -> dict[str, Callable[[], Any]]:
    """Return the measurements of a preset by name, in their order."""
    schedule = schedule_of(arguments)
    engine = arguments.work / f"{preset}_{member}.engine"

    def graph() -> Path:
        return frames_artifact(preset, ExportPrecision.FP16, arguments.work)

    def build() -> float:
        begun = time.perf_counter()
        build_for(graph(), engine, member, gpu)
        return time.perf_counter() - begun

    found: dict[str, Callable[[], Any]] = {
        "macs": lambda: read_manifest(graph()).macs,
        "build_s": build,
        "parity_with_cpu": lambda: mask_parity(Runner(engine, None), graph()),
        "latency": lambda: latencies(engine, schedule, gpu),
        "cold_start": lambda: cold_starts(engine),
    }
    if preset == TRIED:
        found["growth"] = lambda: growth(engine, arguments.inferences, gpu)
    return found


def build_for(graph: Path, engine: Path, member: str, gpu: Gpu | None) -> None:
    """Build for a member of TensorRT's own enumeration, whatever the manifest calls the GPU."""

    def configure_rtx(trt: Any, config: Any, target: Target) -> None:
        if member != NONE:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, member), 0)
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)

    most = BATCHES[-1]
    ranges = Ranges((1, most, most), (SMALLEST, DEFAULT_SIZE, DEFAULT_SIZE))
    hardware = {gpu.compute_capability if gpu else WITHOUT_A_GPU: ()}
    target = Target(Flavor.RTX, hardware, "tried")
    options = EngineOptions(ranges=ranges, verbosity=1)
    with patch.object(configuration, "configure_rtx", configure_rtx):
        build_engine(graph, engine, target, options, print_step)


def attempt(graph: Path, member: str, gpu: Gpu | None) -> dict[str, Any]:
    """Build, load and run once; return the outcome and the message."""
    engine, output = graph.with_name(f"{graph.stem}_{member}_tried.engine"), io.StringIO()
    outcome = "does not build"
    try:
        with redirect_stderr(output):
            build_for(graph, engine, member, gpu)
        outcome = "does not load"
        with dsunet_runtime.load(engine) as segmenter:
            outcome = "does not compute"
            segmenter.batch(list(make_frames(1).numpy()))
        outcome = "runs"
        reason = None
    except Exception as error:  # whatever a library raises: it is the result
        reason = reason_of(error)
    log = [line for line in output.getvalue().splitlines() if line.startswith("[")]
    return {"outcome": outcome, "reason": reason, "log": log[-40:]}


def cold_starts(engine: Path) -> dict[str, Any]:
    """Measure cold starts without and with the runtime cache."""
    for cache in engine.parent.glob(f"{engine.name}.*.cache"):
        cache.unlink()
    with tempfile.TemporaryDirectory() as folder:
        image = make_image(Path(folder) / "image.jpg", DEFAULT_SIZE)
        return {
            name: dataclasses.asdict(measure_cold_start(Runner(engine, None), image, None))
            for name in ("without_cache", "with_cache")
        }


@contextmanager
def benches(engine: Path) -> Iterator[dict[str, Workbench]]:
    """The engine, loaded once with CUDA graphs and once without."""
    create = LoadedEngine.create_context

    def create_plain(loaded: LoadedEngine, cache_file: Path | None) -> Any:
        return create(loaded, None)

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        image = make_image(Path(folder) / "image.jpg", DEFAULT_SIZE)
        arguments = (Runner(engine, None), image, read_rgb(image), None)
        found = {"graphs": stack.enter_context(Workbench(*arguments))}
        with patch.object(LoadedEngine, "create_context", create_plain):
            found["plain"] = stack.enter_context(Workbench(*arguments))
        yield found


def latencies(engine: Path, schedule: Schedule, gpu: Gpu) -> dict[str, Any]:
    """Measure latency and throughput in GPU memory."""
    with benches(engine) as loaded:
        names = [f"{name}, batch {batch}" for name in loaded for batch in BATCHES]
        settings = [Setting(Origin.DEVICE, batch, 1) for batch in BATCHES]
        workloads = [bench.workload(one) for bench in loaded.values() for one in settings]
        measurements = warm_up_all(workloads, schedule, print)
        with GpuMonitor(gpu) as monitor:
            measure_interleaved(measurements, schedule, print)
            warnings = monitor.readings.warnings() if monitor.readings else []
    variants = {
        name: {**dataclasses.asdict(one.latency), "images_per_s": one.images_per_second}
        for name, one in zip(names, measurements, strict=True)
    }
    return {"variants": variants, "warnings": warnings}


def growth(engine: Path, inferences: int, gpu: Gpu) -> dict[str, Any]:
    """Measure the growth of host and GPU memory over calls, after 100 warm-up calls."""
    with benches(engine) as loaded:
        (call,) = loaded["graphs"].workload(Setting(Origin.DEVICE, 1, 1)).calls
        for _ in range(100):
            call()
        before = resident(), device_used(gpu)
        for _ in range(inferences):
            call()
        after = resident(), device_used(gpu)
    grown = [None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)]
    return {"inferences": inferences, "host_bytes": grown[0], "device_bytes": grown[1]}


if __name__ == "__main__":
    main()
