"""What a GPU reaches at best by PyTorch, and the share of it that each measured way reaches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch
from common import RESULTS
from gpu_calls import synchronize

from dsunet_runtime.bench.roofline.ceiling import Ceiling


def measure_ceiling(device: str, side: int) -> Ceiling:
    """The best of several tries."""
    a, b = (torch.rand(side, side, device=device).half() for _ in range(2))
    source = torch.ones(512 << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Ceiling(
        macs_per_second=side**3 / best(lambda: torch.mm(a, b)),
        bytes_per_second=2 * source.nbytes / best(lambda: target.copy_(source)),
        product=f"float16 matrix product of {side}×{side} by PyTorch",
        copy="copy of 512 MiB",
    )


def best(work: Callable[[], object], at_once: int = 5, tries: int = 5) -> float:
    """Seconds of one of several that follow each other, so that launching them costs nothing."""
    found = []
    for _ in range(tries + 1):
        start = time.perf_counter()
        for _ in range(at_once):
            work()
        synchronize()
        found.append((time.perf_counter() - start) / at_once)
    return min(found[1:])


def shares(ceiling: Ceiling) -> dict[str, float]:
    """Of the matrix ceiling, what each way reaches, by its name and batch; none without results."""
    found = {}
    for file in sorted(RESULTS.glob("gpu_batches*.json")):
        document = json.loads(file.read_text())
        for batch in document["batches"]:
            for way, one in batch["ways"].items():
                name = f"{way}, batch {batch['batch']}"
                found[name] = document["macs"][way] * one["images_per_s"]
    engine = RESULTS / "gpu_rtx.json"
    if engine.is_file():
        document = json.loads(engine.read_text())
        for name, one in document.get("latency", {}).get("ways", {}).items():
            found[f"tensorrt_{name}"] = document["macs"] * one["images_per_s"]
    return {name: rate / ceiling.macs_per_second for name, rate in found.items()}
