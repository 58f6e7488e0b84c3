"""Latency of one image on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sections import plots
from sections.section import Results, Section, preset_section
from sections.tables import Document, digits, duration, over, table, timing


def latency(results: Results) -> Section | None:
    return preset_section(
        results,
        "latency_cpu",
        "Latency of one image on a CPU",
        "`latency.py`: `tensors` form, batch 1, float32, randomly initialised weights, "
        "interleaved.",
        _latency,
        plot=("latency_cpu.svg", lambda found: plots.rounds(found, _LATENCY_VARIANTS)),
    )


def _latency(document: Document) -> Iterator[str]:
    yield variants_table(document, _LATENCY_VARIANTS)
    if document.get("compile_s"):
        yield (
            f"The first call with `torch.compile`, which compiles, takes "
            f"{duration(document['compile_s'])}."
        )
    plain, ours = (document["macs"][f"onnxruntime_{variant}"] for variant in ("bare", "rewritten"))
    yield (
        f"Multiply-adds: {digits(plain / 1e9)} G in the bare export, {digits(ours / 1e9)} G "
        "with `dsunet-export onnx`."
    )


_LATENCY_VARIANTS = {
    "pytorch_eager": "PyTorch eager",
    "pytorch_compiled": "`torch.compile`",
    "onnxruntime_bare": "ONNX Runtime, a bare `torch.onnx.export`",
    "onnxruntime_rewritten": "ONNX Runtime, `dsunet-export onnx`",
}


def quantised(results: Results) -> Section | None:
    return preset_section(
        results,
        "quantised",
        "INT8 on a CPU",
        "`quantised.py`: `tensors` form, batch 1, randomly initialised weights, interleaved.",
        _quantised,
    )


def _quantised(document: Document) -> Iterator[str]:
    sizes = {name: f"{size / 1e9:,.2f} GB" for name, size in document["bytes"].items()}
    yield variants_table(document, _QUANTISED_VARIANTS, sizes=sizes)


_QUANTISED_VARIANTS = {
    "fp32": "`dsunet-export onnx`",
    "dynamic": "`quantize_dynamic` of a bare `torch.onnx.export`",
    "int8": "`dsunet-export onnx --precision int8`",
}


def cpu_providers(results: Results) -> Section | None:
    return preset_section(
        results,
        "cpu_providers",
        "ONNX Runtime and OpenVINO on a CPU",
        "`cpu_providers.py`: `tensors` form, batch 1, randomly initialised weights, interleaved.",
        _cpu_providers,
    )


def _cpu_providers(document: Document) -> Iterator[str]:
    yield variants_table(document, _CPU_PROVIDERS, over_first=True)
    instructions = ", ".join(document["instructions"]) or "none"
    yield f"Instructions for bfloat16 and 8 bits: {instructions}."


_CPU_PROVIDERS = {
    "onnxruntime_fp32": "ONNX Runtime, fp32",
    "onnxruntime_int8": "ONNX Runtime, int8",
    "openvino_fp32": "OpenVINO, fp32",
    "openvino_bf16": "OpenVINO, bf16",
    "openvino_int8": "OpenVINO, int8",
}


def variants_table(
    document: Document,
    words: Mapping[str, str],
    *,
    over_first: bool = False,
    sizes: Mapping[str, str] | None = None,
) -> str:
    """Format one row per variant that was measured, with a ratio of times.

    Args:
        document: A result file with `times` by variant.
        words: Labels of the variants, in the order of the rows.
        over_first: Divide the time of each row by that of the first, instead of the time of the
            last row by that of each.
        sizes: Texts of a column before the times, by variant.
    """
    times = {
        variant: document["times"][variant] for variant in words if variant in document["times"]
    }
    base = [*times][0 if over_first else -1]
    rows = []
    for variant, time in times.items():
        pair = (time, times[base]) if over_first else (times[base], time)
        size = [sizes[variant]] if sizes else []
        faster = "" if variant == base else over(*pair)
        rows.append([words[variant], *size, timing(time), faster])
    ratio = "time of this row / the first" if over_first else "time of the last row / this row"
    return table(["", *(["size"] if sizes else []), "median (range)", ratio], rows)
