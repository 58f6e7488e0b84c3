"""What exports of the tests share."""

from __future__ import annotations

import onnx_ir as ir
import pytest

import dsunet_export.graph.trace
from dsunet import DSUNet, random_model
from dsunet_export.graph.forms import FramesGraph
from dsunet_export.graph.trace import capture
from dsunet_export.macs import count_macs
from dsunet_export.onnx import apply_rewrites, trace_model
from dsunet_export.options import ExportOptions
from dsunet_runtime.artifact.manifest import MaskForm
from tests.export.helpers import SMALL_UNET
from tests.once_per_structure import structure


def deployed(seed: int) -> DSUNet:
    model = random_model(SMALL_UNET, seed).eval()
    apply_rewrites(model, count_macs(model))
    return model


def as_bytes(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def test_other_weights_in_a_shared_trace_give_the_graph_of_their_own_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ExportOptions()
    first, second = deployed(0), deployed(1)
    of_first, of_second = trace_model(first, options), trace_model(second, options)
    monkeypatch.setattr(dsunet_export.graph.trace, "capture", capture)
    assert as_bytes(of_second) == as_bytes(trace_model(second, options))
    assert as_bytes(of_second) != as_bytes(of_first)


class TestStructure:
    def test_weights_do_not_count(self) -> None:
        assert structure(random_model(SMALL_UNET, 0)) == structure(random_model(SMALL_UNET, 1))

    @pytest.mark.parametrize("part", ["module", "setting", "form", "argument"])
    def test_all_else_does(self, part: str) -> None:
        model, other = random_model(SMALL_UNET), random_model(SMALL_UNET)
        if part == "module":
            del other.decoder[-1]
        if part == "setting":
            other.hiera.trunk.blocks[0].window_size += 1
        form = MaskForm.STRETCHED if part == "form" else MaskForm.PROBABILITY
        opset = 19 if part == "argument" else 20
        changed = structure(FramesGraph(other, form), "mask", opset)
        assert structure(FramesGraph(model, MaskForm.PROBABILITY), "mask", 20) != changed
