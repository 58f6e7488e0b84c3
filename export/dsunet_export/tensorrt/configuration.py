"""Options of an engine, and TensorRT's builder configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsunet_export.errors import ExportError
from dsunet_export.options import Attention
from dsunet_export.tensorrt.profiles import Ranges
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.flavor import Flavor, rtx_name
from dsunet_runtime.artifact.manifest import OptimizationProfile
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular, write_whole
from dsunet_runtime.message_text import reason

if TYPE_CHECKING:
    from dsunet_export.tensorrt.targets import Target


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of an engine.  None selects TensorRT's default, or that of the graph."""

    precision: Compute | None = None
    """None selects that of the graph, or float16 if that is float32."""
    attention: Attention = Attention.FUSED
    """Form of attention in a float32 graph that is converted."""
    ranges: Ranges = field(default_factory=Ranges)
    workspace: int | None = None
    """MiB of device memory available to each layer for temporary data."""
    optimization_level: int | None = None
    strip_weights: bool = False
    """Leave the weights in the ONNX file, from which the runtime reads them."""
    refit: bool = False
    """Let `dsunet_runtime.load` exchange the trained weights for those of another domain."""
    timing_cache: Path | None = None
    """Timing cache file, which is read if it exists, and written."""
    verbosity: int = 0
    """1 prints TensorRT's log, 2 also its verbose messages."""


def configure(
    builder: Any, target: Target, options: EngineOptions, profiles: tuple[OptimizationProfile, ...]
) -> Any:
    """Create TensorRT's builder configuration from the options.

    Raises ExportError if the timing cache cannot be used.
    """
    trt = target.flavor.load()
    config = builder.create_builder_config()
    # Float32 nodes are computed in float32, not TF32: nodes that were kept in float32 need it.
    config.clear_flag(trt.BuilderFlag.TF32)
    # A profile then names the nodes of the graph that a kernel computes.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if target.flavor is Flavor.RTX:  # classic TensorRT builds for the local GPU
        configure_rtx(trt, config, target)
    shapes = builder.create_optimization_profile()
    for profile in profiles:
        shapes.set_shape(profile.input, profile.minimum, profile.optimum, profile.maximum)
    config.add_optimization_profile(shapes)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.strip_weights:
        # The runtime refits the same weights, so constants may stay folded.  REFIT, for other
        # weights, loses the biases of matmuls in TensorRT 11.3.
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)
    if options.refit:  # only what `refit.mark_trained_weights` marks; the rest may be folded
        config.set_flag(trt.BuilderFlag.REFIT_INDIVIDUAL)
    if options.timing_cache is not None:
        load_timing_cache(config, options.timing_cache)
    return config


def configure_rtx(trt: Any, config: Any, target: Target) -> None:
    """Set compute capabilities, and require that the runtime allocates all memory."""
    config.num_compute_capabilities = len(target.compute_capabilities)
    for index, number in enumerate(target.compute_capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, rtx_name(number)), index)
    # Otherwise it may allocate memory while it runs, which a CUDA graph cannot capture.
    config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


def load_timing_cache(config: Any, file: Path) -> None:
    """Load a timing cache into the configuration; an empty one if there is no file.

    Raises ExportError if the file cannot be read or used.
    """
    try:
        with open_regular(file) as opened:
            content = opened.read()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise ExportError(f"{file}: {reason(error)}: name another --timing-cache") from error
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        raise ExportError(
            f"{file} is not a timing cache of this TensorRT and this GPU: delete it, or name "
            "another"
        )


def save_timing_cache(content: Any, file: Path) -> None:
    """Write a timing cache atomically, and create its folder if there is none.

    Raises ExportError if it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda stream: stream.write(content))
    except (OSError, OutputError) as error:
        raise ExportError(
            f"the engine is written, but its timing cache is not ({error}): name another "
            f"--timing-cache"
        ) from error
