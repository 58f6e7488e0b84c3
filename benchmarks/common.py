"""What the benchmarks share: the machine, medians, and a result file each."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median and spread of repeated timings."""
    return {
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "all_s": seconds,
    }


def ratio(new: list[float], old: list[float]) -> dict[str, Any]:
    """New over old, round by round: each pair was timed in the same round."""
    rounds = [a / b for a, b in zip(new, old, strict=True)]
    return {"median": statistics.median(rounds), "min": min(rounds), "max": max(rounds)}


def write(name: str, result: dict[str, Any]) -> None:
    """Write results/NAME.json, and print the same as the last line."""
    document = {"benchmark": name, **_circumstances(), **result}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))


def _circumstances() -> dict[str, Any]:
    packages = (
        "torch",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "tensorrt-rtx",
        "numpy",
        "pillow",
        "pysodmetrics",
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_after": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
