"""Compatibility of an engine with this machine, by its manifest, before it is opened.

Each message says what to install or to build instead.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.flavor import Flavor, rtx_name, this_platform
from dsunet_runtime.artifact.manifest import Engine, InputForm, Manifest
from dsunet_runtime.artifact.shapes import batch_range, input_ranges
from dsunet_runtime.cuda import Cuda, Gpu, find
from dsunet_runtime.errors import BackendError
from dsunet_runtime.extras import does_not_load, is_absent
from dsunet_runtime.message_text import printable, shorten


def check_platform(path: Path, manifest: Manifest) -> None:
    """Raise BackendError if the engine was built for another operating system or processor.

    Engines of TensorRT for RTX run on all of its platforms.
    """
    engine = engine_of(manifest)
    if engine.flavor is Flavor.TENSORRT and engine.platform != this_platform():
        raise BackendError(
            f"{path}: built for {printable(engine.platform)}, and this machine is "
            f"{this_platform()}: build it on this machine: {rebuild_command(path, manifest)}"
        )


def load_flavor(path: Path, manifest: Manifest) -> Any:
    """Import the Python package of the engine's flavor.

    Raises BackendError if it does not load, or unless the installed version is the one that built
    the engine: no other release of either flavor can load it.
    """
    engine = engine_of(manifest)
    install = f"pip install {engine.flavor.distribution}=={engine.tensorrt_version}"
    try:
        module = engine.flavor.load()
    except (ImportError, OSError) as error:
        needs = f"{path}: needs {engine.flavor.title}, which"
        if is_absent(engine.flavor.module, error):
            raise BackendError(f"{needs} is not installed: {install}") from error
        raise BackendError(does_not_load(needs, error, install)) from error
    if module.__version__ != engine.tensorrt_version:
        raise BackendError(
            f"{path}: built with {engine.flavor.title} {engine.tensorrt_version}, which the "
            f"installed {module.__version__} cannot load: {install}, or build it again: "
            f"{rebuild_command(path, manifest)}"
        )
    return module


def find_cuda(path: Path, manifest: Manifest) -> Cuda:
    """Return the CUDA driver.  Raises BackendError if the driver or a binding is missing."""
    try:
        return find()
    except BackendError as error:
        raise BackendError(f"{error}; {_without_gpu(path, manifest)}") from error


def _without_gpu(path: Path, manifest: Manifest) -> str:
    if manifest.precision.compute == Compute.BF16.element_type:
        return "without a GPU, export in fp16 or fp32: no CPU backend supports bf16"
    return f"without a GPU, run {_graph(path, manifest)} instead"


def choose_gpu(path: Path, manifest: Manifest, cuda: Cuda, trt: Any) -> Gpu:
    """Return the first CUDA device.  Raises BackendError if there is none or it does not fit."""
    gpus = cuda.gpus()
    if not gpus:
        raise BackendError(
            f"{path}: CUDA finds no GPU: check CUDA_VISIBLE_DEVICES; {_without_gpu(path, manifest)}"
        )
    gpu, engine = gpus[0], engine_of(manifest)
    if gpu.compute_capability not in engine.compute_capabilities:
        flavor = engine.flavor if _supports(trt, gpu) else Flavor.TENSORRT
        command = rebuild_command(path, manifest, flavor, (gpu.compute_capability,))
        raise BackendError(
            f"{path}: built for compute capability {' and '.join(engine.compute_capabilities)}, "
            f"and {gpu.name} has {gpu.compute_capability}: build one for it: {command}"
        )
    # Classic TensorRT selects the fastest kernels by timing them on the GPU.
    if engine.flavor is Flavor.TENSORRT and gpu.name not in engine.gpus:
        raise BackendError(
            f"{path}: built on {shorten(engine.gpus)}, and the GPU is {gpu.name}: build it on this "
            f"machine: "
            f"{rebuild_command(path, manifest)}"
        )
    return gpu


def rebuild_command(
    path: Path,
    manifest: Manifest,
    flavor: Flavor | None = None,
    compute_capabilities: tuple[str, ...] = (),
) -> str:
    """Return the command that builds the engine again with the options in its manifest.

    `flavor` and `compute_capabilities` replace those of the engine.
    """
    engine = engine_of(manifest)
    flavor = flavor or engine.flavor
    words = ["dsunet-export", "trt", str(_graph(path, manifest)), "-o", str(path)]
    words += ["--flavor", flavor.value]
    if flavor is Flavor.RTX:  # classic TensorRT builds for the GPU of the machine
        for compute_capability in compute_capabilities or engine.compute_capabilities:
            words += ["--compute-capability", compute_capability]
    words += ["--precision", Compute.of(manifest.precision.compute).value]
    words += _ranges(manifest)
    if engine.optimization_level is not None:
        words += ["--opt-level", str(engine.optimization_level)]
    if engine.weights_stripped:
        words.append("--strip-weights")
    if engine.shared_weights is not None:
        words.append("--refit")
    return f"`{shlex.join(words)}`"


def engine_of(manifest: Manifest) -> Engine:
    """Return the engine's part of the manifest.  Raises BackendError if there is none."""
    if manifest.engine is None:
        raise BackendError("the manifest does not describe an engine: load the ONNX file itself")
    return manifest.engine


def _graph(path: Path, manifest: Manifest) -> Path:
    """Return the path of the engine's ONNX file, assuming that it is next to the engine."""
    return path.parent / manifest.graph.name


def _ranges(manifest: Manifest) -> list[str]:
    """Return the options for the shapes that the engine takes."""
    batch = batch_range(manifest)
    words = ["--batch", _ends(str(n) for n in (batch.minimum, batch.optimum, batch.maximum))]
    if manifest.input_form is InputForm.FRAMES:
        (frames,) = input_ranges(manifest).values()
        height, width = frames[1:3]
        sizes = [
            f"{height.minimum}x{width.minimum}",
            f"{height.optimum}x{width.optimum}",
            f"{height.maximum}x{width.maximum}",
        ]
        words += ["--size", _ends(sizes)]
    return words


def _ends(three: Iterable[str]) -> str:
    """Format a range as MIN:OPT:MAX, or as one value if all are equal."""
    low, best, high = three
    return low if low == high else f"{low}:{best}:{high}"


def _supports(trt: Any, gpu: Gpu) -> bool:
    """Whether TensorRT for RTX supports the GPU."""
    return hasattr(getattr(trt, "ComputeCapability", None), rtx_name(gpu.compute_capability))
