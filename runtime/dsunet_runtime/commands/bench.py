"""`dsunet-run bench`: measure the speed of artifacts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.artifact.bounds import MAX_DIMENSION
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.artifact_options import (
    check_fallback_applies,
    cpu_fallback_option,
    selftest_option,
)
from dsunet_runtime.commands.options import OUTPUT, integer, number, output_folder
from dsunet_runtime.provider import MAX_THREADS, Provider
from dsunet_runtime.selftest.policy import SelfTestPolicy

_MOST_CALLS, _MOST_ROUNDS = 10_000_000, 10_000
"""The duration of every call is kept in memory until the end."""
_WORKLOAD, _MEASUREMENT = "Workload", "Measurement"

EXAMPLES = examples(
    "dsunet-run bench nano.onnx",
    "dsunet-run bench nano.onnx nano16.onnx --batch 1 --batch 4 --seconds 2",
    "dsunet-run bench nano.onnx --provider cpu --provider openvino",
    "dsunet-run bench nano.engine --from device --batch 8 --streams 1 --streams 2",
    "dsunet-run bench nano.onnx --roofline --no-cold-start -o speed/",
)


def bench(
    artifacts: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARTIFACT",
            help="ONNX files and engines.  With several, each is compared with the first.",
        ),
    ],
    provider: Annotated[
        list[Provider] | None,
        typer.Option(
            help="ONNX Runtime's execution provider, or OpenVINO on the CPU; not for engines.  "
            "Repeatable.  [default: cpu]",
            rich_help_panel=_WORKLOAD,
        ),
    ] = None,
    allow_cpu_fallback: Annotated[bool, cpu_fallback_option(_WORKLOAD)] = False,
    selftest: Annotated[SelfTestPolicy, selftest_option(_WORKLOAD)] = SelfTestPolicy.AUTO,
    origin: Annotated[
        list[Origin] | None,
        typer.Option(
            "--from",
            help="Where a timed call takes its input from and writes its output to.  device: GPU "
            "memory, no copies (engines only).  inputs: input tensors in host memory.  array: a "
            "decoded image.  file: an image file.  Repeatable.  [default: array]",
            rich_help_panel=_WORKLOAD,
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        integer(
            low=1,
            high=MAX_DIMENSION,
            help="Number of images per call.  Repeatable.  [default: the artifact's batch, or 1 if "
            "that is dynamic]",
            rich_help_panel=_WORKLOAD,
        ),
    ] = None,
    streams: Annotated[
        list[int] | None,
        integer(
            low=1,
            high=MAX_THREADS,
            help="Number of threads that call concurrently.  Repeatable.  [default: 1]",
            rich_help_panel=_WORKLOAD,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        number(
            low=0,
            high=86_400,
            help="Seconds to measure each combination, without warm-up.  [default: 10]",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = None,
    calls: Annotated[
        int | None,
        integer(
            low=1,
            high=_MOST_CALLS,
            help="Minimum number of calls per stream, instead of --seconds.",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = None,
    rounds: Annotated[
        int,
        integer(
            low=1,
            high=_MOST_ROUNDS,
            help="Number of rounds.  In each round every combination is measured once; ratios are "
            "computed per round.",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = 10,
    threads: Annotated[
        int | None,
        integer(
            low=1,
            high=MAX_THREADS,
            help="Number of CPU threads per operation; not for engines.  [default: one per core]",
            rich_help_panel=_WORKLOAD,
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Image to use as input.  [default: a generated one of 1280×720, or of the size "
            "that the artifact is built for]",
            rich_help_panel=_WORKLOAD,
        ),
    ] = None,
    no_cold_start: Annotated[
        bool,
        typer.Option(
            "--no-cold-start",
            help="Do not measure the cold start, which runs each artifact in a new process.",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = False,
    roofline: Annotated[
        bool,
        typer.Option(
            "--roofline",
            help="Also profile each artifact: time per branch of the network, compared with the "
            "peak compute and memory bandwidth measured on this machine.",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object instead of tables.", rich_help_panel=OUTPUT
        ),
    ] = False,
    output: Annotated[
        Path | None,
        output_folder(
            "Folder for bench.json, bench.csv and bench.svg, and with --roofline also "
            "roofline.csv and roofline.svg; created if missing.  [default: print only]"
        ),
    ] = None,
) -> None:
    """Measure latency, throughput, cold start and memory.

    Measures every combination of artifacts, providers, batches and streams.  Each is warmed up
    until its latency is stable.  Then all of them are measured interleaved, in rounds.  A call ends
    when its result is available to the caller.
    """
    check_fallback_applies(provider or [], allow_cpu_fallback)
    if seconds is not None and calls is not None:
        raise typer.BadParameter("give either --seconds or --calls, not both")
    from dsunet_runtime.bench.benchmark import BenchOptions, run_benchmark
    from dsunet_runtime.bench.measurement import Schedule
    from dsunet_runtime.bench.result_formats import bench_document, format_tables, write_bench
    from dsunet_runtime.prediction.jobs import results_folder

    schedule = Schedule(rounds=rounds, seconds=10.0 if seconds is None else seconds, calls=calls)
    options = BenchOptions(
        artifacts=artifacts,
        providers=provider or [Provider.CPU],
        allow_cpu_fallback=allow_cpu_fallback,
        selftest=selftest,
        origins=origin or [Origin.ARRAY],
        batches=batch or [],
        streams=streams or [1],
        threads=threads,
        image=image,
        schedule=schedule,
        cold_starts=not no_cold_start,
        roofline=roofline,
    )
    with results_folder(output):
        results = run_benchmark(options, sys.stderr)
        print(json.dumps(bench_document(results), indent=2) if as_json else format_tables(results))
        if output is not None:
            write_bench(results, output)
