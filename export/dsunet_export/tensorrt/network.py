"""The ONNX graph as TensorRT reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsunet_export.errors import ExportError
from dsunet_runtime.message_text import printable

# What a parser's error says when it has nothing to say.
_SILENT = ("", "false")


def parse_graph(trt: Any, network: Any, logger: Any, graph: Path, source: Path) -> Any:
    """Read an ONNX file, and the weights beside it, into an empty network.

    Gives the parser, which holds the weights: keep it as long as the network.  Raises ExportError
    with the node that TensorRT cannot read; `source` is what it calls the file.
    """
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise ExportError(f"{source}: {_reason(parser)}")
    return parser


def layers_of(network: Any) -> list[Any]:
    """The network's layers in order; named after the graph's nodes."""
    return [network.get_layer(index) for index in range(network.num_layers)]


def _reason(parser: Any) -> str:
    if not parser.num_errors:
        return "TensorRT cannot read it, and does not say why: -v prints its log"
    error = parser.get_error(0)
    kind = error.code().name.replace("_", " ").lower()
    said = printable(error.desc())
    reason = kind if said in _SILENT else f"{kind}: {said}"
    if not error.node_operator():
        return f"TensorRT cannot read it ({reason}): export it again"
    operator = printable(error.node_operator(), 80)
    name = printable(error.node_name(), 80) or f"number {error.node()}, which has no name"
    return (
        f"TensorRT cannot read {operator} node {name} ({reason}): export it with another --opset, "
        f"or install a newer TensorRT"
    )
