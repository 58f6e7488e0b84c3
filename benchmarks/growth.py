"""Scaling with the batch, 1 to 8, and with the number of images in a folder, 10 and 1,000.

Batches: `frames` form, from copies of a decoded image of 1280×720 to masks, interleaved.
Folders: `dsunet-run predict` in a new process, from its start to its end, on JPEG files of 320×240,
interleaved; peak memory is the resident set of the process.

Conditions: CPU, float32, randomly initialised weights, all cores.
"""

from __future__ import annotations

import dataclasses
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import in_new_process, preset_parser, schedule_of, summary, write

from dsunet_runtime.artifact.manifest import InputForm
from dsunet_runtime.bench.benchmark import BenchOptions, run_benchmark
from dsunet_runtime.bench.image import make_image
from dsunet_runtime.bench.measurement import Schedule

BATCHES = (1, 2, 4, 8)
FOLDERS = (10, 1000)
PHOTOGRAPH = (240, 320)
"""Height and width."""
PREDICT = """
from dsunet_runtime.bench.memory_use import peak_resident
from dsunet_runtime.cli import app
app(standalone_mode=False)
print(peak_resident())
"""


def main() -> None:
    parser = preset_parser(__doc__, "nano")
    parser.add_argument(
        "--folder-rounds",
        type=int,
        default=3,
        help="Number of rounds for folders; 0 skips them (default: %(default)s).",
    )
    arguments = parser.parse_args()
    from exports import export_ours, new_model

    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "frames.onnx"
        export_ours(new_model(arguments.preset), artifact, input_form=InputForm.FRAMES, batch=None)
        batches = measure_batches(artifact, BATCHES, schedule_of(arguments))
        folders = measure_folders(artifact, FOLDERS, arguments.folder_rounds)
    found = {"preset": arguments.preset, "batches": batches, "folders": folders}
    write(f"growth_{arguments.preset}", found)


def measure_batches(
    artifact: Path, batches: Sequence[int], schedule: Schedule
) -> list[dict[str, Any]]:
    """Measure latency and throughput of each batch."""
    options = BenchOptions([artifact], batches=batches, schedule=schedule, cold_starts=False)
    found = []
    for one in run_benchmark(options, sys.stderr).measurements:
        batch = one.workload.setting.batch
        print(f"batch {batch}: {one.images_per_second:.2f} images/s", flush=True)
        found.append(
            {
                "batch": batch,
                "latency": dataclasses.asdict(one.latency),
                "images_per_s": one.images_per_second,
            }
        )
    return found


def measure_folders(artifact: Path, counts: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Measure seconds and peak memory of a process for each folder; empty without rounds."""
    if not rounds:
        return []
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    peaks: dict[int, list[int]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as name:
        folders = {count: fill(Path(name) / f"{count}", count) for count in counts}
        for _ in range(rounds):
            for count, folder in folders.items():
                masks = Path(name) / "masks"
                start = time.perf_counter()
                peak = in_new_process("-c", PREDICT, "predict", artifact, folder, "-o", masks)
                seconds[count].append(time.perf_counter() - start)
                peaks[count].append(peak)
                if len([*masks.iterdir()]) != count:
                    raise SystemExit(f"growth.py: not all {count} masks were written")
                shutil.rmtree(masks)
                print(f"{count} images: {seconds[count][-1]:.2f} s, {peak / 1e6:.0f} MB")
    return [
        {
            "images": count,
            "process": summary(seconds[count]),
            "images_per_s": count / statistics.median(seconds[count]),
            "peak_mb": max(peaks[count]) / 1e6,
        }
        for count in counts
    ]


def fill(folder: Path, count: int) -> Path:
    """Write a folder of `count` JPEG files."""
    folder.mkdir()
    first = make_image(folder / "0.jpg", PHOTOGRAPH)
    for index in range(1, count):
        shutil.copyfile(first, folder / f"{index}.jpg")
    return folder


if __name__ == "__main__":
    main()
