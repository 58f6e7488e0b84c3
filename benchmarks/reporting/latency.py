"""How fast one image is, on a CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Mapping

from reporting import plots
from reporting.section import Results, Section, of_presets
from reporting.tables import Document, circumstances, digits, duration, over, share, table, timing


def latency(results: Results) -> Section | None:
    found = of_presets(results, "latency_cpu")
    section = Section(
        "One image on a CPU",
        ["`latency.py`: `tensors` form, batch 1, float32, random weights, in turns."],
    )
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`",
            _ways(document, _LATENCY_WAYS),
        ]
        if document.get("compile_s"):
            section.blocks.append(
                f"The first call of `torch.compile`, which compiles, takes "
                f"{duration(document['compile_s'])}."
            )
        plain, ours = (document["macs"][f"onnxruntime_{way}"] for way in ("bare", "rewritten"))
        section.blocks += [
            f"Multiply-adds: {digits(plain / 1e9)} G plain, {digits(ours / 1e9)} G ours.",
            circumstances(document),
        ]
    section.show("latency_cpu.svg", plots.rounds(found, _LATENCY_WAYS))
    return section if found else None


_LATENCY_WAYS = {
    "pytorch_eager": "PyTorch eager",
    "pytorch_compiled": "`torch.compile`",
    "onnxruntime_bare": "ONNX Runtime, a bare `torch.onnx.export`",
    "onnxruntime_rewritten": "ONNX Runtime, `dsunet-export onnx`",
}


def quantised(results: Results) -> Section | None:
    found = of_presets(results, "quantised")
    section = Section(
        "8-bit integers on a CPU",
        ["`quantised.py`: `tensors` form, batch 1, random weights, in turns."],
    )
    for preset, document in found.items():
        rows = [
            [
                words,
                f"{document['bytes'][way] / 1e9:,.2f} GB",
                timing(document["times"][way]),
                share(document["int8_over"][way]) if way != "int8" else "",
            ]
            for way, words in _QUANTISED_WAYS.items()
        ]
        section.blocks += [
            f"### `{preset}`",
            table(["", "size", "median (spread)", "int8 / this"], rows),
            circumstances(document),
        ]
    return section if found else None


_QUANTISED_WAYS = {
    "fp32": "`dsunet-export onnx`",
    "dynamic": "`quantize_dynamic` of a bare `torch.onnx.export`",
    "int8": "`dsunet-export onnx --precision int8`",
}


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
            section.blocks += [f"In {precision}:", _ways(document, ways)]
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


def _ways(document: Document, words: Mapping[str, str]) -> str:
    """A row for each way that was measured, and how much of its time the last of them takes."""
    times = {way: document["times"][way] for way in words if way in document["times"]}
    last = [*times][-1]
    return table(
        ["", "median (spread)", f"{words[last]} / this"],
        [
            [words[way], timing(time), "" if way == last else over(times[last], time)]
            for way, time in times.items()
        ],
    )
