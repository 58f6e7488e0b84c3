"""What the runner adds, what image arithmetic costs, and how cost grows."""

from __future__ import annotations

from collections.abc import Iterator

from reporting import plots
from reporting.section import Results, Section, of_presets
from reporting.tables import Document, circumstances, digits, duration, share, table, timing


def runner_overhead(results: Results) -> Section | None:
    found = of_presets(results, "runner_overhead")
    section = Section(
        "What the runner adds",
        [
            "`runner_overhead.py`: `Segmenter` against the same ONNX Runtime session on the same "
            "buffers, in turns. It may add 3 % or 0.2 ms, whichever is larger, in the median."
        ],
    )
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`",
            table(
                ["", "session", "`Segmenter`", "added", "allowed", ""],
                [
                    [
                        form,
                        timing(one["times"]["bare"]),
                        timing(one["times"]["segmenter"]),
                        timing(one["added"]),
                        duration(one["allowed_s"]),
                        "within" if one["within"] else "**over**",
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
        f"Host memory over {memory['calls']:,} calls after the warm-up: the process grows by "
        f"{growth['resident']:,} bytes, what Python and NumPy hold by {growth['traced']:,}. During "
        f"a call they take {digits(memory['traced_during_a_call_bytes'] / 1e6)} MB more, and give "
        "it back."
    )


def frames(results: Results) -> Section | None:
    found = of_presets(results, "frames")
    section = Section(
        "Image arithmetic in the graph, or outside",
        [
            "`frames.py`: a decoded image to its mask on a CPU, batch 1, float32, in turns. "
            "`frames`: one ONNX Runtime call. `tensors`: Pillow and NumPy before and after it."
        ],
    )
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`",
            table(
                ["", "`frames`", "`tensors`", "time of `frames` / of `tensors`"],
                [
                    [
                        f"{size}, {one['width']}×{one['height']}",
                        timing(one["times"]["frames"]),
                        timing(one["times"]["tensors"]),
                        share(one["frames_over_tensors"]),
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
        "How cost grows",
        [
            "`growth.py`: `frames` form on a CPU, float32; batches of a decoded 1280×720 image in "
            "turns; folders of 320×240 JPEG files by `dsunet-run predict`, from the start of the "
            "process to its end."
        ],
    )
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`",
            table(
                ["batch", "median of a call", "99 %", "images/s"],
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
            ["images in the folder", "median (spread)", "images/s", "peak memory"],
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
