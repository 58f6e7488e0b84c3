"""A benchmark, from its options to its results."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.artifact.shapes import batch_range
from dsunet_runtime.bench.cold_start import ColdStart, measure_cold_start
from dsunet_runtime.bench.image import make_image, size_for
from dsunet_runtime.bench.measurement import Measurement, Schedule, measure_interleaved, warm_up_all
from dsunet_runtime.bench.memory_use import resident
from dsunet_runtime.bench.monitor import GpuMonitor, GpuReadings, busy_cores, gpu_of
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.bench.roofline.roofline_measurement import (
    RooflineRequest,
    check_can_profile,
    measure_rooflines,
)
from dsunet_runtime.bench.roofline.summary import Roofline
from dsunet_runtime.bench.statistics import Ratio
from dsunet_runtime.bench.workload import Runner, Setting, Workbench, check_setting
from dsunet_runtime.cuda import Gpu
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.images.decode import read_rgb
from dsunet_runtime.progress import StatusLine
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.policy import SelfTestPolicy


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """Options of a benchmark."""

    artifacts: Sequence[Path]
    providers: Sequence[Provider] = (Provider.CPU,)
    """Providers; each ONNX file is measured with each of them."""
    allow_cpu_fallback: bool = False
    selftest: SelfTestPolicy = SelfTestPolicy.AUTO
    origins: Sequence[Origin] = (Origin.ARRAY,)
    batches: Sequence[int] = ()
    """Empty: the recommended batch of each artifact."""
    streams: Sequence[int] = (1,)
    threads: int | None = None
    image: Path | None = None
    """None: a generated image."""
    schedule: Schedule = field(default_factory=Schedule)
    cold_starts: bool = True
    roofline: bool = False


@dataclass(frozen=True, slots=True)
class RunnerResult:
    """A runner with its manifest and its cold start."""

    runner: Runner
    manifest: Manifest
    cold_start: ColdStart | None


@dataclass(frozen=True, slots=True)
class RelativeTime:
    """The time of a runner relative to the first runner in the same setting."""

    measurement: Measurement
    first: Measurement
    time: Ratio


@dataclass(frozen=True, slots=True)
class BenchResults:
    """Results of a benchmark."""

    width: int
    height: int
    gpu: Gpu | None
    runners: Sequence[RunnerResult]
    measurements: Sequence[Measurement]
    gpu_readings: GpuReadings | None
    host_growth: int | None
    """Growth of resident memory during the measurement, in bytes."""
    warnings: Sequence[str]
    """Reasons why the results may be unreliable, one line each."""
    rooflines: Sequence[Roofline]
    """One for each runner and batch, if requested."""

    @property
    def relative_times(self) -> list[RelativeTime]:
        """Each measurement compared with that of the first runner in the same setting."""
        firsts: dict[Setting, Measurement] = {}
        times = []
        for one in self.measurements:
            first = firsts.setdefault(one.workload.setting, one)
            if first is not one:
                times.append(RelativeTime(one, first, one.time_relative_to(first)))
        return times


def run_benchmark(options: BenchOptions, stream: TextIO) -> BenchResults:
    """Measure cold starts sequentially, then all workloads interleaved, then profile.

    Progress is shown on `stream` if that is a terminal.  Raises `dsunet_runtime.RuntimeFault` if an
    artifact cannot be loaded, does not take a setting or the image, or fails.
    """
    warnings = list(filter(None, [busy_cores()]))
    runners = _runners(options)
    if options.roofline:
        for runner in runners:
            check_can_profile(runner)
    manifests = [read_manifest(runner.artifact) for runner in runners]
    gpus = [gpu_of(runner.artifact, runner.provider) for runner in runners]
    gpu = next(filter(None, gpus), None)
    with ExitStack() as stack:
        status = stack.enter_context(StatusLine(stream))
        image = options.image
        if image is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            image = make_image(Path(folder) / "image.jpg", size_for(manifests))
        rgb = read_rgb(image)
        settings = [_settings(options, manifest) for manifest in manifests]
        for runner, manifest, own in zip(runners, manifests, settings, strict=True):
            for setting in own:
                check_setting(runner, manifest, setting, rgb)
        starts: list[ColdStart | None] = [None] * len(runners)
        if options.cold_starts:
            for index, runner in enumerate(runners):
                status.show(f"cold start of {runner.label}")
                starts[index] = measure_cold_start(runner, image, options.threads)
        status.show("loading")
        with ExitStack() as loaded:
            benches = [
                loaded.enter_context(Workbench(runner, image, rgb, options.threads))
                for runner in runners
            ]
            workloads = [
                bench.workload(setting)
                for bench, own in zip(benches, settings, strict=True)
                for setting in own
            ]
            measurements = warm_up_all(workloads, options.schedule, status.show)
            before = resident()
            monitor = loaded.enter_context(GpuMonitor(gpu))
            measure_interleaved(measurements, options.schedule, status.show)
            gpu_readings, after = monitor.readings, resident()
        rooflines = []
        if options.roofline:
            requests = [
                RooflineRequest(runner, manifest, batch)
                for runner, manifest in zip(runners, manifests, strict=True)
                for batch in _batches(options, manifest)
            ]
            try:
                rooflines = measure_rooflines(requests, image, rgb, options.threads, status.show)
            except RuntimeFault as fault:  # keep what has been measured
                warnings.append(f"no roofline measured: {fault}")
    growth = None if before is None or after is None else after - before
    warnings += _warnings(measurements, gpu_readings)
    return BenchResults(
        width=rgb.shape[1],
        height=rgb.shape[0],
        gpu=gpu,
        runners=list(map(RunnerResult, runners, manifests, starts)),
        measurements=measurements,
        gpu_readings=gpu_readings,
        host_growth=growth,
        warnings=warnings,
        rooflines=rooflines,
    )


def _runners(options: BenchOptions) -> list[Runner]:
    names = Counter(artifact.name for artifact in options.artifacts)
    return [
        Runner(
            artifact,
            provider,
            str(artifact) if names[artifact.name] > 1 else "",
            allow_cpu_fallback=options.allow_cpu_fallback,
            selftest=options.selftest,
        )
        for artifact in options.artifacts
        for provider in ([None] if is_engine(artifact) else options.providers)
    ]


def _settings(options: BenchOptions, manifest: Manifest) -> list[Setting]:
    return [
        Setting(origin, batch, streams)
        for origin, batch, streams in itertools.product(
            options.origins, _batches(options, manifest), options.streams
        )
    ]


def _batches(options: BenchOptions, manifest: Manifest) -> Sequence[int]:
    return options.batches or [batch_range(manifest).optimum]


def _warnings(measurements: Sequence[Measurement], gpu_readings: GpuReadings | None) -> list[str]:
    warnings = [] if gpu_readings is None else gpu_readings.warnings()
    for one in measurements:
        if not one.warm_up.stable:
            warnings.append(
                f"{one.workload.runner.label}, {one.workload.setting}: the latency was not stable "
                f"after {one.warm_up.seconds:.0f} s of warm-up"
            )
    return warnings
