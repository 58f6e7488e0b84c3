"""Values too large for float16 are found on images, kept in float32, and reported."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray

import dsunet_export.precision.convert_graph as reduction
import dsunet_runtime
from dsunet import DSUNetConfig, random_model
from dsunet_export.errors import ExportError, VerificationError
from dsunet_export.precision.magnitudes import measure_magnitudes
from dsunet_export.precision.rules import rules_for
from dsunet_export.precision.tensor_statistics import TensorStatistics, check_finite
from dsunet_export.probes import GraphInputs, Probe, make_probes
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import InputForm
from tests.export.graphs import graph
from tests.export.helpers import convert, save_changed

NANO = DSUNetConfig.preset("nano")


class TestMagnitudes:
    INPUTS = GraphInputs(InputForm.TENSORS, {"x": 4})

    def measured(self, model: ir.Model, folder: Path, *images: int) -> dict[str, Any]:
        """The magnitude of each node's output, and what it was found on."""
        probes = [Probe(str(k), np.full((4, 4, 3), k, np.uint8)) for k in images]
        outputs = [node.outputs[0] for node in model.graph]
        before = ir.to_proto(model)
        magnitudes, logits = measure_magnitudes(model, outputs, probes, self.INPUTS, folder)
        assert ir.to_proto(model) == before
        assert list(folder.iterdir()) == []
        assert len(logits) == len(images)
        found = {}
        for value in outputs:
            peaks = magnitudes.peaks(value)
            found[str(value.name)] = [
                (p.tensor, p.images, pytest.approx(p.magnitude, rel=1e-6)) for p in peaks
            ]
        return found

    def test_of_either_sign_and_on_which_image(self, tmp_path: Path) -> None:
        lines = [("a", "Mul", ["x", "w"], {}), ("b", "Abs", ["a"], {})]
        model = graph(lines, {"w": np.float32([-100])}, shape=(1, 3, 4, 4))
        # Normalised, white is 2.64 in blue, and black is -2.1179 in red.
        found = self.measured(model, tmp_path, 0, 128, 255)
        assert found == {"a": [("a", "255", 264.0)], "b": [("b", "255", 264.0)]}
        found = self.measured(model, tmp_path, 128, 0)
        assert found["b"] == [("b", "0", 100 * 0.485 / 0.229)]

    def test_nodes_that_move_values_are_not_measured_again(self, tmp_path: Path) -> None:
        lines = [
            ("a", "Exp", ["x"], {}),
            ("b", "Relu", ["a"], {}),
            ("c", "Concat", ["b", "w"], {"axis": 3}),
        ]
        weight = np.full((1, 3, 4, 1), -7, np.float32)
        model = graph(lines, {"w": weight}, shape=(1, 3, 4, 4))
        found = self.measured(model, tmp_path, 255)
        largest = float(np.exp((1 - 0.406) / 0.225))
        assert found["b"] == found["a"] == [("a", "255", largest)]
        assert sorted(found["c"], key=str) == [("a", "255", largest), ("w", "weights", 7.0)]

    @pytest.mark.parametrize(
        ("op_type", "weight", "image"),
        [("Pow", 0.5, 128), ("Div", 0.0, 0), ("Mul", 3e38, 255)],
        ids=["NaN", "infinity", "beyond float32"],
    )
    def test_what_is_not_finite_is_named(
        self, op_type: str, weight: float, image: int, tmp_path: Path
    ) -> None:
        """The first in the graph, also where only some of its values are NaN."""
        scale = np.float32([1, -1, 1]).reshape(1, 3, 1, 1)
        lines = [
            ("first", "Mul", ["x", "scale"], {}),
            ("second", op_type, ["first", "w"], {}),
            ("third", "Relu", ["second"], {}),
            ("last", "Exp", ["third"], {}),
        ]
        model = graph(lines, {"scale": scale, "w": np.float32(weight)}, shape=(1, 3, 4, 4))
        # Normalised, grey 128 is negative in no channel but where the factor is.
        with pytest.raises(ExportError, match=rf"^second is not finite on {image}, in float32:"):
            self.measured(model, tmp_path, image)

    @pytest.mark.parametrize("number", [math.nan, -math.inf])
    def test_the_image_on_which_it_is_not_finite_is_named(self, number: float) -> None:
        images = ["a.png", "b.png", "c.png"]
        logits = [np.zeros((2, 2), np.float32) for _ in images]
        tensors = {
            "first": {"ReduceMax": [1.0, 2.0, number], "ReduceSum": [1.0, 2.0, 3.0]},
            "second": {"ReduceMax": [1.0, 2.0, 3.0], "ReduceSum": [1.0, number, 3.0]},
        }
        with pytest.raises(ExportError, match=r"^second is not finite on b\.png, .* that image;"):
            check_finite(TensorStatistics(images, tensors, logits))
        logits[0][1, 0] = number
        with pytest.raises(ExportError, match=r"^the logits are not finite on a\.png, "):
            check_finite(TensorStatistics(images, tensors, logits))

    def test_a_weight_that_is_no_number_is_named(self, tmp_path: Path) -> None:
        weight = np.full((1, 3, 4, 4), 1, np.float32)
        weight[0, 1, 2, 3] = np.nan
        model = graph([("y", "Max", ["x", "w"], {})], {"w": weight}, shape=(1, 3, 4, 4))
        magnitudes, _ = measure_magnitudes(model, [], [], self.INPUTS, tmp_path)
        with pytest.raises(ExportError, match="the weight w contains NaN"):
            magnitudes.peaks(model.graph.initializers["w"])

    def test_like_hooks_in_pytorch(self, traced: ir.Model, tmp_path: Path) -> None:
        model = random_model(NANO)
        places = {
            "rfb.0.merge.0/Conv": model.rfb[0].merge,
            "dino.vit.blocks.1.mlp.act/Gelu": model.dino.vit.blocks[1].mlp.act,
            "hiera.adapters.4/Add": model.hiera.adapters[4],
        }
        largest: dict[str, float] = {}
        for name, module in places.items():
            module.register_forward_hook(
                lambda m, i, output, name=name: largest.update(
                    {name: max(largest.get(name, 0), output.abs().max().item())}
                )
            )
        probes = make_probes((40, 50))
        tensors = GraphInputs(InputForm.TENSORS, NANO.input_sizes)
        with torch.inference_mode():
            for probe in probes:
                model(**{k: torch.from_numpy(v) for k, v in tensors.prepare(probe).items()})
        reduction.infer_types(traced)
        values = [node.outputs[0] for node in traced.graph if node.name in places]
        inputs = GraphInputs(InputForm.FRAMES, NANO.input_sizes)
        magnitudes, _ = measure_magnitudes(traced, values, probes, inputs, tmp_path)
        for value in values:
            (peak,) = magnitudes.peaks(value)
            assert peak.magnitude == pytest.approx(largest[str(value.name)], rel=1e-4)
        assert len(values) == 3


