"""Overhead of the runner, frames form against tensors form, and scaling."""

from __future__ import annotations

from collections.abc import Iterator

from sections import plots
from sections.section import Results, Section, of_presets
from sections.tables import Document, circumstances, digits, duration, over, relative, table, timing


def runner_overhead(results: Results) -> Section | None:
    found = of_presets(results, "runner_overhead")
    section = Section(
        "Overhead of the runner",
        [
            "`runner_overhead.py`: `Segmenter` and the same ONNX Runtime session alone, on the "
            "same buffers, interleaved. The limit for the median overhead is 3 % or 0.2 ms, "
            "whichever is larger."
        ],
    )
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`",
            table(
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
            ),
            _memory(document["memory"]),
            circumstances(document),
        ]
    section.show("runner_memory.svg", plots.memory(found))
    return section if found else None


def _memory(memory: Document) -> str:
    growth = memory["growth_bytes"]
    return (
        f"Host memory over {memory['calls']:,} calls after the warm-up: resident memory grows by "
        f"{growth['resident']:,} bytes, allocations of Python and NumPy by {growth['traced']:,}. "
        f"During a call they temporarily allocate "
        f"{digits(memory['traced_during_a_call_bytes'] / 1e6)} MB."
    )


def cpp(results: Results) -> Section | None:
    found = of_presets(results, "cpp")
    section = Section(
        "C and C++ runtime",
        [
            "`cpp.py`: `dsunet_segment` and ONNX Runtime's C call on the same buffers, and Python; "
            "frames of 1280×720, float32, interleaved. The limit for what the C interface adds, "
            "median over the rounds, is 1 % or 50 µs, whichever is larger."
        ],
    )
    for preset, document in found.items():
        names = ("overhead", "against_python", "start")
        overhead, python, start = (document[name] for name in names)
        sizes = ", ".join(f"`{name}` {size:,}" for name, size in document["bytes"].items())
        section.blocks += [
            f"### `{preset}`",
            table(
                ["one thread", "time"],
                [
                    ["ONNX Runtime's C call", timing(overhead["times"]["bare"])],
                    ["`dsunet_segment`, RGB, not copied", timing(overhead["times"]["rgb"])],
                    ["`dsunet_segment`, BGR, converted", timing(overhead["times"]["bgr"])],
                ],
            ),
            f"Added: {timing(overhead['added'])}, limit {duration(overhead['allowed_s'])}. Time of "
            f"C / time of Python, in one process: {relative(python['c_over_python'])}; new "
            f"processes from start to the first mask: {relative(start['c_over_python'])} "
            f"({timing(start['times']['c'])} and {timing(start['times']['python'])}). Bytes "
            f"without symbols: {sizes}.",
            circumstances(document),
        ]
    return section if found else None


def frames(results: Results) -> Section | None:
    found = of_presets(results, "frames")
    section = Section(
        "Frames form and tensors form",
        [
            "`frames.py`: from a decoded image to its mask on a CPU, batch 1, float32, "
            "interleaved. `frames`: one ONNX Runtime call, with pre- and postprocessing in the "
            "graph. `tensors`: pre- and postprocessing by Pillow and NumPy."
        ],
    )
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`",
            table(
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
            ),
            circumstances(document),
        ]
    section.show("frames.svg", plots.frames(found))
    return section if found else None


def growth(results: Results) -> Section | None:
    found = of_presets(results, "growth")
    section = Section(
        "Scaling with batch and number of images",
        [
            "`growth.py`: `frames` form on a CPU, float32. Batches of a decoded 1280×720 image, "
            "interleaved; folders of 320×240 JPEG files by `dsunet-run predict`, from the start to "
            "the end of the process."
        ],
    )
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`",
            table(
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
            ),
            *_folders(document["folders"]),
            circumstances(document),
        ]
    section.show("growth.svg", plots.batches(found))
    return section if found else None


def workers(results: Results) -> Section | None:
    found = of_presets(results, "workers")
    section = Section(
        "Several processes on one machine",
        [
            "`workers.py`: `frames` form on a CPU, float32, ONNX Runtime, batch 1, synthetic "
            "scenes of 320×320, interleaved. The start is the time until the first mask, without "
            "the start of Python; the time of an image is measured after the first quarter of them."
        ],
    )
    for preset, document in found.items():
        image = document["image"]
        section.blocks += [
            f"### `{preset}`, {document['images']} images",
            table(
                ["", "start", "an image", "time of this row / the first"],
                [
                    [
                        words,
                        timing(document["start"][name]),
                        timing(image[name]),
                        over(image[name], image["process"]) if name != "process" else "",
                    ]
                    for name, words in _PLACES.items()
                ],
            ),
            circumstances(document),
        ]
    return section if found else None


_PLACES = {
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
