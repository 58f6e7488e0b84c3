"""Cost of the C and C++ runtime, compared with ONNX Runtime's C call and with Python.

bare, rgb, bgr   ONNX Runtime's C call, and `dsunet_segment` on the same buffers: RGB without gaps,
                 which is not copied, and BGR, which is converted; one thread, call by call
python, c        a decoded image to its mask: `Segmenter`, and `dsunet_segment` by ctypes
start            new processes from start to the first mask: the C example, and Python
size             bytes of the stripped libraries

The variants of each measurement are interleaved.  The limit for what `rgb` adds to `bare`, median
over the rounds, is 1 % or 50 µs, whichever is larger.

Conditions: ONNX Runtime of the Python package, CPU, frames form of 1280×720, float32, randomly
initialised weights.  The library is built by `make test-cpp`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    measure_interleaved_calls,
    preset_parser,
    print_times,
    ratio,
    schedule_of,
    summaries,
    summary,
    write,
)
from exports import export_ours, new_model
from PIL import Image

import dsunet_runtime
from dsunet_runtime.artifact.manifest import InputForm
from dsunet_runtime.bench.measurement import Schedule

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.cpp.c_interface import Library, find_onnxruntime

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 1280, 720
FRACTION, SECONDS = 0.01, 5e-5
"""Limit of what the C interface adds."""
PYTHON = (
    "import sys, dsunet_runtime; "
    "dsunet_runtime.load(sys.argv[1])(sys.argv[2])"
)  # fmt: skip


def main() -> None:
    parser = preset_parser(__doc__, "nano", rounds=20, seconds=20)
    parser.add_argument(
        "--build",
        type=Path,
        default=ROOT / "build/cpp",
        help="Folder of the build (default: %(default)s).",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        artifact = Path(scratch) / f"{arguments.preset}.onnx"
        export_ours(new_model(arguments.preset), artifact, input_form=InputForm.FRAMES, batch=None)
        schedule = schedule_of(arguments)
        found = {
            "overhead": overhead(artifact, arguments.build, schedule),
            "against_python": against_python(artifact, arguments.build, schedule),
            "start": starts(artifact, arguments.build, schedule.rounds, Path(scratch)),
            "bytes": stripped_sizes(arguments.build, Path(scratch)),
        }
    write(f"cpp_{arguments.preset}", {"preset": arguments.preset, **found})


def overhead(artifact: Path, build: Path, schedule: Schedule) -> dict[str, Any]:
    """Measure what the C interface adds to ONNX Runtime's C call."""
    program = artifact.with_name("overhead")
    headers = cache_entry(build, "ONNXRUNTIME_INCLUDE_DIR")
    sources = [ROOT / "benchmarks/cpp/overhead.cpp", build / "libdsunet_runtime.so"]
    include = [f"-I{headers}", f"-I{ROOT / 'runtime/cpp/include'}"]
    run(
        "g++", "-std=c++17", "-O2", *include, *sources, f"-Wl,-rpath,{build}", "-ldl", "-o", program
    )
    size = (WIDTH, HEIGHT, schedule.rounds, schedule.seconds)
    times = json.loads(run(program, artifact, build / "dsunet", find_onnxruntime(), *size))
    print_times(times)
    added = [a - b for a, b in zip(times["rgb"], times["bare"], strict=True)]
    allowed = max(FRACTION * statistics.median(times["bare"]), SECONDS)
    within = statistics.median(added) <= allowed
    print(f"added {1e6 * statistics.median(added):.1f} µs, allowed {1e6 * allowed:.1f} µs")
    return {
        "times": summaries(times),
        "added": summary(added),
        "allowed_s": allowed,
        "within_bound": within,
    }


def against_python(artifact: Path, build: Path, schedule: Schedule) -> dict[str, Any]:
    """Measure both languages in this process, with one thread each."""
    rgb = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    os.environ["DSUNET_ONNXRUNTIME_LIBRARY"] = str(find_onnxruntime())
    library = Library(build / "libdsunet_runtime.so")
    with (
        dsunet_runtime.load(artifact, threads=1) as python,
        library.open(artifact, threads=1) as c,
    ):
        calls = {"python": lambda: python(rgb), "c": lambda: c(rgb)}
        times = measure_interleaved_calls(calls, schedule)
    print_times(times)
    return {
        "times": summaries(times),
        "c_over_python": ratio(times["c"], times["python"]),
    }


def starts(artifact: Path, build: Path, rounds: int, scratch: Path) -> dict[str, Any]:
    """Measure new processes, interleaved, from their start to the first mask of an image file."""
    image, mask = scratch / "image.ppm", scratch / "mask.pgm"
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(image)
    commands = {
        "c": (build / "examples/segment_image_c", artifact, image, mask),
        "python": (sys.executable, "-c", PYTHON, artifact, image),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            start = time.perf_counter()
            run(*command)
            times[name].append(time.perf_counter() - start)
    print_times(times)
    return {
        "times": summaries(times),
        "c_over_python": ratio(times["c"], times["python"]),
    }


def stripped_sizes(build: Path, scratch: Path) -> dict[str, int]:
    """Bytes of the core and of the ONNX Runtime backend without symbols."""
    sizes = {}
    for path in (build / "libdsunet_runtime.so", build / "dsunet/libdsunet_onnxruntime.so"):
        stripped = scratch / path.name
        run("strip", "-o", stripped, path)
        sizes[path.name] = stripped.stat().st_size
    print(sizes)
    return sizes


def cache_entry(build: Path, name: str) -> str:
    """A value that CMake found for this build."""
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.partition("=")[2]
    raise SystemExit(f"{build} has no {name}: build it with `make test-cpp`")


def run(*command: object) -> str:
    """Run a command; return what it prints."""
    words = [str(word) for word in command]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
