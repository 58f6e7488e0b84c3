"""Describe an engine as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dsunet_export.tensorrt.profiles import Ranges, Size
from dsunet_runtime.artifact.manifest import Engine, Manifest, OptimizationProfile
from dsunet_runtime.message_text import readable


def engine_rows(manifest: Manifest, engine: Engine) -> Iterator[tuple[str, str]]:
    """Yield the rows of `inspect` for an engine, as name and value."""
    gpus = f" ({', '.join(engine.gpus)})" if engine.gpus else ""
    yield "engine", f"{engine.flavor.title} {engine.tensorrt_version}, {engine.platform}"
    yield "  for", f"compute capability {', '.join(engine.compute_capabilities)}{gpus}"
    for profile in manifest.profiles:
        yield "  takes", f"{profile.input}: {_range(profile)}"
    yield "  as parsed", _precision_report(manifest, engine)
    yield "  activations", _megabytes(engine.activation_bytes) + " per execution context"
    yield "  weights", _megabytes(engine.weight_bytes)
    if engine.weights_stripped:
        yield "  stripped", f"the weights are in {manifest.graph.name}: keep it beside the engine"
    if engine.shared_weights is not None:
        yield "  refit", f"takes the weights of domains that share {engine.shared_weights.name}"
    if engine.optimization_level is not None:
        yield "  optimization", f"level {engine.optimization_level}"
    graph = manifest.graph
    yield "  built from", f"{graph.name}, sha256 {graph.sha256} of its first {graph.size:,} bytes"
    yield "  file", f"{_megabytes(engine.file.size)}, sha256 {engine.file.sha256}"


def describe_engine(path: Path, manifest: Manifest, ranges: Ranges) -> str:
    """Describe an engine that was written to `path`, in up to three lines.

    The second line names files to keep with it, the third other frame sizes than requested.
    """
    engine = manifest.engine
    if engine is None:
        raise ValueError("the manifest describes no engine")
    lines = [
        f"{readable(path)} {_megabytes(engine.file.size)}, activations "
        f"{_megabytes(engine.activation_bytes)}, weights {_megabytes(engine.weight_bytes)}; "
        f"{_precision_report(manifest, engine)}"
    ]
    if engine.weights_stripped:
        lines.append(f"the weights stay in {manifest.graph.name}: keep it beside the engine")
    if ranges.size is not None and (found := _frame_sizes(manifest)) != ranges.size:
        low, best, high = (f"{height}x{width}" for height, width in found)
        lines.append(
            f"accepts frames from {low} to {high}, because {engine.flavor.title} cannot build for "
            f"a single height or width from a graph with dynamic sizes: for one size, export the "
            f"graph with `--size {best}`"
        )
    return "\n".join(lines)


def _frame_sizes(manifest: Manifest) -> tuple[Size, Size, Size]:
    """Return minimum, optimum and maximum of the frame heights and widths of an engine."""
    (spec,), (profile,) = manifest.inputs, manifest.profiles
    height, width = spec.layout.index("H"), spec.layout.index("W")
    low, best, high = (
        (shape[height], shape[width])
        for shape in (profile.minimum, profile.optimum, profile.maximum)
    )
    return low, best, high


def _precision_report(manifest: Manifest, engine: Engine) -> str:
    report = engine.precision_report
    compute, quantized = manifest.precision.compute, manifest.precision.quantized
    integers = (
        f"{report.weight_bytes_quantized / 1e6:,.1f} MB of weights in {quantized.data_type}; of "
        f"the rest "
        if quantized
        else ""
    )
    if compute == "float32":
        return f"{integers}all in float32"
    return (
        f"{integers}{report.weight_bytes_reduced / report.weight_bytes:.1%} of the weights' bytes "
        f"and {report.layers_reduced} of {report.layers} layers in {compute}"
    )


def _range(profile: OptimizationProfile) -> str:
    shapes = (profile.minimum, profile.optimum, profile.maximum)
    low, best, high = ("×".join(str(n) for n in shape) for shape in shapes)
    return low if low == high else f"{low} to {high}, best at {best}"


def _megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.1f} MB"
