"""Which matrix products of a graph are for 8-bit integers."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import onnx_ir as ir

PATTERNS = ("hiera.trunk.*/MatMul*", "dino.*/MatMul*")
"""The frozen encoders' own.  Adapters are left out: they hold what was trained, and a hundredth of
the multiply-adds."""


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product of what is computed with a weight."""

    node: ir.Node
    activation: ir.Value
    weight: ir.Value

    @property
    def name(self) -> str:
        """The node's."""
        return str(self.node.name)


def find_products(graph: ir.Graph) -> list[Product]:
    """The products of both encoders that have a weight, in the graph's order.

    Products of two activations, as in attention, stay as they are: ONNX Runtime gains nothing from
    them in integers on a CPU, and TensorRT fuses them with their softmax (docs/LOG.md).
    """
    found = []
    for node in graph:
        if not any(fnmatchcase(str(node.name), pattern) for pattern in PATTERNS):
            continue
        activation, weight = node.inputs
        if activation is not None and weight is not None and weight.is_initializer():
            found.append(Product(node, activation, weight))
    return found
