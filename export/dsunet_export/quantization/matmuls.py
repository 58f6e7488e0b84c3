"""Find the matrix multiplications of a graph that can be quantised."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import onnx_ir as ir

from dsunet_export.graph.names import FROZEN

PATTERNS = tuple(f"{module}.*/MatMul*" for module in FROZEN)
"""Node names of the frozen encoders.  Adapters are excluded: they are trained, and have 1 % of the
multiply-adds."""


@dataclass(frozen=True, slots=True)
class WeightMatmul:
    """A matrix multiplication of an activation with a weight."""

    node: ir.Node
    activation: ir.Value
    weight: ir.Value

    @property
    def name(self) -> str:
        """Name of the node, `module.path/MatMul`."""
        return str(self.node.name)


def find_matmuls(graph: ir.Graph) -> list[WeightMatmul]:
    """Return the encoders' matmuls that have a weight, in graph order.

    Matmuls of two activations, as in attention, are excluded: ONNX Runtime gains nothing from
    integers there on a CPU, and TensorRT fuses them with the softmax (docs/LOG.md).
    """
    found = []
    for node in graph:
        if not any(fnmatchcase(str(node.name), pattern) for pattern in PATTERNS):
            continue
        activation, weight = node.inputs
        if activation is not None and weight is not None and weight.is_initializer():
            found.append(WeightMatmul(node, activation, weight))
    return found
