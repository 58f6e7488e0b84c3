"""Measurement of rooflines for artifacts and batches."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import Manifest, Precision
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.backends.tensorrt.compatibility import choose_gpu, find_cuda, load_flavor
from dsunet_runtime.backends.tensorrt.log import log_of
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.bench.roofline.ceiling import Ceiling, measure_ceiling
from dsunet_runtime.bench.roofline.gpu_ceiling import measure_gpu_ceiling
from dsunet_runtime.bench.roofline.layer_profile import repeat
from dsunet_runtime.bench.roofline.ort_profile import profile_onnx
from dsunet_runtime.bench.roofline.summary import Roofline
from dsunet_runtime.bench.roofline.trt_profile import profile_engine
from dsunet_runtime.bench.workload import Runner, Setting, Workbench
from dsunet_runtime.errors import BackendError
from dsunet_runtime.forms import form_of
from dsunet_runtime.provider import Provider


@dataclass(frozen=True, slots=True)
class RooflineRequest:
    """An artifact and a batch to profile."""

    runner: Runner
    manifest: Manifest
    batch: int


def check_can_profile(runner: Runner) -> None:
    """Raise BackendError if no profiler times the layers of this runner."""
    if runner.provider not in (None, Provider.CPU):
        raise BackendError(
            f"{runner.artifact}: --roofline supports `--provider cpu` and engines only, because "
            f"ONNX Runtime's profiler does not time GPU kernels, and OpenVINO's layers are not the "
            f"graph's: use `--provider cpu`, or build an engine with `dsunet-export trt`"
        )


def measure_rooflines(
    requests: Sequence[RooflineRequest],
    image: Path,
    rgb: NDArray[np.uint8],
    threads: int | None,
    report: Callable[[str], None],
) -> list[Roofline]:
    """Profile each artifact on a batch of copies of one image.

    `rgb` is the decoded image, H×W×3.  Raises BackendError if profiling fails.
    """
    ceiling = cache(lambda: measure_ceiling(threads))
    rooflines = []
    for one in requests:
        report(f"profiling {one.runner.label}, batch {one.batch}")
        if one.runner.provider is None:
            rooflines.append(_of_engine(one, image, rgb))
            continue
        rooflines.append(_on_cpu(one, rgb, threads, ceiling()))
    return rooflines


def _on_cpu(
    one: RooflineRequest, rgb: NDArray[np.uint8], threads: int | None, ceiling: Ceiling
) -> Roofline:
    precision = one.manifest.precision
    profile = profile_onnx(one.runner.artifact, one.manifest, _inputs(one, rgb), threads)
    notes = list(_quantized_notes(precision, "float32"))
    if precision.compute != "float32":
        notes.append(
            f"a CPU computes {precision.compute} in float32, and so the ceiling is that of float32"
        )
    profile = replace(profile, notes=[*profile.notes, *notes])
    return Roofline.of(one.runner.label, one.batch, profile, ceiling)


def _of_engine(one: RooflineRequest, image: Path, rgb: NDArray[np.uint8]) -> Roofline:
    path, manifest = one.runner.artifact, one.manifest
    seconds = _on_device(one, image, rgb)
    trt, cuda = load_flavor(path, manifest), find_cuda(path, manifest)
    gpu, log = choose_gpu(path, manifest, cuda, trt), log_of(trt)
    with cuda.open(gpu) as device, device.current():
        inputs = _inputs(one, rgb)
        profile = profile_engine(trt, device, log, path, manifest, inputs, seconds)
        notes = _quantized_notes(manifest.precision, manifest.precision.compute)
        profile = replace(profile, notes=[*profile.notes, *notes])
        compute = Compute.of(manifest.precision.compute)
        ceiling = measure_gpu_ceiling(trt, device, log, compute)
    return Roofline.of(one.runner.label, one.batch, profile, ceiling)


def _quantized_notes(precision: Precision, ceiling: str) -> Iterator[str]:
    if precision.quantized:
        quantized = precision.quantized.data_type
        yield f"the ceiling is that of {ceiling}; matmuls in {quantized} may exceed it"


def _on_device(one: RooflineRequest, image: Path, rgb: NDArray[np.uint8]) -> float:
    """Median duration of a run without profiler and without copies, in seconds."""
    with Workbench(one.runner, image, rgb, None) as bench:
        (call,) = bench.workload(Setting(Origin.DEVICE, one.batch, 1)).calls
        call()
        return statistics.median(repeat(call))


def _inputs(one: RooflineRequest, rgb: NDArray[np.uint8]) -> Tensors:
    prepared = form_of(one.manifest).prepare(rgb)
    return {name: np.stack([value] * one.batch) for name, value in prepared.inputs.items()}
