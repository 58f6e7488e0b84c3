"""Parse an ONNX graph with TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsunet_export.errors import ExportError
from dsunet_runtime.message_text import printable

# Descriptions of parser errors that contain no information.
_EMPTY_DESCRIPTIONS = ("", "false")


def parse_graph(trt: Any, network: Any, logger: Any, graph: Path, source: Path) -> Any:
    """Parse an ONNX file and its external weights into an empty network.

    Returns the parser, which holds the weights: keep it as long as the network.  Raises ExportError
    with the node that TensorRT cannot parse; `source` is the file to name in it.
    """
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise ExportError(f"{source}: {_reason(parser)}")
    return parser


def layers_of(network: Any) -> list[Any]:
    """Return the layers of a network in order; they have the names of the nodes of the graph."""
    return [network.get_layer(index) for index in range(network.num_layers)]


def _reason(parser: Any) -> str:
    if not parser.num_errors:
        return "TensorRT cannot parse it and reports no reason: -v prints its log"
    error = parser.get_error(0)
    code = error.code().name.replace("_", " ").lower()
    description = printable(error.desc())
    reason = code if description in _EMPTY_DESCRIPTIONS else f"{code}: {description}"
    if not error.node_operator():
        return f"TensorRT cannot parse it ({reason}): export it again"
    operator = printable(error.node_operator(), 80)
    name = printable(error.node_name(), 80) or f"number {error.node()}, without a name"
    return (
        f"TensorRT cannot parse {operator} node {name} ({reason}): export it with another --opset, "
        f"or install a newer TensorRT"
    )