@pytest.fixture
def loud(frames: Path, tmp_path: Path) -> Path:
    """`frames` with the same masks, but one tensor that goes to millions on its way to them."""
    model = ir.load(frames)
    branch = "rfb.0.branches.1"
    for name, factor in (("0.0.weight", 2**22), ("0.0.bias", 2**22), ("1.0.weight", 2**-22)):
        value = model.graph.initializers[f"{branch}.{name}"]
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(factor))
    return save_changed(model, frames, tmp_path / "loud.onnx")


class TestOverflow:
    CONVOLUTIONS = ("rfb.0.branches.1.0.0/Conv", "rfb.0.branches.1.1.0/Conv")

    def test_is_kept_in_float32(
        self, loud: Path, frames: Path, tmp_path: Path, photo: NDArray[np.uint8]
    ) -> None:
        manifest = convert(loud, tmp_path / "half.onnx")
        reasons = {k.pattern: k.reason for k in manifest.precision.kept_in_float32}
        for name in self.CONVOLUTIONS:
            assert reasons[name].startswith(f"{self.CONVOLUTIONS[0]} reaches ")
            assert "less than ×4 headroom below the float16 maximum (65504)" in reasons[name]
        assert len(reasons) == len(rules_for(Compute.FP16)) + len(self.CONVOLUTIONS)
        written = ir.load(tmp_path / "half.onnx").graph
        kept = {n.name: n for n in written if n.name in self.CONVOLUTIONS}
        for name, node in kept.items():
            assert [v.dtype for v in node.inputs[1:]] == [ir.DataType.FLOAT] * 2, name
        assert all(4 * peak.magnitude <= 65504 for peak in manifest.precision.peaks)
        with (
            dsunet_runtime.load(frames) as before,
            dsunet_runtime.load(tmp_path / "half.onnx") as after,
        ):
            errors = np.abs(before(photo).astype(int) - after(photo))
        # float16 of `nano` was found 0.16 levels off on average.
        assert errors.mean() < 0.5

    @pytest.mark.filterwarnings("ignore:overflow encountered in cast")
    def test_would_be_an_error_if_it_were_not_kept(
        self, loud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And ONNX Runtime, which would not round in between, does not hide it."""
        monkeypatch.setattr(reduction, "_keep_what_overflows", lambda *arguments: None)
        output = tmp_path / "half.onnx"
        with pytest.raises(VerificationError, match=r"not finite on random .*--precision bf16"):
            convert(loud, output)
        assert list(tmp_path.iterdir()) == [loud]
