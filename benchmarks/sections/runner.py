"""Overhead of the runner, frames form against tensors form, and scaling."""

from __future__ import annotations

from collections.abc import Iterator

from sections import plots
from sections.section import Results, Section, of_presets
from sections.tables import Document, circumstances, digits, duration, relative, table, timing


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
