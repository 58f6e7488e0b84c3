"""`dsunet-run predict`: masks of files and folders, and what users get wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.runtime import artifacts, engines
from tests.runtime.commands.runner import COMMAND, fails_with_one_line, run


class TestPredict:
    @pytest.mark.parametrize("options", [[], ["--batch", 2], ["--batch", 50, "--provider", "cpu"]])
    def test_folder(
        self, frames_artifact: Path, photos: Path, tmp_path: Path, options: list[object]
    ) -> None:
        out = tmp_path / "new" / "masks"
        result = run("predict", frames_artifact, photos, "-o", out, *options)
        assert result.exit_code == 0
        assert result.stdout.startswith("3 masks, 0 failed, ")
        assert result.stdout.endswith(" images/s\n")
        assert result.stderr.splitlines() == [
            f"dsunet-run: {photos}: left out 1 file: .txt (1)",
            "dsunet-run: no object found in b.JPG: the highest value is 113 of 255",
        ]
        assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png"]
        for name in ("a.png", "b.JPG", "c.tif"):
            with Image.open(photos / name) as image:
                rgb = np.asarray(image.convert("RGB"))
            with Image.open(out / f"{name[0]}.png") as mask:
                assert mask.mode == "L"
                np.testing.assert_array_equal(mask, artifacts.expected_frames_mask(rgb))

    def test_overlays(self, frames_artifact: Path, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "masks"
        assert run("predict", frames_artifact, photos, "-o", out, "--overlay").exit_code == 0
        for name, size in {"a": (53, 41), "b": (30, 20), "c": (53, 41)}.items():
            for file in (f"{name}.png", f"{name}_overlay.jpg"):
                with Image.open(out / file) as image:
                    assert image.size == size
        assert len(list(out.iterdir())) == 6

    def test_form_tensors_and_a_single_file(self, photos: Path, tmp_path: Path) -> None:
        artifact = artifacts.tensors(tmp_path / "model.onnx")
        result = run("predict", artifact, photos / "a.png", "-o", tmp_path / "masks")
        assert result.stdout.startswith("1 mask, 0 failed, ")
        with Image.open(tmp_path / "masks" / "a.png") as mask:
            assert mask.size == (53, 41)
            assert mask.getextrema() in [(0, 254), (0, 255)]

    @pytest.mark.parametrize("name", ["cam.png", "new/folder/cam.PNG"])
    def test_the_file_of_one_mask(
        self, frames_artifact: Path, photos: Path, tmp_path: Path, name: str
    ) -> None:
        out = tmp_path / "out" / name
        result = run("predict", frames_artifact, photos / "c.tif", "-o", out)
        assert (result.exit_code, result.stderr) == (0, "")
        assert [path.name for path in out.parent.iterdir()] == [out.name]
        with Image.open(out) as mask, Image.open(photos / "c.tif") as image:
            assert (mask.format, mask.mode, mask.size) == ("PNG", "L", image.size)

    def test_a_folder_that_looks_like_a_file(
        self, frames_artifact: Path, photos: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "masks.png").mkdir()
        assert run("predict", frames_artifact, photos, "-o", tmp_path / "masks.png").exit_code == 0
        assert (tmp_path / "masks.png/a.png").is_file()

    def test_one_mask_over_its_image(self, frames_artifact: Path, photos: Path) -> None:
        before = (photos / "a.png").read_bytes()
        result = run("predict", frames_artifact, photos / "a.png", "-o", photos / "a.png")
        assert result.exit_code == 1
        assert "would overwrite the image" in result.stderr
        assert (photos / "a.png").read_bytes() == before

    def test_fixed_batch_and_size(self, photos: Path, tmp_path: Path) -> None:
        artifact = artifacts.frames(tmp_path / "model.onnx", batch=4, height=41, width=53)
        result = run("predict", artifact, photos, "-o", tmp_path / "masks")
        assert result.exit_code == 1
        assert result.stdout.startswith("2 masks, 1 failed, ")
        assert f"\ndsunet-run: {photos / 'b.JPG'}: the image is 30×20" in result.stderr

    def test_broken_image_is_reported_and_the_rest_goes_on(
        self, frames_artifact: Path, photos: Path, tmp_path: Path
    ) -> None:
        whole = (photos / "b.JPG").read_bytes()
        (photos / "b.JPG").write_bytes(whole[: len(whole) // 2])
        out = tmp_path / "masks"
        result = run("predict", frames_artifact, photos, "-o", out, "--overlay")
        assert result.exit_code == 1
        _, line = result.stderr.splitlines()  # the first is about the files left out
        assert line.startswith(f"dsunet-run: {photos / 'b.JPG'}: ")
        assert result.stdout.startswith("2 masks, 1 failed, ")
        assert not [path for path in out.iterdir() if path.name.startswith((".", "b"))]

    def test_unused_frames_are_reported(
        self, frames_artifact: Path, tmp_path: Path, photo: NDArray[np.uint8]
    ) -> None:
        first, second = Image.fromarray(photo), Image.fromarray(255 - photo)
        first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
        result = run("predict", frames_artifact, tmp_path / "a.gif", "-o", tmp_path / "masks")
        assert result.exit_code == 0
        assert result.stderr == "dsunet-run: several frames in a.gif: only the first is used\n"

    def test_warnings_of_pillow_are_not_shown(
        self, frames_artifact: Path, tmp_path: Path, photo: NDArray[np.uint8]
    ) -> None:
        broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"
        Image.fromarray(photo).save(tmp_path / "a.jpg", exif=broken)
        result = run("predict", frames_artifact, tmp_path / "a.jpg", "-o", tmp_path / "masks")
        assert (result.exit_code, result.stderr) == (0, "")

    def test_random_weights_are_named(self, photos: Path, tmp_path: Path) -> None:
        artifact = artifacts.frames(tmp_path / "model.onnx", weights_are_random=True)
        result = run("predict", artifact, photos, "-o", tmp_path / "masks")
        assert result.exit_code == 0
        assert "has randomly initialised weights: its masks are not meaningful" in result.stderr

    def test_interruption(
        self, frames_artifact: Path, tmp_path: Path, photo: NDArray[np.uint8]
    ) -> None:
        photos, out = tmp_path / "many", tmp_path / "masks"
        photos.mkdir()
        Image.fromarray(photo).save(photos / "0000.png")
        for index in range(1, 6000):
            os.link(photos / "0000.png", photos / f"{index:05}.png")
        arguments = ["predict", str(frames_artifact), str(photos), "-o", str(out)]
        process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
        while not (out.is_dir() and any(out.iterdir())):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors == "dsunet-run: interrupted\n"
        for path in out.iterdir():
            assert path.suffix == ".png"
            with Image.open(path) as image:
                image.load()


class TestBadInput:
    def test_image_missing(self, frames_artifact: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        arguments = ("predict", frames_artifact, tmp_path / "absent.png", "-o", out)
        fails_with_one_line(*arguments, match="absent.png: No such file")
        assert not out.exists()

    def test_artifact_missing(self, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        arguments = ("predict", tmp_path / "absent.onnx", photos, "-o", out)
        fails_with_one_line(*arguments, match="absent.onnx: No such file")
        assert not out.exists()

    def test_artifact_cut_short(self, frames_artifact: Path, photos: Path, tmp_path: Path) -> None:
        frames_artifact.write_bytes(frames_artifact.read_bytes()[:-5])
        arguments = ("predict", frames_artifact, photos, "-o", tmp_path / "out")
        fails_with_one_line(*arguments, match="is an ONNX file, but damaged or cut short")

    def test_weights_exchanged(self, photos: Path, tmp_path: Path) -> None:
        artifact = artifacts.frames(tmp_path / "a.onnx", external=True)
        (tmp_path / "a.onnx.data").write_bytes(bytes(12))
        arguments = ("predict", artifact, photos, "-o", tmp_path / "out")
        fails_with_one_line(*arguments, match="SHA-256 differs")

    def test_engine_with_a_provider(self, photos: Path, tmp_path: Path) -> None:
        arguments = ("predict", tmp_path / "a.engine", photos, "-o", tmp_path / "out")
        result = run(*arguments, "--provider", "cpu")
        assert result.exit_code == 2
        assert "a.engine is an engine; see" in result.stderr

    def test_engine_on_this_machine(self, photos: Path, tmp_path: Path) -> None:
        """What it says is the machine's: nobody expects a GPU and TensorRT of it."""
        path = engines.frames(tmp_path / "a.engine", tensorrt_version="0.0.1")
        arguments = ("predict", path, photos, "-o", tmp_path / "out")
        fails_with_one_line(*arguments, match="pip install tensorrt-rtx==0.0.1")

    def test_output_is_a_file(self, frames_artifact: Path, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "out").touch()
        arguments = ("predict", frames_artifact, photos, "-o", tmp_path / "out")
        fails_with_one_line(*arguments, match="out: is a file")

    def test_output_over_the_images(self, frames_artifact: Path, photos: Path) -> None:
        before = (photos / "a.png").read_bytes()
        arguments = ("predict", frames_artifact, photos, "-o", photos)
        fails_with_one_line(*arguments, match="would overwrite the image")
        assert (photos / "a.png").read_bytes() == before

    def test_two_images_for_one_mask(
        self, frames_artifact: Path, photos: Path, tmp_path: Path
    ) -> None:
        (photos / "a.jpg").write_bytes((photos / "a.png").read_bytes())
        arguments = ("predict", frames_artifact, photos, "-o", tmp_path / "out")
        fails_with_one_line(*arguments, match="rename one of them, or use two output folders")
        assert not (tmp_path / "out").exists()

    def test_provider_not_available(
        self, frames_artifact: Path, photos: Path, tmp_path: Path
    ) -> None:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this ONNX Runtime has CUDA")
        arguments = ("predict", frames_artifact, photos, "-o", tmp_path, "--provider", "cuda")
        fails_with_one_line(*arguments, match="no provider 'cuda', only cpu")

    @pytest.mark.parametrize(
        "options",
        [[], ["-o", "x", "--batch", "0"], ["-o", "x", "--provider", "tpu"], ["-o", "x", "--nope"]],
    )
    def test_usage(self, frames_artifact: Path, photos: Path, options: list[str]) -> None:
        assert run("predict", frames_artifact, photos, *options).exit_code == 2
