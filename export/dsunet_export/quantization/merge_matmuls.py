"""Merge matmuls that share an activation, so that it is quantised once.

ONNX Runtime computes a matmul in integers only if no other node reads the quantised activation;
query, key and value projections would stay in float32.  One matmul of three times the width is also
faster than three.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import onnx_ir as ir

from dsunet_export.graph.values import array_of
from dsunet_export.quantization.matmuls import WeightMatmul

_PART = ".part"


def is_part(value: ir.Value) -> bool:
    """Return whether a value is the result of one of the matmuls that were merged."""
    return str(value.name).endswith(_PART)


def unmerged_name(value: ir.Value) -> str:
    """Return the name that a value had before `merge_matmuls`; its own if nothing was merged."""
    return str(value.name).removesuffix(_PART)


def merge_matmuls(graph: ir.Graph, matmuls: Sequence[WeightMatmul]) -> list[WeightMatmul]:
    """Merge in place and return the remaining matmuls in graph order."""
    readers: dict[ir.Value, list[WeightMatmul]] = {}
    for matmul in matmuls:
        readers.setdefault(matmul.activation, []).append(matmul)
    return [group[0] if len(group) == 1 else _merged(graph, group) for group in readers.values()]


def _merged(graph: ir.Graph, group: Sequence[WeightMatmul]) -> WeightMatmul:
    """Replace a group by one matmul with concatenated weights and a Split."""
    path = f"{_common_module([matmul.name for matmul in group])}.projections"
    weights = [array_of(matmul.weight) for matmul in group]
    weight = ir.val(f"{path}.weight", const_value=ir.tensor(np.concatenate(weights, axis=1)))
    widths = np.array([array.shape[1] for array in weights], np.int64)
    split = ir.val(f"{path}.widths", const_value=ir.tensor(widths))
    graph.register_initializer(weight)
    graph.register_initializer(split)

    activation = group[0].activation
    matmul = ir.node("MatMul", [activation, weight], name=f"{path}/MatMul")
    matmul.outputs[0].name = f"{path}/MatMul"
    parts = ir.node(
        "Split",
        [matmul.outputs[0], split],
        {"axis": -1},
        num_outputs=len(group),
        name=f"{path}/Split",
    )
    graph.insert_before(group[0].node, [matmul, parts])
    for old, part in zip(group, parts.outputs, strict=True):
        result = old.node.outputs[0]
        part.name = f"{result.name}{_PART}"
        result.replace_all_uses_with(part)
        graph.remove(old.node, safe=True)
        if not old.weight.uses():
            del graph.initializers[str(old.weight.name)]
    return WeightMatmul(matmul, activation, weight)


def _common_module(names: Sequence[str]) -> str:
    """Return the innermost module that contains all named nodes."""
    paths = [name.rpartition("/")[0].split(".") for name in names]
    same = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return ".".join(parts[0] for parts in same)
