"""Peak compute and memory bandwidth of a GPU, measured with PyTorch."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from gpu_calls import synchronize

from dsunet_runtime.bench.roofline.ceiling import Ceiling


def add_side_option(parser: argparse.ArgumentParser) -> None:
    """Add --side, which `measure_ceiling` takes."""
    parser.add_argument(
        "--side",
        type=int,
        default=8192,
        help="Side of the matrices of the ceiling (default: %(default)s).",
    )


def measure_ceiling(device: str, side: int) -> Ceiling:
    """Measure the best of several runs: matrices side×side in float16, and a copy of 512 MiB."""
    a, b = (torch.randn(side, side, device=device).half() for _ in range(2))
    source = torch.ones(512 << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Ceiling(
        macs_per_second=side**3 / best(lambda: torch.mm(a, b)),
        bytes_per_second=2 * source.nbytes / best(lambda: target.copy_(source)),
        matmul=f"float16 matrix multiplication of {side}×{side} by PyTorch",
        copy="copy of 512 MiB",
    )


def best(work: Callable[[], object], at_once: int = 5, tries: int = 5) -> float:
    """Duration of one of several back-to-back calls, so that launch overhead is hidden."""
    found = []
    for _ in range(tries + 1):
        start = time.perf_counter()
        for _ in range(at_once):
            work()
        synchronize()
        found.append((time.perf_counter() - start) / at_once)
    return min(found[1:])
