"""Build an engine from an ONNX artifact.  `build_engine` has the sequence of the steps."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsunet_export.artifact import artifact_staging, check_name, write_errors
from dsunet_export.errors import ExportError
from dsunet_export.options import Attention, ExportPrecision
from dsunet_export.stopwatch import Report, Stopwatch
from dsunet_export.tensorrt.build_log import BuildLog
from dsunet_export.tensorrt.configuration import EngineOptions, configure, save_timing_cache
from dsunet_export.tensorrt.engine_selftest import engine_cases
from dsunet_export.tensorrt.flavors import flavor_title, flavor_version
from dsunet_export.tensorrt.monitor import BuildProgress, monitor_of, run_stoppable
from dsunet_export.tensorrt.network import layers_of, parse_graph
from dsunet_export.tensorrt.precision_report import report_precision
from dsunet_export.tensorrt.profiles import make_profiles, without_fixed_sides
from dsunet_export.tensorrt.refit import mark_trained_weights, shared_weights_of
from dsunet_export.tensorrt.targets import Target
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.artifact.flavor import Flavor, this_platform, typed_network
from dsunet_runtime.artifact.manifest import (
    FLOAT8,
    Engine,
    FileDigest,
    Manifest,
    OptimizationProfile,
    PrecisionReport,
    digest,
)
from dsunet_runtime.artifact.read import (
    check_hashes,
    check_sizes,
    check_weights_files,
    engine_manifest_file,
    read_manifest,
)
from dsunet_runtime.backends.tensorrt.log import log_of
from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.extras import install_command, missing_package

_AMPERE = 8.0
"""First compute capability with bfloat16."""
_ADA = 8.9
"""First compute capability with 8-bit floats."""


@dataclass(frozen=True, slots=True)
class _ParsedGraph:
    """The graph that TensorRT parses."""

    file: Path
    manifest: Manifest
    source: Path
    """The user's file, which may have been converted to `file`; named in messages."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The results of TensorRT's build."""

    serialized: Any
    timing_cache: Any
    precision: PrecisionReport


def build_engine(
    onnx: Path, output: Path, target: Target, options: EngineOptions, report: Report
) -> Manifest:
    """Build an engine from an ONNX artifact and write it with its manifest.

    Args:
        onnx: The artifact, NAME.onnx.
        output: Engine to write; its manifest is `output` with `.json` appended.  Both are replaced
            only if all steps succeed.
        target: Flavor and GPUs, from `choose_target`.
        options: Precision, batches and sizes, and options of TensorRT's builder.
        report: Called with the name and the seconds of each step when it ends.

    Returns:
        The manifest of the engine.

    Raises:
        ArtifactError: The artifact is damaged.
        ExportError: No engine can be built from it.
        VerificationError: It has to be converted to another precision, and the result is outside
            the tolerance.
    """
    manifest = _read_graph(onnx)
    compute = _precision(onnx, manifest, options)
    shared = shared_weights_of(onnx, manifest) if options.refit else None
    profiles = make_profiles(manifest, options.ranges)
    if target.flavor is Flavor.RTX:
        profiles = without_fixed_sides(manifest, profiles)
    _check_bfloat16(target, compute)
    _check_float8(target, manifest)
    log = BuildLog(sys.stderr, options.verbosity)
    with artifact_staging(output) as folder, tempfile.TemporaryDirectory(dir=folder) as scratch:
        graph = _ParsedGraph(onnx, manifest, onnx)
        if compute.element_type != manifest.precision.compute:
            file = Path(scratch) / f"{onnx.stem}.{compute}.onnx"
            converted = _convert(onnx, file, manifest, compute, report, options.attention)
            graph = _ParsedGraph(file, converted, onnx)
        watch = Stopwatch(report)
        selftest = engine_cases(onnx, graph.manifest, profiles)
        if selftest != graph.manifest.selftest:
            watch.step("compute the references of the self-test")
        plan = _build(graph, profiles, target, options, log)
        watch.step("build")
        engine = folder / output.name
        with write_errors(engine):
            engine.write_bytes(plan.serialized)
        manifest = replace(
            graph.manifest,
            graph=replace(manifest.graph, name=onnx.name),
            files=(),
            profiles=profiles,
            selftest=selftest,
            built_with={
                **graph.manifest.built_with,
                target.flavor.module: flavor_version(target.flavor),
            },
            engine=_describe(engine, target, options, plan, log, shared),
        )
        with write_errors(engine):
            document = manifest.to_json(indent=2) + "\n"
            engine_manifest_file(engine).write_bytes(document.encode())
    if options.timing_cache is not None:
        save_timing_cache(plan.timing_cache, options.timing_cache)
    return manifest


def read_graph_manifest(onnx: Path) -> Manifest:
    """Read the manifest of an ONNX artifact.  Raises ExportError if it is not one."""
    if is_engine(onnx):
        raise ExportError(f"{onnx} is an engine: name the ONNX file that it was built from")
    check_name(onnx)
    return read_manifest(onnx)


def _read_graph(onnx: Path) -> Manifest:
    """Read the manifest of an ONNX artifact and check its files."""
    manifest = read_graph_manifest(onnx)
    check_sizes(onnx, manifest)
    check_hashes(onnx, manifest)
    check_weights_files(onnx, manifest)
    return manifest


def _precision(onnx: Path, manifest: Manifest, options: EngineOptions) -> Compute:
    """Select the precision of the engine.  Raises ExportError if the graph cannot have it."""
    own = Compute.of(manifest.precision.compute)
    asked = options.precision or (Compute.FP16 if own is Compute.FP32 else own)
    if asked is own:
        if options.attention is not Attention.FUSED:
            attention = Attention.UNFUSED if own is Compute.FP32 else options.attention
            raise ExportError(
                f"--attention changes a float32 graph while it is converted to 16 bits, and {onnx} "
                f"stays in {own}: export it again with `dsunet-export onnx --precision "
                f"{ExportPrecision.of(manifest.precision)} --attention {attention}`"
            )
        return asked
    if own is not Compute.FP32:
        raise ExportError(
            f"{onnx} is in {own} and cannot be converted to {asked}: export it again with "
            f"`dsunet-export onnx --precision {asked}`"
        )
    if options.strip_weights or options.refit:
        option = "--strip-weights" if options.strip_weights else "--refit"
        raise ExportError(
            f"{option} needs a graph in {asked}, from which the runtime reads the weights, and "
            f"{onnx} is in {own}: export it with `dsunet-export onnx --precision {asked}` first"
        )
    return asked


def _check_bfloat16(target: Target, compute: Compute) -> None:
    """Raise ExportError if bfloat16 is requested for a GPU without it."""
    oldest = target.compute_capabilities[0]
    if compute is Compute.BF16 and float(oldest) < _AMPERE:
        raise ExportError(
            f"bf16 needs compute capability 8.0 or later, and the target is {oldest}: use "
            f"--precision fp16"
        )


def _check_float8(target: Target, manifest: Manifest) -> None:
    """Raise ExportError if the graph has 8-bit floats and a GPU does not."""
    oldest = target.compute_capabilities[0]
    if manifest.precision.element_type == FLOAT8 and float(oldest) < _ADA:
        raise ExportError(
            f"fp8 needs compute capability 8.9 or later, and the target is {oldest}: export the "
            f"graph with --precision int8 or fp16"
        )


def _convert(
    onnx: Path,
    output: Path,
    manifest: Manifest,
    compute: Compute,
    report: Report,
    attention: Attention,
) -> Manifest:
    """Convert the graph to another precision, and return its manifest."""
    try:
        from dsunet_export.precision.conversion import convert_file
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{onnx} is in {manifest.precision.compute}, and {missing_package(error)}, which "
            f"converts it, is not installed: {install_command('export')}, or export it with "
            f"--precision {compute}"
        ) from error
    return convert_file(onnx, output, manifest, compute, report, attention)


def _build(
    graph: _ParsedGraph,
    profiles: tuple[OptimizationProfile, ...],
    target: Target,
    options: EngineOptions,
    log: BuildLog,
) -> _Plan:
    """Run TensorRT's builder, with a progress bar unless its log is printed."""
    progress = BuildProgress()
    trt = target.flavor.load()
    logger = log_of(trt)

    def work() -> _Plan:
        with logger.forwarding_to(log.add):
            builder = trt.Builder(logger)
            network = typed_network(trt, builder)
            parser = parse_graph(trt, network, logger, graph.file, graph.source)
            precision = report_precision(trt, network, graph.manifest.precision)
            if options.refit:
                mark_trained_weights(network, graph.file, graph.manifest)
            config = configure(builder, target, options, profiles)
            monitor = monitor_of(trt, progress)
            config.progress_monitor = monitor
            serialized = builder.build_serialized_network(network, config)
            if serialized is None and not progress.cancelled.is_set():
                nodes = {layer.name for layer in layers_of(network)}
                title = flavor_title(target.flavor)
                raise ExportError(f"{title} cannot build {graph.source.name}: {log.reason(nodes)}")
            del parser  # not before the build: it holds the weights
            cache = config.get_timing_cache() if options.timing_cache is not None else None
            return _Plan(serialized, cache and cache.serialize(), precision)

    return run_stoppable(work, progress, sys.stderr, draw=not options.verbosity)


def _describe(
    engine: Path,
    target: Target,
    options: EngineOptions,
    plan: _Plan,
    log: BuildLog,
    shared: FileDigest | None,
) -> Engine:
    return Engine(
        file=digest(engine),
        flavor=target.flavor,
        tensorrt_version=flavor_version(target.flavor),
        platform=this_platform(),
        compute_capabilities=target.compute_capabilities,
        gpus=target.gpus,
        weights_stripped=options.strip_weights,
        optimization_level=options.optimization_level,
        proof=plan.precision,
        activation_bytes=log.activation_bytes,
        weight_bytes=log.weight_bytes,
        shared_weights=shared,
    )
