"""The self-test of artifacts on ONNX Runtime's CUDA provider.

--preset in float32 and float16, and the demonstration checkpoint in all precisions.  The
self-test compares with what the network computes in PyTorch in float32.  A failure is recorded with
its message.  With `--device cpu`, the CPU provider is used, to test the script.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import write
from gpu_artifacts import demonstration_artifact
from gpu_calls import machine_parser, open_device, reason_of
from gpu_frames import frames_artifact

import dsunet_runtime
from dsunet_export.options import ExportPrecision

PRESET_PRECISIONS = (ExportPrecision.FP16, ExportPrecision.FP32)


def main() -> None:
    arguments = machine_parser(__doc__).parse_args()
    gpu = open_device(arguments.device)
    found: dict[str, Any] = {"preset": arguments.preset, "artifacts": {}}
    artifacts = {
        **{
            f"{arguments.preset}_{one}": partial(frames_artifact, arguments.preset, one)
            for one in PRESET_PRECISIONS
        },
        **{f"demonstration_{one}": partial(demonstration_artifact, one) for one in ExportPrecision},
    }
    for name, export in artifacts.items():
        found["artifacts"][name] = check(partial(export, arguments.work), arguments.device)
        print(name, found["artifacts"][name], flush=True)
        write("gpu_selftests", found, gpu)
    if not any(one["passed"] for one in found["artifacts"].values()):
        raise SystemExit("gpu_selftests.py: no artifact passes its self-test: see `message`")


def check(export: Callable[[], Path], provider: str) -> dict[str, Any]:
    """Export an artifact unless it exists, and load it, which runs its self-test."""
    try:
        artifact = export()
        begun = time.perf_counter()
        dsunet_runtime.load(artifact, provider=provider, selftest="always").close()
    except Exception as error:  # whatever a library raises: the others go on
        return {"passed": False, "message": reason_of(error)}
    return {"passed": True, "seconds": time.perf_counter() - begun}


if __name__ == "__main__":
    main()
