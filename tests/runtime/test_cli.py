"""`dsunet-run` end to end."""

from __future__ import annotations

import io
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from dsunet_runtime.cli import app
from dsunet_runtime.commands.command import make_app
from dsunet_runtime.progress import Progress
from tests.runtime import artifacts, engines

COMMAND = [sys.executable, "-c", "from dsunet_runtime.cli import app; app()"]


@pytest.fixture
def photos(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """Three images of two sizes, each of another format, and a file that is no image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(photo[:20, :30]).save(folder / "b.JPG")
    Image.fromarray(photo).convert("L").save(folder / "c.tif")
    (folder / "readme.txt").write_text("not an image")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fails_with_one_line(*arguments: object, match: str) -> None:
    """In a process of its own: what a user sees."""
    result = subprocess.run(
        [*COMMAND, *(str(argument) for argument in arguments)], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("dsunet-run: ")
    assert match in line


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


class TestWholeOrNotAtAll:
    @pytest.fixture
    def noise(self, tmp_path: Path) -> Path:
        """Photographs of noise whose masks are of one level: small files beside large overlays."""
        folder = tmp_path / "noise"
        folder.mkdir()
        for side in (8, 40, 300, 400):
            green = np.random.default_rng(side).integers(0, 128, (side, side))
            pixels = np.stack([254 - 2 * green, green, 0 * green], -1).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{side}.png")
        return folder

    def test_full_disk(self, frames_artifact: Path, noise: Path, tmp_path: Path) -> None:
        """Files cannot grow beyond 8,192 bytes, which Pillow does not notice by itself."""
        out = tmp_path / "masks"
        arguments = ["predict", str(frames_artifact), str(noise), "-o", str(out), "--overlay"]
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
        )
        assert done.returncode == 1
        assert done.stdout.startswith("2 masks, 2 failed, ")
        assert done.stderr.splitlines() == [
            f"dsunet-run: {out}/{side}_overlay.jpg: cannot be written: File too large"
            for side in (300, 400)
        ] + ["dsunet-run: no object found in 40.png, 8.png: the highest value is 31 of 255"]
        expected = {f"{side}.png": side for side in (8, 40, 300, 400)}
        expected |= {f"{side}_overlay.jpg": side for side in (8, 40)}
        assert {path.name: width_of_whole(path) for path in out.iterdir()} == expected

    def test_killed(self, frames_artifact: Path, noise: Path, tmp_path: Path) -> None:
        for index in range(300):
            os.link(noise / "400.png", noise / f"a{index:04}.png")
        out = tmp_path / "masks"
        arguments = ["predict", str(frames_artifact), str(noise), "-o", str(out), "--overlay"]
        with subprocess.Popen([*COMMAND, *arguments]) as process:
            while not out.is_dir() or len(list(out.iterdir())) < 4:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
        for path in out.glob("[!.]*"):
            width_of_whole(path)
        assert run("predict", frames_artifact, noise / "8.png", "-o", out).exit_code == 0
        assert not list(out.glob(".*"))


def width_of_whole(path: Path) -> int:
    """Of an image that can be read to its end."""
    with Image.open(path) as image:
        image.load()
        return image.width


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


class TestAroundTheCommands:
    def test_version(self) -> None:
        result = run("--version")
        assert (result.exit_code, result.stdout) == (0, f"dsunet-run {version('dsunet')}\n")

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_closed_streams(
        self, frames_artifact: Path, photos: Path, tmp_path: Path, closed: str
    ) -> None:
        """As daemons have them; what is opened next must not become one of them."""
        arguments = [*COMMAND, "predict", frames_artifact, photos, "-o", tmp_path / "out"]
        line = f"{shlex.join(map(str, arguments))} {closed}"
        result = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert len(list((tmp_path / "out").iterdir())) == 3

    def test_help_on_a_full_disk(self) -> None:
        line = f"{shlex.join(COMMAND)} --help > /dev/full"
        result = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (1, "dsunet-run: No space left on device\n")

    def test_help(self) -> None:
        assert "predict" in run("--help").stdout
        assert "--overlay" in run("predict", "--help").stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    def test_on_a_terminal(self) -> None:
        terminal = Terminal()
        with Progress(2, terminal) as progress:
            progress.advance()
            progress.say("a.png: broken")
            progress.advance()
        written = terminal.getvalue()
        assert " 1/2 " in written
        assert " 2/2 " in written
        assert "\r\x1b[Ka.png: broken\n" in written
        assert written.endswith("\r\x1b[K")

    def test_nowhere_else(self) -> None:
        stream = io.StringIO()
        with Progress(2, stream) as progress:
            progress.advance()
            progress.say("a.png: broken")
        assert stream.getvalue() == "a.png: broken\n"


def test_too_little_memory_is_one_line() -> None:
    small = make_app("small", "Takes more than there is.")

    @small.command()
    def take() -> None:
        raise MemoryError("2.51 TiB")

    result = CliRunner().invoke(small, ["take"])
    assert result.exit_code == 1
    assert result.stderr == "small: not enough memory: 2.51 TiB; use a smaller batch or image\n"
