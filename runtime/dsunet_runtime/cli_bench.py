"""`dsunet-run bench`: how fast artifacts are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.bounds import MAX_DIMENSION
from dsunet_runtime.command_options import folder_to_write, integer, number
from dsunet_runtime.provider import MAX_THREADS, Provider

_MOST_CALLS, _MOST_ROUNDS = 10_000_000, 10_000
"""Seconds of each call are kept until the end."""


def bench(
    artifacts: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARTIFACT", help="ONNX files and engines; each is compared with the first."
        ),
    ],
    provider: Annotated[
        list[Provider] | None,
        typer.Option(help="What ONNX Runtime computes with; may be repeated.  [default: cpu]"),
    ] = None,
    origin: Annotated[
        list[Origin] | None,
        typer.Option(
            "--from",
            help="Where a call begins and ends.  device: in GPU memory, without copies (engines).  "
            "inputs: with the network's inputs and outputs in host memory.  array: with a decoded "
            "image and its mask.  file: with an image file.  May be repeated.  [default: array]",
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        integer(
            low=1,
            high=MAX_DIMENSION,
            help="Images of a call; may be repeated.  [default: the artifact's, or 1]",
        ),
    ] = None,
    streams: Annotated[
        list[int] | None,
        integer(
            low=1,
            high=MAX_THREADS,
            help="Threads that call at once; may be repeated.  [default: 1]",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        number(
            low=0,
            high=86_400,
            help="To measure each of them, warm-up not counted.  [default: 10]",
        ),
    ] = None,
    calls: Annotated[
        int | None,
        integer(low=1, high=_MOST_CALLS, help="Of each stream, at least, instead of --seconds."),
    ] = None,
    rounds: Annotated[
        int,
        integer(
            low=1, high=_MOST_ROUNDS, help="Turns that each of them has; ratios are taken in each."
        ),
    ] = 10,
    threads: Annotated[
        int | None,
        integer(
            low=1, high=MAX_THREADS, help="CPU threads of ONNX Runtime.  [default: one a core]"
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What to compute.  [default: one is made, 1280×720]"),
    ] = None,
    no_cold_start: Annotated[
        bool, typer.Option("--no-cold-start", help="Do not start processes to time loading.")
    ] = False,
    roofline: Annotated[
        bool,
        typer.Option(
            "--roofline",
            help="Also profile each artifact: the time of each branch of the network, and how "
            "close it comes to what this machine reaches.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object instead of the tables.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            callback=folder_to_write,
            help="Also write bench.json, bench.csv and bench.svg; roofline.csv and roofline.svg.",
        ),
    ] = None,
) -> None:
    """Measure latency, throughput, cold start and memory, of several artifacts in turns.

    Every setting is warmed up until its calls are as fast as each other.  A call ends when its
    result can be read.

    Exit codes: 0 measured, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    if seconds is not None and calls is not None:
        raise typer.BadParameter("give --seconds or --calls")
    from dsunet_runtime.bench.measuring import Plan
    from dsunet_runtime.bench.report import as_document, draw, write_report
    from dsunet_runtime.bench.running import BenchOptions, run
    from dsunet_runtime.jobs import results_folder

    plan = Plan(rounds=rounds, seconds=10.0 if seconds is None else seconds, calls=calls)
    options = BenchOptions(
        artifacts=artifacts,
        providers=provider or [Provider.CPU],
        origins=origin or [Origin.ARRAY],
        batches=batch or [],
        streams=streams or [1],
        threads=threads,
        image=image,
        plan=plan,
        cold_starts=not no_cold_start,
        roofline=roofline,
    )
    with results_folder(output):
        results = run(options, sys.stderr)
        print(json.dumps(as_document(results), indent=2) if as_json else draw(results))
        if output is not None:
            write_report(results, output)
