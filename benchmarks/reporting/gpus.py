"""What a GPU did."""

from __future__ import annotations

from collections.abc import Iterator

from reporting.latency import ways_table
from reporting.section import Results, Section, of_presets
from reporting.tables import Document, circumstances, duration, share, table, timing


def gpu(results: Results) -> Section | None:
    found = of_presets(results, "gpu")
    section = Section(
        "One image on a GPU",
        [
            "`gpu.py`: `tensors` form, batch 1, random weights, all in GPU memory, no TF32, in "
            "turns. Engines of TensorRT for RTX, both built by the same few lines."
        ],
    )
    for preset, document in found.items():
        section.blocks.append(f"### `{preset}`")
        for precision in ("fp32", "fp16"):
            ways = {f"{way}_{precision}": words for way, words in _GPU_WAYS.items()}
            section.blocks += [f"In {precision}:", ways_table(document, ways)]
            section.blocks += [
                f"{words}, ours / plain: {share(faster)}"
                for runner, words in _RUNNERS.items()
                if (faster := document["ours_over_plain"].get(f"{runner}_{precision}"))
            ]
        section.blocks += [f"Left out: {line}" for line in document["left_out"].values()]
        section.blocks += [f"Doubtful: {line}" for line in document["doubts"]]
        section.blocks.append(circumstances(document))
    return section if found else None


_GPU_WAYS = {
    "torch_eager": "PyTorch eager",
    "torch_compiled": "`torch.compile`",
    "onnxruntime_plain": "ONNX Runtime, a plain export",
    "onnxruntime_ours": "ONNX Runtime, ours",
    "tensorrt_plain": "TensorRT, a plain export",
    "tensorrt_ours": "TensorRT, ours",
}


_RUNNERS = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}


def gpu_batches(results: Results) -> Section | None:
    names = ("gpu_batches_torch", "gpu_batches_onnxruntime")
    found = [results[name] for name in names if name in results]
    section = Section(
        "Batches on a GPU",
        [
            "`gpu_batches.py`: 8-bit frames of 1280×720 to 8-bit masks, random weights, float16, "
            "no TF32, all in GPU memory; what has a median of its own took turns."
        ],
    )
    for document in found:
        ceiling = document["ceiling"]
        section.blocks += [
            f"`{document['preset']}`, as a share of {ceiling['macs_per_second'] / 1e12:.0f} T "
            f"multiply-adds/s, a {ceiling['product']}:",
            table(["", "batch", "median (spread)", "images/s", "share"], _batch_rows(document)),
            *(f"Left out: {way}: {why}" for way, why in document["left_out"].items()),
            *(
                f"Doubtful: batch {b['batch']}: {d}"
                for b in document["batches"]
                for d in b["doubts"]
            ),
            circumstances(document),
        ]
    return section if found else None


def _batch_rows(document: Document) -> Iterator[list[str]]:
    for one in sorted(document["batches"], key=lambda one: one["batch"]):
        for way, times in one["ways"].items():
            reached = document["macs"][way] * times["images_per_s"]
            yield [
                _BATCH_WAYS[way],
                str(one["batch"]),
                timing(times),
                f"{times['images_per_s']:.1f}",
                f"{reached / document['ceiling']['macs_per_second']:.1%}",
            ]


_BATCH_WAYS = {
    "torch_eager": "PyTorch eager",
    "torch_eager_captured": "the same as a CUDA graph",
    "torch_compiled": "`torch.compile`",
    "torch_compiled_captured": "the same as a CUDA graph",
    "onnxruntime_fp16": "ONNX Runtime, FP16",
    "onnxruntime_fp32": "ONNX Runtime, FP32",
}


def gpu_branches(results: Results) -> Section | None:
    document = results.get("gpu_branches")
    if document is None:
        return None
    ceiling = document["ceiling"]["macs_per_second"]
    blocks = [
        f"`gpu_branches.py`: `{document['preset']}` in float16, batch {document['batch']}; each "
        "part by events, waiting for its launches included; at best is its multiply-adds at the "
        "ceiling."
    ]
    eager, compiled = document["branches"]["eager"], document["branches"]["compiled"]
    blocks.append(
        table(
            ["", "at best", "eager", "compiled"],
            [
                [
                    branch,
                    duration(one["macs"] / ceiling),
                    duration(one["seconds"]),
                    duration(compiled[branch]["seconds"]),
                ]
                for branch, one in eager.items()
            ],
        )
    )
    for way, kernels in document["kernels"].items():
        whole = kernels[0][2] / kernels[0][3]
        blocks += [
            f"The longest kernels, {way}, of {duration(whole)} for all of them:",
            table(
                ["", "launches", "together", "share"],
                [[f"`{n[:70]}`", str(c), duration(s), f"{p:.1%}"] for n, c, s, p in kernels[:8]],
            ),
        ]
    return Section("Where a GPU's time goes", [*blocks, circumstances(document)])


def gpu_rtx(results: Results) -> Section | None:
    document = results.get("gpu_rtx")
    if document is None:
        return None
    rows = [
        [f"`{target}`", said["outcome"], _in_short(said["reason"] or "")]
        for target, said in document["attempts"].items()
    ]
    blocks = [
        "`gpu_rtx.py`: engines of `nano` for every target that might do, built and loaded here.",
        table(["built for", "outcome", "what is said"], rows),
        *_measured(document),
        circumstances(document),
    ]
    return Section("TensorRT for RTX on a GPU that it does not list", blocks)


def _in_short(reason: str) -> str:
    """Without the path before it and the remedy after it."""
    return reason.partition(": build it")[0].rpartition(": ")[2]


def _measured(document: Document) -> Iterator[str]:
    for preset, one in document["presets"].items():
        if "latency" in one:
            yield f"`{preset}`:"
            yield table(
                ["", "median", "images/s"],
                [
                    [name, duration(way["median"]), f"{way['images_per_s']:.1f}"]
                    for name, way in one["latency"]["ways"].items()
                ],
            )
