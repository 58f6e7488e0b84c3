"""Latency of one image on a CPU."""

from __future__ import annotations

from collections.abc import Mapping

from sections import plots
from sections.section import Results, Section, of_presets
from sections.tables import Document, circumstances, digits, duration, over, relative, table, timing


def latency(results: Results) -> Section | None:
    found = of_presets(results, "latency_cpu")
    section = Section(
        "Latency of one image on a CPU",
        [
            "`latency.py`: `tensors` form, batch 1, float32, randomly initialised weights, "
            "interleaved."
        ],
    )
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`",
            variants_table(document, _LATENCY_VARIANTS),
        ]
        if document.get("compile_s"):
            section.blocks.append(
                f"The first call with `torch.compile`, which compiles, takes "
                f"{duration(document['compile_s'])}."
            )
        plain, ours = (
            document["macs"][f"onnxruntime_{variant}"] for variant in ("bare", "rewritten")
        )
        section.blocks += [
            f"Multiply-adds: {digits(plain / 1e9)} G in the bare export, {digits(ours / 1e9)} G "
            "with `dsunet-export onnx`.",
            circumstances(document),
        ]
    section.show("latency_cpu.svg", plots.rounds(found, _LATENCY_VARIANTS))
    return section if found else None


_LATENCY_VARIANTS = {
    "pytorch_eager": "PyTorch eager",
    "pytorch_compiled": "`torch.compile`",
    "onnxruntime_bare": "ONNX Runtime, a bare `torch.onnx.export`",
    "onnxruntime_rewritten": "ONNX Runtime, `dsunet-export onnx`",
}


def quantised(results: Results) -> Section | None:
    found = of_presets(results, "quantised")
    section = Section(
        "INT8 on a CPU",
        ["`quantised.py`: `tensors` form, batch 1, randomly initialised weights, interleaved."],
    )
    for preset, document in found.items():
        rows = [
            [
                words,
                f"{document['bytes'][variant] / 1e9:,.2f} GB",
                timing(document["times"][variant]),
                relative(document["int8_over"][variant]) if variant != "int8" else "",
            ]
            for variant, words in _QUANTISED_VARIANTS.items()
        ]
        section.blocks += [
            f"### `{preset}`",
            table(["", "size", "median (range)", "time of the last row / this row"], rows),
            circumstances(document),
        ]
    return section if found else None


_QUANTISED_VARIANTS = {
    "fp32": "`dsunet-export onnx`",
    "dynamic": "`quantize_dynamic` of a bare `torch.onnx.export`",
    "int8": "`dsunet-export onnx --precision int8`",
}


def cpu_providers(results: Results) -> Section | None:
    found = of_presets(results, "cpu_providers")
    section = Section(
        "ONNX Runtime and OpenVINO on a CPU",
        ["`cpu_providers.py`: `tensors` form, batch 1, randomly initialised weights, interleaved."],
    )
    for preset, document in found.items():
        rows = [
            [
                words,
                timing(document["times"][variant]),
                relative(document["over_first"][variant]) if index else "",
            ]
            for index, (variant, words) in enumerate(_CPU_PROVIDERS.items())
        ]
        instructions = ", ".join(document["instructions"]) or "none"
        section.blocks += [
            f"### `{preset}`",
            table(["", "median (range)", "time of this row / the first"], rows),
            f"Instructions for bfloat16 and 8 bits: {instructions}.",
            circumstances(document),
        ]
    return section if found else None


_CPU_PROVIDERS = {
    "onnxruntime_fp32": "ONNX Runtime, fp32",
    "onnxruntime_int8": "ONNX Runtime, int8",
    "openvino_fp32": "OpenVINO, fp32",
    "openvino_bf16": "OpenVINO, bf16",
    "openvino_int8": "OpenVINO, int8",
}


def variants_table(document: Document, words: Mapping[str, str]) -> str:
    """Format one row per variant, with the time of the last variant relative to it."""
    times = {
        variant: document["times"][variant] for variant in words if variant in document["times"]
    }
    last = [*times][-1]
    return table(
        ["", "median (range)", "time of the last row / this row"],
        [
            [words[variant], timing(time), "" if variant == last else over(times[last], time)]
            for variant, time in times.items()
        ],
    )
