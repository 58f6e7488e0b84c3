from __future__ import annotations

import pytest

from dsunet_runtime.bench.roofline.branches import Assignment, Branch, assign_branches, branch_of
from dsunet_runtime.bench.roofline.layer_profile import ProfiledLayer


@pytest.mark.parametrize(
    ("node", "branch"),
    [
        ("preprocess/MatMul_1/MatmulTransposeFusion//MatMulScaleFusion/", Branch.PREPROCESSING),
        ("hiera.trunk.blocks.2.attn.project.key/MatMul", Branch.HIERA),
        ("hiera.adapters.0/Add", Branch.HIERA),
        ("hiera/Transpose", Branch.HIERA),
        ("dino.vit.patch_embed.proj/Conv_nchwc", Branch.DINO),
        ("inject.3.wavelet.depthwise/ConvTranspose", Branch.FUSION),
        ("inject.3.cga/Add_1", Branch.FUSION),
        ("rfb.0.branches.1.2.0/Conv_nchwc", Branch.DECODER),
        ("sff.2/Softmax", Branch.DECODER),
        ("heads.2/Conv", Branch.DECODER),
        ("postprocess/Resize", Branch.POSTPROCESSING),
        ("InsertedPrecisionFreeCast_dino.vit.blocks.0.attn/Transpose_1", Branch.DINO),
        ("BiasGelu_token_4", None),
        ("hieratic/Add", None),
        ("", None),
    ],
)
def test_names(node: str, branch: Branch | None) -> None:
    assert branch_of(node) is branch


def layer(*nodes: str) -> ProfiledLayer:
    return ProfiledLayer(nodes, 1.0, 0, 0)


def test_layers_without_a_name_belong_with_the_one_before() -> None:
    layers = [layer("Shape_2"), layer("hiera/Add"), layer("BiasGelu"), layer("dino/Add"), layer()]
    assert assign_branches(layers) == [
        Assignment(Branch.HIERA, False),
        Assignment(Branch.HIERA, True),
        Assignment(Branch.HIERA, False),
        Assignment(Branch.DINO, True),
        Assignment(Branch.DINO, False),
    ]


def test_a_kernel_of_several_nodes_belongs_with_most_of_them() -> None:
    (place,) = assign_branches([layer("hiera/Add", "rfb.0/Add", "Cast_7", "rfb.0/Relu")])
    assert place == Assignment(Branch.DECODER, True)


def test_where_nothing_has_a_name() -> None:
    assert assign_branches([layer("MatMul"), layer()]) == [Assignment(Branch.OTHER, False)] * 2
