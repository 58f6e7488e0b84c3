"""Export the artifacts of the GPU benchmarks.  It needs no GPU; `large` takes a minute."""

from __future__ import annotations

import argparse
import time

from gpu_calls import add_machine
from gpu_frames import frames_artifact

from dsunet_export.options import ExportPrecision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_machine(parser)
    arguments = parser.parse_args()
    for preset in dict.fromkeys((arguments.preset, "nano")):
        for precision in (ExportPrecision.FP16, ExportPrecision.FP32):
            begun = time.perf_counter()
            path = frames_artifact(preset, precision, arguments.work)
            print(f"{path}: {time.perf_counter() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
