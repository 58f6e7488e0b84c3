"""The sections of benchmarks/README.md: one function each, from result files to Markdown.

A function receives all result files by name, and returns None if its own are missing.
"""

from __future__ import annotations

from collections.abc import Callable

from sections.export import engine_build, export_cost
from sections.gpus import (
    gpu,
    gpu_batches,
    gpu_branches,
    gpu_parity,
    gpu_rtx,
    gpu_selftests,
)
from sections.latency import cpu_providers, latency, quantised
from sections.runner import cpp, frames, growth, runner_overhead, workers
from sections.section import Results, Section
from sections.training import demonstration, evaluation, training
from sections.video import flicker

SECTIONS: tuple[Callable[[Results], Section | None], ...] = (
    latency,
    quantised,
    cpu_providers,
    gpu,
    gpu_batches,
    gpu_branches,
    gpu_parity,
    gpu_selftests,
    gpu_rtx,
    runner_overhead,
    cpp,
    frames,
    growth,
    flicker,
    workers,
    export_cost,
    engine_build,
    training,
    evaluation,
    demonstration,
)
"""In the order of the page."""
