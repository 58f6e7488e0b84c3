"""Overhead of `Segmenter` over ONNX Runtime: time per call, and host memory over many calls.

Time: the same session on the same buffers, called directly and through `Segmenter`, interleaved.

tensors, batch 1 and 4    `infer` of prepared images, against the stacked batch
frames, batch 1           `batch` of a decoded image of 1280×720, against the image as an array

The limit for the overhead, median over the rounds, is 3 % or 0.2 ms, whichever is larger.  Both use
one session, because the spinning threads of two sessions would disturb each other.

Memory: repeated calls in the `tensors` form after a warm-up; resident memory of the process and
allocations of Python and NumPy (`tracemalloc`) at the start, in between and at the end.

Conditions: CPU, float32, randomly initialised weights, all cores.
"""

from __future__ import annotations

import statistics
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import (
    measure_interleaved_calls,
    preset_parser,
    print_times,
    schedule_of,
    summaries,
    summary,
    write,
)
from numpy.typing import NDArray

from dsunet_runtime.artifact.manifest import InputForm
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.backends.onnxruntime.backend import OnnxRuntimeBackend
from dsunet_runtime.bench.measurement import Schedule
from dsunet_runtime.bench.memory_use import resident
from dsunet_runtime.bench.workload import Call
from dsunet_runtime.provider import Provider
from dsunet_runtime.segmenter import Segmenter

FRACTION, SECONDS = 0.03, 2e-4
"""Limit of the overhead."""
FRAME = (720, 1280)
"""Height and width."""
WARM_UP_CALLS = 50
SAMPLES = 20
"""Number of memory samples."""


class Opened(NamedTuple):
    """One session, called directly and through the runner."""

    segmenter: Segmenter
    session: Any


def main() -> None:
    parser = preset_parser(__doc__, "nano", rounds=100, seconds=30)
    parser.add_argument(
        "--calls",
        type=int,
        default=2000,
        help="Number of calls for the memory measurement (default: %(default)s).",
    )
    arguments = parser.parse_args()
    from exports import export_ours, new_model

    with tempfile.TemporaryDirectory() as name:
        forms = {form: Path(name) / f"{form}.onnx" for form in InputForm}
        for form, path in forms.items():
            export_ours(new_model(arguments.preset), path, input_form=form, batch=None)
        found = measure(forms, schedule_of(arguments), arguments.calls)
    write(f"runner_overhead_{arguments.preset}", {"preset": arguments.preset, **found})


def measure(forms: dict[InputForm, Path], schedule: Schedule, calls: int) -> dict[str, Any]:
    """Measure time and memory for an artifact in each form."""
    rgb = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), np.uint8)
    time = {}
    with opened(forms[InputForm.TENSORS]) as one:
        for batch in (1, 4):
            time[f"tensors, batch {batch}"] = compare(*infer_calls(one, rgb, batch), schedule)
        memory = watch_memory(infer_calls(one, rgb, 1)[1], calls)
    with opened(forms[InputForm.FRAMES]) as one:
        time["frames, batch 1"] = compare(*frame_calls(one, rgb), schedule)
    return {"bound": {"fraction": FRACTION, "seconds": SECONDS}, "time": time, "memory": memory}


@contextmanager
def opened(artifact: Path) -> Iterator[Opened]:
    manifest = read_manifest(artifact)
    backend = OnnxRuntimeBackend(artifact, manifest, Provider.CPU)
    with Segmenter(manifest, backend) as segmenter:
        yield Opened(segmenter, backend._session)


def infer_calls(one: Opened, rgb: NDArray[np.uint8], batch: int) -> tuple[Call, Call]:
    """Return calls without and with the runner, from input to output tensors."""
    prepared = [one.segmenter.prepare(rgb)] * batch
    names = prepared[0].inputs
    buffers = {name: np.stack([image.inputs[name] for image in prepared]) for name in names}
    return lambda: one.session.run(None, buffers), lambda: one.segmenter.infer(prepared)


def frame_calls(one: Opened, rgb: NDArray[np.uint8]) -> tuple[Call, Call]:
    """Return calls without and with the runner, from a decoded image to its mask."""
    buffers = {"image": rgb[None]}
    return lambda: one.session.run(None, buffers), lambda: one.segmenter.batch([rgb])


def compare(bare: Call, with_runner: Call, schedule: Schedule) -> dict[str, Any]:
    """Measure both calls, the overhead, and whether it is within the limit."""
    times = measure_interleaved_calls({"bare": bare, "segmenter": with_runner}, schedule)
    print_times(times)
    added = [a - b for a, b in zip(times["segmenter"], times["bare"], strict=True)]
    allowed = max(FRACTION * statistics.median(times["bare"]), SECONDS)
    within = statistics.median(added) <= allowed
    print(
        f"added {1000 * statistics.median(added):.3f} ms, allowed {1000 * allowed:.3f} ms: "
        f"{'within' if within else 'OVER'} the bound"
    )
    return {
        "times": summaries(times),
        "added": summary(added),
        "allowed_s": allowed,
        "within_bound": within,
    }


def watch_memory(call: Call, calls: int) -> dict[str, Any]:
    """Measure memory over calls, and the peak allocation of Python and NumPy during a call."""
    step = max(1, calls // SAMPLES)
    # Preallocated, so that recording takes no further memory.
    samples = np.zeros((SAMPLES + 1, 3), np.int64)
    tracemalloc.start()
    for _ in range(WARM_UP_CALLS):
        call()
    for sample in range(SAMPLES + 1):
        samples[sample] = sample * step, resident() or 0, tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(step if sample < SAMPLES else 1):
            call()
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    done, *growth = (samples[-1] - samples[0]).tolist()
    print(f"{done} calls: resident {growth[0]:+,} bytes, traced {growth[1]:+,}")
    return {
        "calls": done,
        "growth_bytes": dict(zip(("resident", "traced"), growth, strict=True)),
        "traced_during_a_call_bytes": peak - now,
        "measured": dict(zip(("calls", "resident", "traced"), samples.T.tolist(), strict=True)),
    }


if __name__ == "__main__":
    main()
