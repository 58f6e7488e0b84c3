"""Cost of exports and engine builds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sections.section import Results, Section, preset_section
from sections.tables import Document, digits, relative, table, timing


def export_cost(results: Results) -> Section | None:
    return preset_section(
        results,
        "export_cost",
        "Export",
        "`export_cost.py`: from a model in memory to files, each run in a new process, "
        "interleaved. The bare `torch.onnx.export` of the original model is not verified.",
        _export_cost,
    )


def _export_cost(document: Document) -> Iterator[str]:
    bare, ours = document["variants"]["bare"], document["variants"]["ours"]
    steps = {name: time for name, time in ours["steps"].items() if name != "total"}
    yield table(
        ["", "median (range)", "peak memory"],
        [
            [
                "bare `torch.onnx.export`",
                timing(bare["steps"]["total"]),
                f"{digits(bare['peak_gb'])} GB",
            ],
            [
                "`dsunet-export onnx`, verified",
                timing(ours["steps"]["total"]),
                f"{digits(ours['peak_gb'])} GB",
            ],
            *([f"step: {name}", timing(time), ""] for name, time in steps.items()),
            ["time of `dsunet-export onnx` / bare", relative(document["ours_over_bare"]), ""],
        ],
    )


def engine_build(results: Results) -> Section | None:
    return preset_section(
        results,
        "engine_build",
        "Engine builds",
        "`engine_build.py`: TensorRT for RTX, FP16, `tensors` form, batch 1, built without a "
        "GPU by the same code, each in a new process, interleaved. Plain is a "
        "`torch.onnx.export` of `model.half()`.",
        _engine_build,
        heading_of=lambda document: f", {document['capability']}",
    )


def _engine_build(document: Document) -> Iterator[str]:
    plain, ours = document["variants"]["plain"], document["variants"]["ours"]
    yield table(
        ["", "plain", "`dsunet-export`"],
        [
            *(
                [words, show(plain[name]), show(ours[name])]
                for name, (words, show) in _ENGINE_ROWS.items()
            ),
            [
                "build time of `dsunet-export` / plain",
                "",
                relative(document["build_ours_over_plain"]),
            ],
        ],
    )


def _megabytes(value: float) -> str:
    return f"{digits(value)} MB"


_ENGINE_ROWS: dict[str, tuple[str, Callable[..., str]]] = {
    "activation_mb": ("activation memory", _megabytes),
    "weights_mb": ("weights", _megabytes),
    "engine_mb": ("engine file", _megabytes),
    "layers": ("layers of the parsed network", "{:,}".format),
    "generated_kernels": ("distinct generated kernels", str),
    "of_them_fused_attention": ("fused attention kernels among them", str),
    "build_s": ("build time", timing),
    "peak_host_mb": ("peak host memory", _megabytes),
}
