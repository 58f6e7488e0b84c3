"""`dsunet-export`, as users run it: refusals, files and output."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import dsunet_export.onnx
from dsunet import DSUNet, DSUNetConfig, random_model, save_model
from dsunet_export.cli import app
from dsunet_export.options import ExportOptions
from dsunet_runtime import read_manifest
from dsunet_runtime.extras import install_command
from tests.export.helpers import NANO, SMALL, command, export, one_line

WITHOUT_HEAVY_PACKAGES = """
import importlib.abc, sys
HEAVY = {"torch", "torchvision", "timm", "sam2", "onnx", "onnx_ir", "onnxscript", "onnxruntime",
         "numpy", "PIL"}
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Block())
from dsunet_export.cli import app
app(prog_name="dsunet-export")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, which must stay empty."""
    folder = tmp_path / "empty"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def fails(*arguments: object, match: str, code: int = 1) -> None:
    """In this process; what a user sees is one line and no traceback."""
    result = export(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    steps = r"[a-zA-Z ]+: \d+\.\d s"
    lines = [line for line in result.stderr.splitlines() if not re.fullmatch(steps, line)]
    assert re.search(match, one_line("\n".join(lines)))


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (("--size", "32x32", "--input", "tensors"), "--size is for --input frames"),
            (("--preset", "gigantic"), "no preset 'gigantic'"),
            (("--sam2", "x.pt"), "--random-weights goes with"),
            (("--dino-size", "270"), "must be a multiple of 14, such as 266 or 280"),
            (("--hiera-size", "96"), "choose 128 or more"),
        ],
    )
    def test_options(self, folder: Path, arguments: tuple[object, ...], match: str) -> None:
        fails(*NANO, "-o", folder / "x.onnx", *arguments, match=match, code=2)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (("--size", "0x5"), "give HEIGHTxWIDTH, for example"),
            (("--size", "640"), "give HEIGHTxWIDTH"),
            (("--size", "-3x4"), "give HEIGHTxWIDTH"),
            (("--batch", "0"), "give a number from 1"),
            (("--batch", "-1"), "give a number from 1"),
            (("--batch", "two"), "or 'dynamic'"),
            (("--opset", "17"), "18"),
            (("--opset", "24"), "23"),
            (("--opset", "latest"), "--opset"),
            (("--input", "pictures"), "'frames', 'tensors'"),
            (("--no-such-option",), "--no-such-option"),
        ],
    )
    def test_wrong_usage(self, folder: Path, arguments: tuple[object, ...], match: str) -> None:
        result = export(*NANO, "-o", folder / "x.onnx", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert match in result.stderr.splitlines()[-1]

    def test_no_output(self) -> None:
        assert export(*NANO).exit_code == 2

    def test_no_weights(self, folder: Path) -> None:
        output = ("-o", folder / "x.onnx")
        fails(*output, match="name a CHECKPOINT", code=2)
        fails(*output, "--random-weights", match="goes with --preset", code=2)
        fails("x.pth", *NANO, *output, match="without", code=2)

    def test_checkpoint(self, folder: Path, tmp_path: Path) -> None:
        output = ("-o", folder / "x.onnx")
        fails(tmp_path / "none.pth", *output, match="none.pth cannot be read: No such file")
        fails(folder, *output, match="is a folder without a checkpoint")
        broken = tmp_path / "broken.pth"
        broken.write_bytes(b"not a checkpoint")
        fails(broken, *output, match="broken.pth is not a checkpoint")

    def test_checkpoint_of_another_preset(self, folder: Path, tmp_path: Path) -> None:
        checkpoint = tmp_path / "nano.safetensors"
        save_model(random_model(DSUNetConfig.preset("nano")), checkpoint)
        fails(checkpoint, "--preset", "tiny", "-o", folder / "x.onnx", match="holds preset nano")

    def test_sizes_that_do_not_fit_the_checkpoint(self, folder: Path, tmp_path: Path) -> None:
        checkpoint = tmp_path / "nano.safetensors"
        save_model(random_model(DSUNetConfig.preset("nano")), checkpoint)
        output = ("-o", folder / "x.onnx")
        fails(checkpoint, "--dino-size", 100, *output, match="such as 98 or 112", code=2)

    def test_in_a_process_of_its_own(self, folder: Path) -> None:
        done = command("onnx", folder / "none.pth", "-o", folder / "x.onnx")
        assert (done.returncode, done.stdout) == (1, "")
        assert "No such file" in one_line(done.stderr)

    def test_missing_extra(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", without("onnxscript"), "onnx", *NANO, "-o", "x.onnx"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        expected = f"dsunet-export: onnxscript is not installed: {install_command('export')}"
        assert one_line(done.stderr) == expected


def without(package: str) -> str:
    return f"import sys; sys.modules[{package!r}] = None; from dsunet_export.cli import app; app()"


class TestOutput:
    def test_where_nothing_can_be_written(self, folder: Path, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_text("")
        fails(*NANO, "-o", file / "x.onnx", match="cannot be written: Not a dir", code=2)
        fails(*NANO, "-o", "/proc/x.onnx", match="cannot write to /proc: ")

    def test_folder(self, tmp_path: Path) -> None:
        (tmp_path / "masks.onnx").mkdir()
        fails(*NANO, "-o", tmp_path / "masks.onnx", match="is a folder: name a file", code=2)

    def test_names_that_cannot_be(self, folder: Path) -> None:
        """The name is also that of the weights beside it, and is in the manifest."""
        long = folder / ("x" * 247 + ".onnx")
        fails(*NANO, "-o", long, match="onnx.data cannot be written: File name too long", code=2)
        fails(*NANO, "-o", folder / "\udcff.onnx", match="so it must be UTF-8", code=2)

    @pytest.mark.parametrize("name", ["x", "x.engine", "x.json", "x.onnx.data"])
    def test_name_of_another_format(self, folder: Path, name: str) -> None:
        fails(*NANO, "-o", folder / name, match="an ONNX file ends in .onnx", code=2)

    def test_relative_path_and_an_older_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: ir.Model
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("a.onnx").write_text("an older one")
        Path("a.onnx.data").write_text("its weights")
        result = export(*NANO, "-o", "a.onnx", "--no-verify", "--plain", "--seed", 7)
        assert result.exit_code == 0, result.output
        assert [line.split(":")[0] for line in result.stderr.splitlines()][-1] == "write"
        assert re.fullmatch(r"a\.onnx \d\.\d MB\n", result.stdout)
        manifest = read_manifest("a.onnx")
        assert manifest.weights_origin == "random (seed 7)"
        assert not manifest.verification
        assert not manifest.rewrites
        assert [path.name for path in Path().iterdir()] == ["a.onnx"]


class TestNothingIsLeft:
    @pytest.fixture
    def output(self, tmp_path: Path) -> Iterator[Path]:
        """An artifact that a failing export must leave as it is."""
        output = tmp_path / "x.onnx"
        output.write_bytes(b"an older artifact")
        yield output
        assert output.read_bytes() == b"an older artifact"
        assert list(tmp_path.iterdir()) == [output]

    def test_wrong_rewrite(
        self, output: Path, traced: ir.Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A planted fault: the weights of one layer of the decoder are 5 % too large."""
        name = "sff.2.merge.0.0.weight"

        def wrong(model: DSUNet) -> None:
            model.sff[2].merge[0][0].weight.data *= 1.05

        def trace(model: DSUNet, options: ExportOptions) -> ir.Model:
            """The graph that was traced before, with the weights that this model has now."""
            weight = traced.graph.initializers[name]
            weight.const_value = ir.tensor(model.state_dict()[name].numpy())
            return traced

        monkeypatch.setattr(dsunet_export.onnx, "REWRITES", {"wrong": wrong})
        monkeypatch.setattr(dsunet_export.onnx, "trace_model", trace)
        fails(*NANO, "-o", output, match="does not compute what the model computes: on random")

    def test_wrong_weights(self, output: Path, quick: ir.Model) -> None:
        """The graph is that of another model."""
        fails(
            *NANO,
            "--seed",
            1,
            "-o",
            output,
            match=r"logits differs by at most .* standard deviations, tolerance .* for the mean",
        )

    def test_weights_that_are_no_numbers(self, output: Path, tmp_path: Path) -> None:
        model = random_model(SMALL)
        model.heads[2].bias.data.fill_(float("nan"))
        checkpoint = output.parent.with_suffix(".safetensors")
        save_model(model, checkpoint)
        result = export(checkpoint, "-o", output)
        assert result.exit_code == 1
        warning, *_, refusal = result.stderr.splitlines()
        assert "has NaN or infinity in heads.2.bias" in warning
        assert "values that are not finite on random" in refusal

    def test_graph_that_does_not_run(self, output: Path, quick: ir.Model) -> None:
        node = next(node for node in quick.graph if node.op_type == "Conv")
        node.op_type = "Convolution"
        fails(*NANO, "-o", output, match="Convolution")

    def test_full_disk(
        self, output: Path, quick: ir.Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def save(model: ir.Model, path: Path, **options: Any) -> None:
            path.write_bytes(b"as far as it went")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("onnx_ir.save", save)
        fails(*NANO, "-o", output, match="cannot write .*: No space left on device")

    def test_interruption(self, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(dsunet_export.onnx, "trace_model", interrupt)
        fails(*NANO, "-o", output, match="interrupted", code=130)


class TestInspect:
    def test_in_words(self, frames: Path) -> None:
        result = CliRunner().invoke(app, ["inspect", str(frames)])
        assert result.exit_code == 0
        lines = [re.split(r"  +", line.strip(), maxsplit=1) for line in result.stdout.splitlines()]
        printed = dict(lines)
        assert printed["model"] == "preset nano"
        assert printed["weights"] == "random (seed 0)"
        assert printed["input"].startswith("image: uint8 batch×height×width×3 (NHWC)")
        assert printed["output"].startswith("mask: uint8 batch×height×width (NHW)")
        assert printed["preprocessing"] == "in the graph: hiera 160×160, dino 224×224"
        assert printed["fold-scales"].endswith("same")
        assert re.fullmatch(
            r"\d\.\d{3} G, -\d\.\d{3} G \(\d+\.\d\d%\)", printed["drop-unread-tokens"]
        )
        assert sum(name == "verified" for name, _ in lines) == 1
        assert printed["verified"].startswith("4 comparisons, the worst: ")

    @pytest.mark.parametrize("option", ["-v", "--verbose"])
    def test_every_comparison(self, frames: Path, option: str) -> None:
        result = CliRunner().invoke(app, ["inspect", str(frames), option])
        lines = [line for line in result.stdout.splitlines() if line.startswith("verified")]
        assert ["random" in line for line in lines] == [True, False] * 2

    def test_as_json(self, frames: Path) -> None:
        result = CliRunner().invoke(app, ["inspect", str(frames), "--json"])
        assert result.exit_code == 0
        assert json.loads(result.stdout) == json.loads(read_manifest(frames).to_json())

    def test_what_is_no_artifact(self, tmp_path: Path, traced: ir.Model) -> None:
        text, foreign = tmp_path / "x.txt", tmp_path / "foreign.onnx"
        text.write_text("not ONNX")
        ir.save(traced, foreign)
        for path, match in (
            (tmp_path / "none.onnx", "No such file"),
            (tmp_path, "not an ONNX file, but a folder"),
            (text, "not an ONNX file"),
            (foreign, "was not exported by dsunet-export"),
        ):
            for options in ([], ["--json"]):
                result = CliRunner().invoke(app, ["inspect", str(path), *options])
                assert (result.exit_code, result.stdout) == (1, "")
                assert match in one_line(result.stderr)


@pytest.mark.parametrize("arguments", [["--help"], ["onnx", "--help"], ["inspect", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HEAVY_PACKAGES, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: dsunet-export" in done.stdout
