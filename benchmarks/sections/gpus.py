"""Results on GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from sections.latency import variants_table
from sections.section import Results, Section, preset_section
from sections.tables import Document, circumstances, duration, relative, table, timing


def gpu(results: Results) -> Section | None:
    return preset_section(
        results,
        "gpu",
        "Latency of one image on a GPU",
        "`gpu.py`: `tensors` form, batch 1, randomly initialised weights, inputs and outputs "
        "in GPU memory, no TF32, interleaved. Both engines of TensorRT for RTX are built by "
        "the same code.",
        _gpu,
    )


def _gpu(document: Document) -> Iterator[str]:
    for precision in ("fp32", "fp16"):
        variants = {f"{variant}_{precision}": words for variant, words in _GPU_VARIANTS.items()}
        yield f"In {precision}:"
        yield variants_table(document, variants)
        for runner, words in _RUNNERS.items():
            if faster := document["ours_over_plain"].get(f"{runner}_{precision}"):
                yield f"{words}, time of `dsunet-export` / plain export: {relative(faster)}"
    yield from (f"Not measured: {line}" for line in document["left_out"].values())
    yield from (f"Warning: {line}" for line in document["warnings"])


_GPU_VARIANTS = {
    "torch_eager": "PyTorch eager",
    "torch_compiled": "`torch.compile`",
    "onnxruntime_plain": "ONNX Runtime, plain export",
    "onnxruntime_ours": "ONNX Runtime, `dsunet-export`",
    "tensorrt_plain": "TensorRT, plain export",
    "tensorrt_ours": "TensorRT, `dsunet-export`",
}


_RUNNERS = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}


def gpu_batches(results: Results) -> Section | None:
    found = [one for name, one in sorted(results.items()) if name.startswith("gpu_batches_")]
    section = Section(
        "Throughput on a GPU",
        [
            "`gpu_batches.py`: from 8-bit frames of 1280×720 to 8-bit masks, randomly initialised "
            "weights, float16 unless stated, no TF32, inputs and outputs in GPU memory, "
            "interleaved per batch. The encoders run one after the other unless the row says "
            "otherwise. GELU by tanh, in the epilogue of the matmuls, differs from the exact one "
            "by at most 4.8e-4."
        ],
    )
    for document in found:
        ceiling = document["ceiling"]
        section.blocks += [
            f"`{document['preset']}`. The ceiling is {ceiling['macs_per_second'] / 1e12:.0f} T "
            f"multiply-adds/s, measured by a {ceiling['matmul']}.",
            table(["", "batch", "median (range)", "images/s", "of ceiling"], _batch_rows(document)),
            *(f"Not measured: {variant}: {why}" for variant, why in document["left_out"].items()),
            *(
                f"Warning: batch {b['batch']}: {d}"
                for b in document["batches"]
                for d in b["warnings"]
            ),
            circumstances(document),
        ]
    return section if found else None


def _batch_rows(document: Document) -> Iterator[list[str]]:
    for one in sorted(document["batches"], key=lambda one: one["batch"]):
        for variant, times in one["variants"].items():
            reached = document["macs"][variant] * times["images_per_s"]
            yield [
                _BATCH_VARIANTS[variant],
                str(one["batch"]),
                timing(times),
                f"{times['images_per_s']:.1f}",
                f"{reached / document['ceiling']['macs_per_second']:.1%}",
            ]


_BATCH_VARIANTS = {
    "torch_eager": "PyTorch eager",
    "torch_eager_captured": "PyTorch eager as a CUDA graph",
    "torch_compiled": "`torch.compile`",
    "torch_compiled_captured": "`torch.compile` as a CUDA graph",
    "torch_streams_captured": "the same, encoders on two streams",
    "torch_tanh_captured": "the same, GELU by tanh in the matmuls",
    "onnxruntime_fp16": "ONNX Runtime, FP16",
    "onnxruntime_fp32": "ONNX Runtime, FP32",
}


def gpu_parity(results: Results) -> Section | None:
    document = results.get("gpu_parity")
    if document is None:
        return None
    rows = [
        [
            f"{words}, {number_type}",
            f"{one['relative_rms']:.1e}",
            f"{one['largest']:.1e}",
            f"{one['iou']:.4f}",
        ]
        for case, words in _PARITY_CASES.items()
        for number_type, one in document[case].items()
    ]
    blocks = [
        "`gpu_parity.py`: logits on the GPU, without TF32, compared with float32 on a CPU; RMS and "
        "largest difference divided by the standard deviation of the reference. Weights that are "
        "not trained amplify rounding.",
        table(["", "RMS", "largest", "IoU"], rows),
        circumstances(document),
    ]
    return Section("Parity of PyTorch on a GPU", blocks)


_PARITY_CASES = {
    "oracle": "`large`, the oracle's weights, against the published code",
    "random": "`large`, randomly initialised weights",
    "trained": "`nano`, the demonstration checkpoint",
}


def gpu_selftests(results: Results) -> Section | None:
    document = results.get("gpu_selftests")
    if document is None:
        return None
    rows = [
        [name, "passed" if one["passed"] else "failed", _time_or_reason(one)]
        for name, one in document["artifacts"].items()
    ]
    blocks = [
        "`gpu_selftests.py`: artifacts loaded with ONNX Runtime's CUDA provider; the time is that "
        "of loading and of the self-test.",
        table(["", "self-test", ""], rows),
        circumstances(document),
    ]
    return Section("Self-tests on a GPU", blocks)


def _time_or_reason(one: Document) -> str:
    return duration(one["seconds"]) if one["passed"] else one["message"].split(": ", 2)[2][:160]


def gpu_branches(results: Results) -> Section | None:
    document = results.get("gpu_branches")
    if document is None:
        return None
    ceiling = document["ceiling"]["macs_per_second"]
    blocks = [
        f"`gpu_branches.py`: `{document['preset']}` in float16, batch {document['batch']}. Times "
        "per branch are measured by CUDA events and include waiting for kernel launches. The "
        "minimum is the time of the multiply-adds at the ceiling."
    ]
    eager, compiled = document["branches"]["eager"], document["branches"]["compiled"]
    blocks.append(
        table(
            ["", "minimum", "eager", "compiled"],
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
    for variant, kernels in document["kernels"].items():
        whole = kernels[0][2] / kernels[0][3]
        blocks += [
            f"The slowest kernels, {variant}; all kernels together take {duration(whole)}:",
            table(
                ["", "launches", "total time", "of all kernels"],
                [[f"`{n[:70]}`", str(c), duration(s), f"{p:.1%}"] for n, c, s, p in kernels[:8]],
            ),
        ]
    return Section("Time per branch on a GPU", [*blocks, circumstances(document)])


def gpu_rtx(results: Results) -> Section | None:
    document = results.get("gpu_rtx")
    if document is None:
        return None
    rows = [
        [f"`{target}`", attempt["outcome"], _in_short(attempt["reason"] or "")]
        for target, attempt in document["attempts"].items()
    ]
    blocks = [
        "`gpu_rtx.py`: engines of `nano` for every plausible target, built and loaded on this GPU.",
        table(["target", "outcome", "message"], rows),
        *_measured(document),
        circumstances(document),
    ]
    return Section("TensorRT for RTX on an unsupported GPU", blocks)


def _in_short(reason: str) -> str:
    """Remove the path before the message and the remedy after it."""
    return reason.partition(": build it")[0].rpartition(": ")[2]


def _measured(document: Document) -> Iterator[str]:
    for preset, one in document["presets"].items():
        if "latency" in one:
            yield f"`{preset}`:"
            yield table(
                ["", "median", "images/s"],
                [
                    [name, duration(variant["median"]), f"{variant['images_per_s']:.1f}"]
                    for name, variant in one["latency"]["variants"].items()
                ],
            )
