"""Multiply-adds and bytes of single nodes, against textbook formulas."""

from __future__ import annotations

import pytest

from dsunet_runtime.artifact.shapes import Shape
from dsunet_runtime.bench.roofline.node_cost import Node, NodeTensor


def node(operator: str, inputs: list[Shape], output: Shape, dtype: str = "float") -> Node:
    return Node(
        operator, [NodeTensor(dtype, shape) for shape in inputs], [NodeTensor(dtype, output)]
    )


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "macs"),
    [
        ("MatMul", [(5, 7), (7, 3)], (5, 3), 5 * 7 * 3),
        # Many rows, one matrix; and one that ONNX Runtime has put away.
        ("MatMul", [(2, 4, 5, 7), (7, 3)], (2, 4, 5, 3), 2 * 4 * 5 * 7 * 3),
        ("MatMul", [(2, 4, 5, 7)], (2, 4, 5, 3), 2 * 4 * 5 * 7 * 3),
        # Attention: a matmul for each image and head.
        ("MatMul", [(2, 4, 5, 7), (2, 4, 7, 3)], (2, 4, 5, 3), 2 * 4 * 5 * 7 * 3),
        # The first matrix serves all images, or all heads.
        ("MatMul", [(5, 7), (2, 4, 7, 3)], (2, 4, 5, 3), 2 * 4 * 5 * 7 * 3),
        ("MatMul", [(1, 4, 5, 7), (2, 4, 7, 3)], (2, 4, 5, 3), 2 * 4 * 5 * 7 * 3),
        ("MatMul", [(2, 5, 7), (7,)], (2, 5), 2 * 5 * 7),
        # Transposed on the way, either or both.
        ("FusedMatMul", [(2, 7, 5), (2, 7, 3)], (2, 5, 3), 2 * 5 * 7 * 3),
        ("FusedMatMul", [(2, 7, 5), (2, 3, 7)], (2, 5, 3), 2 * 5 * 7 * 3),
        ("FusedMatMul", [(2, 7, 5)], (2, 5, 3), 2 * 5 * 7 * 3),
        ("Gemm", [(5, 7), (3, 7), (3,)], (5, 3), 5 * 7 * 3),
        ("FusedGemm", [(5, 7), (3,)], (5, 3), 5 * 7 * 3),
        # Scales and zero points are not multiplied by each other.
        ("DynamicQuantizeMatMul", [(2, 5, 7), (7, 3), (3,), (3,)], (2, 5, 3), 2 * 5 * 7 * 3),
        ("QLinearMatMul", [(5, 7), (), (), (7, 3), (), ()], (5, 3), 5 * 7 * 3),
        # 3×3 on 10×10, plain, in groups, depthwise, with a bias and with something to add.
        ("Conv", [(1, 8, 12, 12), (16, 8, 3, 3), (16,)], (1, 16, 10, 10), 100 * 16 * 8 * 9),
        ("Conv", [(2, 8, 12, 12), (16, 2, 3, 3)], (2, 16, 10, 10), 2 * 100 * 16 * 2 * 9),
        ("Conv", [(1, 8, 12, 12), (8, 1, 3, 3)], (1, 8, 10, 10), 100 * 8 * 9),
        ("FusedConv", [(1, 8, 1, 1), (4, 8, 1, 1), (4,), (1, 4, 1, 1)], (1, 4, 1, 1), 32),
        ("QLinearConv", [(1, 8, 3, 3), (), (), (4, 8, 3, 3), ()], (1, 4, 1, 1), 4 * 8 * 9),
        ("QLinearConv", [(1, 8, 3, 3), (), (), ()], (1, 4, 1, 1), None),
        # Each value of 5×5 contributes to 2×2.
        ("ConvTranspose", [(1, 8, 5, 5), (8, 3, 2, 2)], (1, 3, 10, 10), 25 * 8 * 3 * 4),
        ("Add", [(5, 7), (5, 7)], (5, 7), 0),
    ],
)
def test_multiply_adds(operator: str, inputs: list[Shape], output: Shape, macs: int | None) -> None:
    assert node(operator, inputs, output).macs == macs


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "moved"),
    [
        ("Add", [(5, 7), (7,)], (5, 7), 4 * (35 + 7 + 35)),
        ("MatMul", [(5, 7), (7, 3)], (5, 3), 4 * (35 + 21 + 15)),
        ("MatMul", [(5, 7)], (5, 3), 4 * (35 + 21 + 15)),
        ("DynamicQuantizeMatMul", [(5, 7), (3,)], (5, 3), 4 * (35 + 3 + 15) + 21),
        ("Reshape", [(5, 7), (1,)], (35,), 0),
        ("Slice", [(500, 7), (1,)], (5, 7), 4 * 2 * 35),
    ],
)
def test_bytes(operator: str, inputs: list[Shape], output: Shape, moved: int) -> None:
    assert node(operator, inputs, output).bytes == moved


def test_bytes_of_types() -> None:
    sizes = {"bool": 1, "uint8": 1, "float16": 2, "bfloat16": 2, "float": 4, "int64": 8}
    assert {dtype: NodeTensor(dtype, (3,)).bytes // 3 for dtype in sizes} == sizes
    assert NodeTensor("string", (3,)).bytes == 0
