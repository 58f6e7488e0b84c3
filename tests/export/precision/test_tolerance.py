"""The tolerance of reduced precision, by image, weights and fault."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from dsunet_export import artifact
from dsunet_export.errors import VerificationError
from dsunet_export.verification.measures import logit_overlap
from tests.export.helpers import ROUNDED, convert, save_changed


class TestTolerance:
    """Weights of a checkpoint have a smaller tolerance than randomly initialised ones."""

    @pytest.fixture
    def shifted(self, frames: Path, tmp_path: Path) -> Path:
        """`frames`, which sees an object nearly nowhere, so that it sees one in many places."""
        model = ir.load(frames)
        bias = model.graph.initializers["heads.2.bias"]
        bias.const_value = ir.tensor(bias.const_value.numpy() + np.float32(1.8))
        return save_changed(model, frames, tmp_path / "shifted.onnx")

    @pytest.mark.parametrize(("random", "logits", "mask"), [(True, 0.2, 12.75), (False, 0.1, 2.55)])
    def test_of_each_image(
        self, shifted: Path, tmp_path: Path, random: bool, logits: float, mask: float
    ) -> None:
        """Random pixels, which show no object, have one tolerance for all weights."""
        manifest = convert(shifted, tmp_path / "x.onnx", weights_are_random=random)
        allowed = {
            (c.inputs.split()[0], c.output): c.mean_tolerance
            for c in manifest.verification
            if c.computed_by == ROUNDED
        }
        assert allowed == pytest.approx(
            {
                ("random", "logits"): 0.2, ("photograph", "logits"): logits,
                ("random", "mask"): 12.75, ("photograph", "mask"): mask,
            }
        )  # fmt: skip

    def test_a_fault_that_random_weights_could_hide(
        self, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All logits are off by 0.11, which is 0.18 and 0.15 of their standard deviation."""
        save = artifact.save

        def wrong(model: ir.Model, path: Path) -> None:
            bias = model.graph.initializers["heads.2.bias"]
            bias.const_value = ir.tensor(bias.const_value.numpy() + np.float16(0.11))
            save(model, path)

        monkeypatch.setattr(artifact, "save", wrong)
        convert(frames, tmp_path / "random.onnx")
        with pytest.raises(
            VerificationError,
            match=r"on photograph .*0\.1 for the mean.*--bisect keep.txt.*--keep-fp32.*bf16",
        ):
            convert(frames, tmp_path / "trained.onnx", weights_are_random=False)
        assert [path.name for path in tmp_path.iterdir()] == ["random.onnx"]

    def test_without_an_object(self, frames: Path, shifted: Path, tmp_path: Path) -> None:
        """The IoU is not compared, and the output states that."""
        found = {}
        for source in (frames, shifted):
            manifest = convert(source, tmp_path / "x.onnx", weights_are_random=False)
            logits = [
                c
                for c in manifest.verification
                if c.output == "logits" and c.computed_by.startswith(ROUNDED)
            ]
            found[source] = [(c.iou, c.computed_by) for c in logits]
        unsaid = f"{ROUNDED}; no IoU: less than 1% on one side of 0.5"
        assert found[frames] == [(None, unsaid)] * 2
        assert all(by == ROUNDED and 0.98 < iou < 1 for iou, by in found[shifted])

    def test_an_artifact_that_was_not_compared_with_pytorch(
        self, frames: Path, tmp_path: Path
    ) -> None:
        manifest = convert(frames, tmp_path / "x.onnx", verification=())
        assert manifest.verification
        assert all("PyTorch" not in c.computed_by for c in manifest.verification)


class TestOverlap:
    HALVES = np.repeat(np.float32([[-1, 1]]), 50, axis=1)

    def test_of_masks(self) -> None:
        smaller = self.HALVES.copy()
        smaller[0, 50:60] = -1
        for or_median in (False, True):
            overlap = functools.partial(logit_overlap, or_median=or_median)
            assert overlap(self.HALVES, self.HALVES) == 1
            assert overlap(self.HALVES, -self.HALVES) == 0
            assert overlap(self.HALVES, smaller) == 40 / 50

    def test_where_all_logits_have_one_sign(self) -> None:
        """The median takes the place of zero, or every two maps would agree."""
        low = self.HALVES - 9
        assert logit_overlap(low, low, or_median=True) == 1
        assert logit_overlap(low, -self.HALVES - 9, or_median=True) == 0
        assert logit_overlap(low, low, or_median=False) is None

    def test_where_a_map_is_flat(self) -> None:
        flat = np.zeros((5, 5), np.float32)
        assert logit_overlap(flat, flat, or_median=True) == 1
        assert logit_overlap(flat, flat + 1, or_median=True) == 0
        assert logit_overlap(flat, flat, or_median=False) is None
