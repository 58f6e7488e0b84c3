"""Products of the same activation become one, which quantises what it reads once.

ONNX Runtime computes in integers only a product that alone reads a quantised tensor, so that query,
key and value would stay in float32; and one product of three times the width is faster than three.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import onnx_ir as ir

from dsunet_export.precision.narrowing import array_of
from dsunet_export.quantization.products import Product


def merge(graph: ir.Graph, products: Sequence[Product]) -> list[Product]:
    """Merge in place; gives all products that there are now, in the graph's order."""
    readers: dict[ir.Value, list[Product]] = {}
    for product in products:
        readers.setdefault(product.activation, []).append(product)
    return [group[0] if len(group) == 1 else _merged(graph, group) for group in readers.values()]


def _merged(graph: ir.Graph, group: Sequence[Product]) -> Product:
    """One product with the weights side by side, its result split among their readers."""
    path = f"{_common_module([product.name for product in group])}.projections"
    weights = [array_of(product.weight) for product in group]
    weight = ir.val(f"{path}.weight", const_value=ir.tensor(np.concatenate(weights, axis=1)))
    widths = np.array([array.shape[1] for array in weights], np.int64)
    split = ir.val(f"{path}.widths", const_value=ir.tensor(widths))
    graph.register_initializer(weight)
    graph.register_initializer(split)

    activation = group[0].activation
    product = ir.node("MatMul", [activation, weight], name=f"{path}/MatMul")
    product.outputs[0].name = f"{path}/MatMul"
    parts = ir.node(
        "Split",
        [product.outputs[0], split],
        {"axis": -1},
        num_outputs=len(group),
        name=f"{path}/Split",
    )
    graph.insert_before(group[0].node, [product, parts])
    for old, part in zip(group, parts.outputs, strict=True):
        result = old.node.outputs[0]
        part.name = f"{result.name}.part"
        result.replace_all_uses_with(part)
        graph.remove(old.node, safe=True)
        if not old.weight.uses():
            del graph.initializers[str(old.weight.name)]
    return Product(product, activation, weight)


def _common_module(names: Sequence[str]) -> str:
    """Of nodes' names: the module that holds all of theirs."""
    paths = [name.rpartition("/")[0].split(".") for name in names]
    same = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return ".".join(parts[0] for parts in same)
