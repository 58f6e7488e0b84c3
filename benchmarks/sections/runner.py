"""Overhead of the runner, frames form against tensors form, and scaling."""

from __future__ import annotations

from collections.abc import Iterator

from sections import plots
from sections.section import Results, Section, preset_section
from sections.tables import Document, digits, duration, over, relative, table, timing


def runner_overhead(results: Results) -> Section | None:
    return preset_section(
        results,
        "runner_overhead",
        "Overhead of the runner",
        "`runner_overhead.py`: `Segmenter` and the same ONNX Runtime session alone, on the "
        "same buffers, interleaved. The limit for the median overhead is 3 % or 0.2 ms, "
        "whichever is larger.",
        _runner_overhead,
        plot=("runner_memory.svg", plots.memory),
    )


def _runner_overhead(document: Document) -> Iterator[str]:
    yield table(
        ["", "session", "`Segmenter`", "overhead", "limit", ""],
        [
            [
                form,
                timing(one["times"]["bare"]),
                timing(one["times"]["segmenter"]),
                timing(one["added"]),
                duration(one["allowed_s"]),
                "within" if one["within_bound"] else "**over**",
            ]
            for form, one in document["time"].items()
        ],
    )
    yield _memory(document["memory"])


def _memory(memory: Document) -> str:
    growth = memory["growth_bytes"]
    return (
        f"Host memory over {memory['calls']:,} calls after the warm-up: resident memory grows by "
        f"{growth['resident']:,} bytes, allocations of Python and NumPy by {growth['traced']:,}. "
        f"During a call they temporarily allocate "
        f"{digits(memory['traced_during_a_call_bytes'] / 1e6)} MB."
    )


def cpp(results: Results) -> Section | None:
    return preset_section(
        results,
        "cpp",
        "C and C++ runtime",
        "`cpp.py`: `dsunet_segment` and ONNX Runtime's C call on the same buffers, and Python; "
        "frames of 1280×720, float32, interleaved. The limit for what the C interface adds, "
        "median over the rounds, is 1 % or 50 µs, whichever is larger.",
        _cpp,
    )


def _cpp(document: Document) -> Iterator[str]:
    names = ("overhead", "against_python", "start")
    overhead, python, start = (document[name] for name in names)
    sizes = ", ".join(f"`{name}` {size:,}" for name, size in document["bytes"].items())
    yield table(
        ["one thread", "time"],
        [
            ["ONNX Runtime's C call", timing(overhead["times"]["bare"])],
            ["`dsunet_segment`, RGB, not copied", timing(overhead["times"]["rgb"])],
            ["`dsunet_segment`, BGR, converted", timing(overhead["times"]["bgr"])],
        ],
    )
    yield (
        f"Added: {timing(overhead['added'])}, limit {duration(overhead['allowed_s'])}. Time of "
        f"C / time of Python, in one process: {relative(python['c_over_python'])}; new "
        f"processes from start to the first mask: {relative(start['c_over_python'])} "
        f"({timing(start['times']['c'])} and {timing(start['times']['python'])}). Bytes "
        f"without symbols: {sizes}."
    )


def frames(results: Results) -> Section | None:
    return preset_section(
        results,
        "frames",
        "Frames form and tensors form",
        "`frames.py`: from a decoded image to its mask on a CPU, batch 1, float32, "
        "interleaved. `frames`: one ONNX Runtime call, with pre- and postprocessing in the "
        "graph. `tensors`: pre- and postprocessing by Pillow and NumPy.",
        _frames,
        plot=("frames.svg", plots.frames),
    )


def _frames(document: Document) -> Iterator[str]:
    yield table(
        ["", "`frames`", "`tensors`", "time of `frames` / `tensors`"],
        [
            [
                f"{size}, {one['width']}×{one['height']}",
                timing(one["times"]["frames"]),
                timing(one["times"]["tensors"]),
                relative(one["frames_over_tensors"]),
            ]
            for size, one in document["sizes"].items()
        ],
    )


def growth(results: Results) -> Section | None:
    return preset_section(
        results,
        "growth",
        "Scaling with batch and number of images",
        "`growth.py`: `frames` form on a CPU, float32. Batches of a decoded 1280×720 image, "
        "interleaved; folders of 320×240 JPEG files by `dsunet-run predict`, from the start to "
        "the end of the process.",
        _growth,
        plot=("growth.svg", plots.batches),
    )


def _growth(document: Document) -> Iterator[str]:
    yield table(
        ["batch", "median latency", "p99 latency", "images/s"],
        [
            [
                f"{one['batch']}",
                duration(one["latency"]["median"]),
                duration(one["latency"]["p99"]),
                digits(one["images_per_s"]),
            ]
            for one in document["batches"]
        ],
    )
    yield from _folders(document["folders"])


def workers(results: Results) -> Section | None:
    return preset_section(
        results,
        "workers",
        "Several processes on one machine",
        "`workers.py`: `frames` form on a CPU, float32, ONNX Runtime, batch 1, synthetic "
        "scenes of 320×320, interleaved. The start is the time until the first mask, without "
        "the start of Python; the time of an image is measured after the first quarter of them.",
        _workers,
        heading_of=lambda document: f", {document['images']} images",
    )


def _workers(document: Document) -> Iterator[str]:
    image = document["image"]
    yield table(
        ["", "start", "an image", "time of this row / the first"],
        [
            [
                words,
                timing(document["start"][name]),
                timing(image[name]),
                over(image[name], image["process"]) if name != "process" else "",
            ]
            for name, words in _PLACEMENTS.items()
        ],
    )


_PLACEMENTS = {
    "process": "one process",
    "workers_1": "`--workers 1`",
    "workers_2": "`--workers 2`",
    "ray_2": "`--ray local`, 2 workers of 1 thread",
}


def _folders(folders: list[Document]) -> Iterator[str]:
    if folders:
        yield table(
            ["images in the folder", "median (range)", "images/s", "peak memory"],
            [
                [
                    f"{one['images']:,}",
                    timing(one["process"]),
                    digits(one["images_per_s"]),
                    f"{digits(one['peak_mb'])} MB",
                ]
                for one in folders
            ],
        )
