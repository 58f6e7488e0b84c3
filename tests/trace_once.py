"""Exports of one network in one form share its trace, which takes most of their time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
import pytest

import dsunet_export.onnx
from dsunet import DSUNet
from dsunet_export.onnx import trace_model
from dsunet_export.options import ExportOptions
from tests.made_once import made_once


@pytest.fixture(scope="session", autouse=True)
def trace_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let `export_onnx` read the graph of the first export, of any worker, with these weights."""

    def traced(model: DSUNet, options: ExportOptions) -> ir.Model:
        def make(folder: Path) -> None:
            ir.save(trace_model(model, options), folder / "graph.onnx")

        folder = made_once(tmp_path_factory, f"trace-{key(model, options)}", make)
        return ir.load(folder / "graph.onnx")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dsunet_export.onnx, "trace_model", traced)
        yield


def key(model: DSUNet, options: ExportOptions) -> str:
    """Of all that a trace depends on: modules, weights, and the options of the graph's form."""
    form = (options.input_form, options.mask_form, options.batch, options.size, options.opset)
    found = hashlib.sha256(repr((form, model.config, model)).encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found.update(name.encode())
        found.update(tensor.detach().numpy().tobytes())
    return found.hexdigest()
