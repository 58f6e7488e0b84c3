"""The page benchmarks/README.md: a function for each section, from result files to Markdown.

A function gets all result files by name, and gives None where it finds none of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from reporting.exporting import engine_build, export_cost
from reporting.gpus import gpu, gpu_batches, gpu_branches, gpu_rtx
from reporting.latency import latency, quantised
from reporting.running import frames, growth, runner_overhead
from reporting.section import Results, Section
from reporting.training import demonstration, evaluation, training

SECTIONS: tuple[Callable[[Results], Section | None], ...] = (
    latency,
    quantised,
    gpu,
    gpu_batches,
    gpu_branches,
    gpu_rtx,
    runner_overhead,
    frames,
    growth,
    export_cost,
    engine_build,
    training,
    evaluation,
    demonstration,
)
"""In the order of the page."""
