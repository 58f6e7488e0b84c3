"""`dsunet-export onnx --precision fp16`: options, output and refusals."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import dsunet_export.onnx
import dsunet_runtime
from dsunet_export.cli import app
from dsunet_export.errors import ExportError
from dsunet_export.options import read_patterns
from dsunet_export.precision.rules import rules_for
from dsunet_runtime.artifact.compute import Compute
from tests.export.helpers import NANO, export, one_line


class TestCommand:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Path:
        folder = tmp_path / "images"
        folder.mkdir()
        return folder

    def test_float16(self, tmp_path: Path) -> None:
        patterns = tmp_path / "patterns.txt"
        patterns.write_text("# the finest attention\nsff.2*\n\n  rfb.0/*  # and this\n")
        path = tmp_path / "x.onnx"
        result = export(
            *NANO, "-o", path, "--precision", "fp16", "--keep-fp32", "heads*",
            "--keep-fp32", f"@{patterns}", "--keep-fp32", "sff.2/Add",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        manifest = dsunet_runtime.read_manifest(path)
        kept = [k.pattern for k in manifest.precision.kept_in_float32]
        assert kept[len(rules_for(Compute.FP16)) :] == ["heads*", "sff.2*", "rfb.0/*", "sff.2/Add"]
        assert manifest.precision.kept_in_float32[-1].nodes == 0
        requested = r"in float32: heads\* \(1 nodes\), .*\(0 nodes\): requested with --keep-fp32"
        assert re.search(requested, result.stderr)
        assert "headroom below the float16 maximum (65504)" in result.stdout
        assert "IoU at 0.5 0.99" in result.stdout
        by = [c.computed_by for c in manifest.verification]
        assert by == [
            *["ONNX Runtime against PyTorch, before the conversion"] * 2,
            *["ONNX Runtime with float16 rounding emulated on every tensor, against PyTorch"] * 4,
            *["ONNX Runtime against PyTorch"] * 2,
        ]
        inspected = dict(
            line.split("  ", 1) for line in inspect(path).splitlines() if "  " in line.strip()
        )
        assert inspected["precision"].strip() == "float16"

    def test_images(self, tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Overflow is looked for on all, and the first few are compared on."""
        monkeypatch.setattr(dsunet_export.onnx, "IMAGES_COMPARED", 1)
        stripes = np.zeros((64, 64, 3), np.uint8)
        Image.fromarray(stripes).save(images / "black.png")
        stripes[:, ::8] = 255
        Image.fromarray(stripes).save(images / "stripes.png")
        path = tmp_path / "x.onnx"
        result = export(*NANO, "-o", path, "--precision", "fp16", "--images", images)
        assert result.exit_code == 0, result.output
        manifest = dsunet_runtime.read_manifest(path)
        peaks = manifest.precision.peaks
        assert "stripes.png" in {peak.images for peak in peaks}
        assert [p.magnitude for p in peaks] == sorted((p.magnitude for p in peaks), reverse=True)
        compared = [c.inputs.split()[0] for c in manifest.verification]
        assert compared.count("black.png") == 4
        assert set(compared) == {"random", "photograph", "black.png"}

    @pytest.mark.parametrize(
        ("arguments", "match", "code"),
        [
            (("--keep-fp32", "x"), "--keep-fp32 and --images are for --precision fp16", 2),
            (("--images", "."), "--keep-fp32 and --images are for --precision fp16", 2),
            (("--precision", "fp16", "--keep-fp32", "@none.txt"), "@none.txt: No such file", 1),
        ],
    )
    def test_wrong_options(
        self, tmp_path: Path, arguments: tuple[str, ...], match: str, code: int
    ) -> None:
        result = export(*NANO, "-o", tmp_path / "x.onnx", *arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert match in one_line(result.stderr)
        assert list(tmp_path.iterdir()) == []

    def test_wrong_images(self, tmp_path: Path, images: Path) -> None:
        arguments = (*NANO, "-o", tmp_path / "x.onnx", "--precision", "fp16", "--images", images)
        result = export(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "no images in this folder" in one_line(result.stderr)
        (images / "broken.png").write_bytes(b"not an image")
        result = export(*arguments)
        assert result.exit_code == 1
        assert "broken.png: not an image" in one_line(result.stderr)
        (images / "other.jpg").write_bytes(b"nor is this")
        result = export(*arguments)
        assert result.exit_code == 1
        heading, *listed = result.stderr.splitlines()
        assert "2 images cannot be read" in one_line(heading)
        assert [Path(line.split(":")[0]).stem for line in listed] == ["broken", "other"]
        assert list(tmp_path.iterdir()) == [images]

    def test_empty_pattern(self) -> None:
        result = export(*NANO, "-o", "x.onnx", "--precision", "fp16", "--keep-fp32", "")
        assert "--keep-fp32 is empty" in one_line(result.stderr)

    def test_file_without_patterns(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.txt"
        empty.write_text("# nothing\n")
        result = export(*NANO, "-o", "x.onnx", "--precision", "fp16", "--keep-fp32", f"@{empty}")
        assert "the file has no patterns" in one_line(result.stderr)

    def test_patterns_longer_than_any_name(self, tmp_path: Path) -> None:
        """Searching for names like them would take minutes."""
        patterns = tmp_path / "keep.txt"
        patterns.write_text("sff.2*\n" + "?" * 100_000)
        with pytest.raises(ExportError, match=r"'\?+…' has 100,000 characters") as caught:
            read_patterns([f"@{patterns}"])
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (os.mkfifo, "is a pipe or a device, not a file"),
            (lambda path: path.mkdir(), "is a folder, not a file"),
            (lambda path: path.write_bytes(b"\xff"), "the file is not UTF-8 text"),
            (lambda path: path.write_bytes(bytes(2 << 20)), "is larger than 1 MB"),
        ],
    )
    def test_what_is_no_file_of_patterns(
        self, tmp_path: Path, make: Callable[[Path], Any], match: str
    ) -> None:
        make(tmp_path / "keep")
        with pytest.raises(ExportError, match=match):
            read_patterns([f"@{tmp_path / 'keep'}"])


def inspect(path: Path) -> str:
    return CliRunner().invoke(app, ["inspect", str(path)]).stdout
