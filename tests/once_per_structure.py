"""Networks of one structure share what an export computes from the structure alone.

That is PyTorch's trace, which takes most of an export's time, and the numbers of multiply-adds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from torch import Tensor, nn

import dsunet_export.graph.trace
import dsunet_export.onnx
from dsunet import DSUNet
from dsunet_export.graph.trace import capture
from dsunet_export.macs import count_macs
from tests.made_once import made_once


@pytest.fixture(scope="session", autouse=True)
def once_per_structure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let exports take PyTorch's graph, and multiply-adds, from the first of their structure.

    The graph gets the weights of the network that is exported.  `test_once_per_structure.py`
    compares the result with a trace of its own.
    """
    counts: dict[str, int] = {}

    def captured(module: nn.Module, inputs: dict[str, Tensor], *arguments: Any) -> ir.Model:
        if not isinstance(getattr(module, "model", None), DSUNet):
            return capture(module, inputs, *arguments)

        def make(folder: Path) -> None:
            ir.save(capture(module, inputs, *arguments), folder / "graph.onnx")

        name = f"trace-{structure(module, shapes(inputs), *arguments)}"
        graph = ir.load(made_once(tmp_path_factory, name, make) / "graph.onnx")
        fill(graph, module)
        return graph

    def counted(model: DSUNet) -> int:
        key = structure(model)
        if key not in counts:
            counts[key] = count_macs(model)
        return counts[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dsunet_export.graph.trace, "capture", captured)
        patch.setattr(dsunet_export.onnx, "count_macs", counted)
        yield


def structure(module: nn.Module, *arguments: object) -> str:
    """Return a hash of a module but for the values of its weights, and of other arguments."""
    parts = [(name, type(part), settings(part)) for name, part in module.named_modules()]
    described = (parts, shapes(tensors_of(module)), arguments)
    return hashlib.sha256(repr(described).encode()).hexdigest()


def settings(module: nn.Module) -> dict[str, object]:
    """Return a module's attributes besides its tensors and parts; functions by their names."""
    return {
        name: getattr(value, "__qualname__", value)
        for name, value in vars(module).items()
        if not name.startswith("_") or callable(value)
    }


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[object, ...]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def fill(graph: ir.Model, module: nn.Module) -> None:
    """Give a graph the parameters and buffers of a module."""
    tensors = tensors_of(module)
    for name, value in graph.graph.initializers.items():
        value.const_value = ir.tensor(tensors[name].detach(), name=name)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
