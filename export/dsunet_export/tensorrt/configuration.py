"""What can be asked of an engine, and how TensorRT is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.flavors import Kit, Target
from dsunet_export.tensorrt.profiles import Ranges
from dsunet_runtime.compute import Compute
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular
from dsunet_runtime.manifest import Profile
from dsunet_runtime.message_text import reason
from dsunet_runtime.output_files import write_whole


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine should be.  None is TensorRT's own choice, or the graph's."""

    precision: Compute | None = None
    """None is the graph's own, or float16 if that is float32."""
    ranges: Ranges = field(default_factory=Ranges)
    workspace: int | None = None
    """MiB of device memory that a layer may use for itself."""
    optimization_level: int | None = None
    strip_weights: bool = False
    """Leave the weights in the graph's file, from which the runtime takes them."""
    timing_cache: Path | None = None
    """A file of what was timed, to read if it is there, and to write."""
    verbosity: int = 0
    """1 prints TensorRT's log, 2 all of it."""


def configure(
    builder: Any, kit: Kit, target: Target, options: EngineOptions, profiles: tuple[Profile, ...]
) -> Any:
    """TensorRT's configuration, as the options say.

    Raises ExportError if there is a timing cache that cannot be used.
    """
    trt = kit.trt
    config = builder.create_builder_config()
    # What the graph declares as float32 is computed as that: all of a float32 engine, and in others
    # what was kept because less does not do.
    config.clear_flag(trt.BuilderFlag.TF32)
    # So that a profile can tell which nodes of the graph a kernel computes.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    kit.configure(config, target)
    shapes = builder.create_optimization_profile()
    for profile in profiles:
        shapes.set_shape(profile.input, profile.minimum, profile.optimum, profile.maximum)
    config.add_optimization_profile(shapes)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.strip_weights:
        # The runtime refits from the very same file, so that what is folded may stay folded.
        # REFIT, which is for other weights, drops biases of matrix products in TensorRT 11.3.
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)
    if options.timing_cache is not None:
        load_timing_cache(config, options.timing_cache)
    return config


def load_timing_cache(config: Any, file: Path) -> None:
    """Let the builder start from what was timed before, if anything was.

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
            f"{file} is no timing cache of this TensorRT and this GPU: delete it, or name another"
        )


def save_timing_cache(content: Any, file: Path) -> None:
    """Write a timing cache whole or not at all, and make its folder if there is none.

    Raises ExportError if that does not succeed.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda stream: stream.write(content))
    except (OSError, OutputError) as error:
        raise ExportError(
            f"the engine is written, but its timing cache is not ({error}): name another "
            f"--timing-cache"
        ) from error
