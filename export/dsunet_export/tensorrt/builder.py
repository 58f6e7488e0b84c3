"""Build an engine from an ONNX artifact.  `build_engine` has the sequence of the steps."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsunet_export.artifact import artifact_staging, check_files, check_name, write_errors
from dsunet_export.errors import ExportError
from dsunet_export.stopwatch import Report, Stopwatch
from dsunet_export.tensorrt.build_log import BuildLog
from dsunet_export.tensorrt.configuration import EngineOptions, configure, save_timing_cache
from dsunet_export.tensorrt.engine_selftest import engine_selftest
from dsunet_export.tensorrt.flavors import flavor_title, flavor_version
from dsunet_export.tensorrt.monitor import BuildProgress, make_monitor, run_cancellable
from dsunet_export.tensorrt.parse_graph import layers_of, parse_graph
from dsunet_export.tensorrt.precision_choice import choose_precision
from dsunet_export.tensorrt.precision_report import report_precision
from dsunet_export.tensorrt.profiles import make_profiles, without_fixed_sides
from dsunet_export.tensorrt.refit import mark_trained_weights, shared_weights_of
from dsunet_export.tensorrt.targets import Target
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.file_digest import FileDigest, digest
from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.artifact.flavor import Flavor, this_platform, typed_network
from dsunet_runtime.artifact.manifest import (
    Engine,
    Manifest,
    OptimizationProfile,
    PrecisionReport,
)
from dsunet_runtime.artifact.manifest_file import engine_manifest_file, read_manifest
from dsunet_runtime.backends.tensorrt.log import log_of
from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.extras import install_command, missing_package


@dataclass(frozen=True, slots=True)
class _GraphToBuild:
    """The graph that an engine is built from."""

    file: Path
    manifest: Manifest
    source: Path
    """The user's file, which may have been converted to `file`; named in messages."""


@dataclass(frozen=True, slots=True)
class _Build:
    """What TensorRT has built."""

    plan: Any
    """The content of the engine's file."""
    timing_cache: Any
    """Its content; None if none is to be saved."""
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
    precision = choose_precision(onnx, manifest, target, options)
    shared = shared_weights_of(onnx, manifest) if options.refit else None
    profiles = make_profiles(manifest, options.ranges)
    if target.flavor is Flavor.RTX:
        profiles = without_fixed_sides(manifest, profiles)
    log = BuildLog(sys.stderr, options.verbosity)
    with artifact_staging(output) as folder, tempfile.TemporaryDirectory(dir=folder) as scratch:
        graph = _converted(onnx, manifest, precision, Path(scratch), options, report)
        watch = Stopwatch(report)
        selftest = engine_selftest(onnx, graph.manifest, profiles)
        if selftest != graph.manifest.selftest:
            watch.step("compute the references of the self-test")
        build = _build(graph, profiles, target, options, log)
        watch.step("build")
        engine = folder / output.name
        with write_errors(engine):
            engine.write_bytes(build.plan)
        manifest = replace(
            graph.manifest,
            graph=replace(manifest.graph, name=onnx.name),
            files=(),
            profiles=profiles,
            selftest=selftest,
            built_with=graph.manifest.built_with
            | {target.flavor.module: flavor_version(target.flavor)},
            engine=_describe(engine, target, options, build.precision, log, shared),
        )
        with write_errors(engine):
            document = manifest.to_json(indent=2) + "\n"
            engine_manifest_file(engine).write_bytes(document.encode())
    if options.timing_cache is not None:
        save_timing_cache(build.timing_cache, options.timing_cache)
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
    check_files(onnx, manifest)
    return manifest


def _converted(
    onnx: Path,
    manifest: Manifest,
    precision: Compute,
    folder: Path,
    options: EngineOptions,
    report: Report,
) -> _GraphToBuild:
    """Convert a graph to the precision of the engine, in a folder; or return it as it is."""
    if precision.element_type == manifest.precision.compute:
        return _GraphToBuild(onnx, manifest, onnx)
    try:
        from dsunet_export.convert_artifact import convert_artifact
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{onnx} is in {manifest.precision.compute}, and {missing_package(error)}, which "
            f"converts it, is not installed: {install_command('export')}, or export it with "
            f"--precision {precision}"
        ) from error
    file = folder / f"{onnx.stem}.{precision}.onnx"
    converted = convert_artifact(onnx, file, manifest, precision, report, options.attention)
    return _GraphToBuild(file, converted, onnx)


def _build(
    graph: _GraphToBuild,
    profiles: tuple[OptimizationProfile, ...],
    target: Target,
    options: EngineOptions,
    log: BuildLog,
) -> _Build:
    """Run TensorRT's builder, with a progress bar unless its log is printed."""
    progress = BuildProgress()
    trt = target.flavor.load()
    logger = log_of(trt)

    def build() -> _Build:
        with logger.forwarding_to(log.add):
            builder = trt.Builder(logger)
            network = typed_network(trt, builder)
            parser = parse_graph(trt, network, logger, graph.file, graph.source)
            precision = report_precision(trt, network, graph.manifest.precision)
            if options.refit:
                mark_trained_weights(network, graph.file, graph.manifest)
            config = configure(builder, target, options, profiles)
            monitor = make_monitor(trt, progress)
            config.progress_monitor = monitor
            plan = builder.build_serialized_network(network, config)
            if plan is None and not progress.cancelled.is_set():
                nodes = {layer.name for layer in layers_of(network)}
                title = flavor_title(target.flavor)
                raise ExportError(f"{title} cannot build {graph.source.name}: {log.reason(nodes)}")
            del parser  # not before the build: it holds the weights
            cache = config.get_timing_cache() if options.timing_cache is not None else None
            return _Build(plan, cache and cache.serialize(), precision)

    return run_cancellable(build, progress, sys.stderr, draw=not options.verbosity)


def _describe(
    engine: Path,
    target: Target,
    options: EngineOptions,
    precision: PrecisionReport,
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
        precision_report=precision,
        activation_bytes=log.activation_bytes,
        weight_bytes=log.weight_bytes,
        shared_weights=shared,
    )
