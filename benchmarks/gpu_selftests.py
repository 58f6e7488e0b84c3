"""The self-test of artifacts on ONNX Runtime's CUDA provider, and their latency in GPU memory.

--preset in float32 and float16, and `nano`, the demonstration checkpoint, in all precisions.  The
self-test compares with what the network computes in PyTorch in float32.  A failure is recorded with
its message.  With `--device cpu`, the CPU provider is used, to test the script.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from common import write
from gpu_artifacts import demonstration_artifact
from gpu_calls import add_machine, open_device, reason_of
from gpu_frames import frames_artifact

import dsunet_runtime
from dsunet_export.options import ExportPrecision

LARGE = (ExportPrecision.FP16, ExportPrecision.FP32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_machine(parser)
    arguments = parser.parse_args()
    gpu = open_device(arguments.device)
    found: dict[str, Any] = {"preset": arguments.preset, "artifacts": {}}
    demonstration = {
        f"demonstration_{precision}": lambda precision=precision: demonstration_artifact(
            precision, arguments.work
        )
        for precision in ExportPrecision
    }
    random = {
        f"{arguments.preset}_{precision}": lambda precision=precision: frames_artifact(
            arguments.preset, precision, arguments.work
        )
        for precision in LARGE
    }
    for name, artifact in (random | demonstration).items():
        found["artifacts"][name] = check(artifact(), arguments.device)
        print(name, found["artifacts"][name], flush=True)
        write("gpu_selftests", found, gpu)
    if not any(one["passed"] for one in found["artifacts"].values()):
        raise SystemExit("gpu_selftests.py: no artifact passes its self-test: see `message`")


def check(artifact: Path, provider: str) -> dict[str, Any]:
    """Load an artifact, which runs its self-test."""
    begun = time.perf_counter()
    try:
        dsunet_runtime.load(artifact, provider=provider, selftest="always").close()
    except Exception as error:  # whatever a library raises: the others go on
        return {"passed": False, "message": reason_of(error)}
    return {"passed": True, "seconds": time.perf_counter() - begun}


if __name__ == "__main__":
    main()
