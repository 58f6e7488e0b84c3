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
            ways_table(document, _LATENCY_WAYS),
        ]
        if document.get("compile_s"):
            section.blocks.append(
                f"The first call with `torch.compile`, which compiles, takes "
                f"{duration(document['compile_s'])}."
            )
        plain, ours = (document["macs"][f"onnxruntime_{way}"] for way in ("bare", "rewritten"))
        section.blocks += [
            f"Multiply-adds: {digits(plain / 1e9)} G in the bare export, {digits(ours / 1e9)} G "
            "with `dsunet-export onnx`.",
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
        "INT8 on a CPU",
        ["`quantised.py`: `tensors` form, batch 1, randomly initialised weights, interleaved."],
    )
    for preset, document in found.items():
        rows = [
            [
                words,
                f"{document['bytes'][way] / 1e9:,.2f} GB",
                timing(document["times"][way]),
                relative(document["int8_over"][way]) if way != "int8" else "",
            ]
            for way, words in _QUANTISED_WAYS.items()
        ]
        section.blocks += [
            f"### `{preset}`",
            table(["", "size", "median (range)", "time of the last row / this row"], rows),
            circumstances(document),
        ]
    return section if found else None


_QUANTISED_WAYS = {
    "fp32": "`dsunet-export onnx`",
    "dynamic": "`quantize_dynamic` of a bare `torch.onnx.export`",
    "int8": "`dsunet-export onnx --precision int8`",
}


def ways_table(document: Document, words: Mapping[str, str]) -> str:
    """Format one row per variant, with the time of the last variant relative to it."""
    times = {way: document["times"][way] for way in words if way in document["times"]}
    last = [*times][-1]
    return table(
        ["", "median (range)", "time of the last row / this row"],
        [
            [words[way], timing(time), "" if way == last else over(times[last], time)]
            for way, time in times.items()
        ],
    )
