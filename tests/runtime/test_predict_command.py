"""`dsunet-run predict` with renderings, trees of folders, patterns, and standard streams."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from typer.testing import CliRunner, Result

from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.cli import app
from dsunet_runtime.masks.backgrounds import Colour
from dsunet_runtime.masks.foreground import foreground
from dsunet_runtime.masks.renderings import Background, Binary, Cutout, Overlay, Rendering
from tests.runtime import artifacts

COMMAND = [sys.executable, "-c", "from dsunet_runtime.cli import app; app()"]


@pytest.fixture
def tree(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """Images in a folder and its subfolders."""
    folder = tmp_path / "photos"
    for place in ("a.png", "sub/b.jpg", "sub/deeper/c.png", ".hidden/d.png"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / place)
    (folder / "sub/notes.txt").touch()
    (folder / "again").symlink_to("sub", target_is_directory=True)
    return folder


@pytest.fixture
def image(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture
def mask(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return artifacts.expected_frames_mask(photo)


def run(*arguments: object, content: bytes = b"") -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=content)


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


class TestRenderings:
    def test_several_into_a_folder(
        self,
        frames_artifact: Path,
        image: Path,
        photo: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        estimates = []
        monkeypatch.setattr(
            "dsunet_runtime.masks.renderings.foreground",
            lambda *arguments: estimates.append(foreground(*arguments)) or estimates[-1],
        )
        out = tmp_path / "out"
        options = ["--binary", "100", "--cutout", "--background", "#010203", "--overlay"]
        result = run(frames_artifact, image, "-o", out, *options)
        assert result.exit_code == 0, result.output
        assert names(out) == [
            "photo.png",
            "photo_background.jpg",
            "photo_cutout.png",
            "photo_overlay.jpg",
        ]
        assert len(estimates) == 1  # for the cut-out and the background
        np.testing.assert_array_equal(Image.open(out / "photo.png"), 255 * (mask >= 100))
        np.testing.assert_array_equal(Image.open(out / "photo_cutout.png"), Cutout()(photo, mask))
        others: dict[str, Rendering] = {
            "background": Background(Colour((1, 2, 3))),
            "overlay": Overlay(),
        }
        for name, rendering in others.items():
            with Image.open(out / f"photo_{name}.jpg") as drawn:
                expected = rendering(photo, mask).astype(int)
                assert np.abs(expected - np.asarray(drawn)).mean() < 12  # JPEG of noise

    @pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
    def test_colours_keep_their_profile(
        self, frames_artifact: Path, photo: NDArray[np.uint8], tmp_path: Path, suffix: str
    ) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image, out = tmp_path / f"a.{suffix}", tmp_path / "out"
        Image.fromarray(photo).save(image, icc_profile=profile)
        options = ["--cutout", "--background", "red", "--overlay"]
        result = run(frames_artifact, image, "-o", out, *options)
        assert result.exit_code == 0, result.output
        run(frames_artifact, image, "-o", out / "a.webp", "--cutout")
        for name in names(out):
            with Image.open(out / name) as drawn:
                assert drawn.info.get("icc_profile") == (None if name == "a.png" else profile)

    @pytest.mark.parametrize(
        ("options", "name", "mode"),
        [
            ("", "x.png", "L"),
            ("--binary otsu", "x.PNG", "L"),
            ("--cutout", "x.webp", "RGBA"),
            ("--cutout webp", "x.webp", "RGBA"),
            ("--cutout", "x.png", "RGBA"),
            ("--background blur", "x.jpeg", "RGB"),
            ("--background red", "x.png", "RGB"),
            ("--overlay", "x.webp", "RGB"),
        ],
    )
    def test_one_into_a_file(
        self, frames_artifact: Path, image: Path, tmp_path: Path, options: str, name: str, mode: str
    ) -> None:
        out = tmp_path / "new" / name
        result = run(frames_artifact, image, "-o", out, *options.split())
        assert result.exit_code == 0, result.output
        assert names(out.parent) == [name]
        with Image.open(out) as drawn:
            assert (drawn.mode, drawn.size) == (mode, (53, 41))
            formats = {".png": "PNG", ".webp": "WEBP", ".jpeg": "JPEG"}
            assert drawn.format == formats[out.suffix.lower()]

    @pytest.mark.parametrize("options", ["--binary IMAGE", "--cutout IMAGE", "--binary -- IMAGE"])
    def test_an_image_after_an_optional_value_is_an_image(
        self, frames_artifact: Path, image: Path, tmp_path: Path, options: str
    ) -> None:
        words = [str(image) if word == "IMAGE" else word for word in options.split()]
        result = run("-o", tmp_path / "out", frames_artifact, *words)
        assert result.exit_code == 0, result.output

    @pytest.mark.parametrize("value", [["--binary", "otsu"], ["--binary=otsu"]])
    def test_otsu(
        self,
        frames_artifact: Path,
        image: Path,
        photo: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        tmp_path: Path,
        value: list[str],
    ) -> None:
        assert run(frames_artifact, image, "-o", tmp_path / "x.png", *value).exit_code == 0
        expected = Binary(None)(photo, mask)
        assert (expected != Binary()(photo, mask)).any()
        np.testing.assert_array_equal(Image.open(tmp_path / "x.png"), expected)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("-o x.png --cutout --overlay", "x.png is one file, and --cutout and --overlay need"),
            ("-o - --cutout --binary", "--binary and --cutout need one each: name a folder"),
            ("-o x.jpg", "masks are PNG files: name x.png"),
            ("-o x.mp4", "photo.png is read as an image: name an image file, or a folder"),
            ("-o x.jpg --cutout", "cut-outs are PNG or WEBP files: name x.png"),
            ("-o x.png --cutout webp", "cut-outs are WEBP files: name x.webp"),
            ("-o x.tif --overlay", "these images are JPG or PNG or WEBP files: name x.jpg"),
            ("-o x.bmp", "masks are PNG files: name x.png"),
            ("-o x --binary 0", "'0' is neither a level from 1 to 255 nor otsu"),
            ("-o x --binary=256", "'256' is neither a level"),
            ("-o x --binary=٣", "'٣' is neither a level"),
            ("-o x --binary=half", "'half' is neither a level"),
            ("-o x --cutout=jpg", "'jpg' is neither png nor webp"),
            ("-o x --background whit", "'whit' is neither a colour"),
            ("-o x --background x.jpg", "x.jpg: cannot be read: No such file"),
            ("-o - --json", "--json and --output - exclude each other"),
            ("-o - --skip-existing", "--skip-existing and --output - exclude each other"),
            ("-o - --recursive", "--output - is one file, and each image needs one of its own"),
        ],
    )
    def test_refused(self, frames_artifact: Path, image: Path, options: str, message: str) -> None:
        result = run(frames_artifact, image, *options.split())
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        assert message in line

    def test_a_result_over_the_background(
        self, frames_artifact: Path, image: Path, tmp_path: Path
    ) -> None:
        beach = tmp_path / "beach.png"
        Image.new("RGB", (9, 9), "tan").save(beach)
        before = beach.read_bytes()
        result = run(frames_artifact, image, "--background", beach, "-o", beach)
        assert result.exit_code == 2
        assert f"would overwrite --background {beach}" in result.stderr
        assert beach.read_bytes() == before


class TestTrees:
    def test_recursive_keeps_the_tree(
        self, frames_artifact: Path, tree: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        result = run(frames_artifact, tree, "-o", out, "--recursive")
        assert result.exit_code == 0
        assert result.stderr == (
            f"dsunet-run: {tree}: left out 1 file: .txt (1); 1 subfolder\n"  # the link
        )
        assert names(out) == ["a.png", "sub/b.png", "sub/deeper/c.png"]

    def test_results_inside_the_tree_are_not_images(
        self, frames_artifact: Path, tree: Path
    ) -> None:
        for _ in range(2):
            result = run(frames_artifact, tree, "-o", tree / "sub/masks", "--recursive")
            assert result.exit_code == 0, result.output
            assert result.stdout.startswith("3 masks, 0 failed, ")
        for pattern, count in (("**/*.png", 2), ("sub/*/*", 1)):
            result = run(frames_artifact, tree / pattern, "-o", tree / "sub/masks")
            assert result.stdout.startswith(f"{count} mask")
            (tree / "sub/masks/deeper/c.png").unlink(missing_ok=True)
        assert names(tree / "sub/masks") == ["a.png", "sub/b.png", "sub/deeper/c.png"]

    def test_a_result_over_an_image_of_a_subfolder(self, frames_artifact: Path, tree: Path) -> None:
        before = names(tree)
        result = run(frames_artifact, tree, "-o", tree, "--recursive")
        assert result.exit_code == 1
        assert "a.png: would overwrite the image" in result.stderr
        assert names(tree) == before

    def test_a_file_in_the_place_of_a_subfolder(
        self, frames_artifact: Path, tree: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/sub").touch()
        result = run(frames_artifact, tree, "-o", tmp_path / "out", "--recursive")
        assert result.exit_code == 1
        assert result.stdout.startswith("1 mask, 2 failed, ")
        assert f"{tmp_path / 'out/sub'}: is a file: name a folder" in result.stderr

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("**/*.png", ["a.png", "sub/deeper/c.png"]),
            ("**", ["a.png", "sub/b.png", "sub/deeper/c.png"]),
            ("sub/**/*", ["b.png", "deeper/c.png"]),
            ("sub/*.jpg", ["b.png"]),
            ("s*/?.jpg", ["sub/b.png"]),
            ("[a-c].png", ["a.png"]),
            ("*/*", ["again/b.png"]),  # a link to `sub`, so the same image
        ],
    )
    def test_patterns(
        self, frames_artifact: Path, tree: Path, tmp_path: Path, pattern: str, expected: list[str]
    ) -> None:
        result = run(frames_artifact, tree / pattern, "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert names(tmp_path / "out") == expected

    def test_a_folder_whose_name_looks_like_a_pattern(
        self, frames_artifact: Path, tree: Path, tmp_path: Path
    ) -> None:
        tree.rename(tmp_path / "[1]*")
        result = run(frames_artifact, tmp_path / "[1]*/*.png", "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert names(tmp_path / "out") == ["a.png"]

    def test_a_file_whose_name_looks_like_a_pattern(
        self, frames_artifact: Path, image: Path, tmp_path: Path
    ) -> None:
        image.rename(tmp_path / "[1]*?.png")
        result = run(frames_artifact, tmp_path / "[1]*?.png", "-o", tmp_path / "x.png")
        assert result.exit_code == 0, result.output
        result = run(frames_artifact, tmp_path / "[2]*?.png", "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert "no such file, and no image's name matches it as a pattern" in result.stderr

    def test_skip_existing(
        self,
        frames_artifact: Path,
        tree: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = tmp_path / "out"
        options = ("--recursive", "--skip-existing", "--overlay")
        run(frames_artifact, tree, "-o", out, *options)
        (out / "sub/b_overlay.jpg").unlink()
        kept = {name: (out / name).stat().st_mtime_ns for name in names(out) if "b" not in name}
        result = run(frames_artifact, tree, "-o", out, *options)
        assert result.stdout.startswith("1 mask, 0 failed, 2 skipped, ")
        assert (out / "sub/b_overlay.jpg").is_file()
        monkeypatch.setattr("dsunet_runtime.load", None)  # it can take a minute: not called
        result = run(frames_artifact, tree, "-o", out, *options)
        assert (result.exit_code, result.stdout[:31]) == (0, "0 masks, 0 failed, 3 skipped, 0")
        assert kept == {name: (out / name).stat().st_mtime_ns for name in kept}


class TestJson:
    def test_lines(
        self, frames_artifact: Path, tree: Path, tmp_path: Path, mask: NDArray[np.uint8]
    ) -> None:
        (tree / "broken.png").write_bytes(b"\x89PNG")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").touch()
        options = ("-o", tmp_path / "out", "--recursive", "--skip-existing", "--json")
        result = run(frames_artifact, tree, *options)
        assert result.exit_code == 1
        assert "2 masks, 1 failed, 1 skipped, " in result.stderr
        skipped, broken, _, deepest = map(json.loads, result.stdout.splitlines())
        assert skipped == {
            "image": str(tree / "a.png"),
            "outputs": [str(tmp_path / "out/a.png")],
            "skipped": True,
        }
        assert broken.pop("seconds") >= 0
        assert broken.pop("error").startswith(f"{tree / 'broken.png'}: ")
        assert broken == {"image": str(tree / "broken.png"), "outputs": []}
        assert 0 < deepest.pop("seconds") < 60
        statistics = deepest.pop("mask")
        assert deepest == {
            "image": str(tree / "sub/deeper/c.png"),
            "outputs": [str(tmp_path / "out/sub/deeper/c.png")],
            "width": 53,
            "height": 41,
        }
        assert statistics == {
            "mean": pytest.approx(mask.mean(), abs=1e-6),
            "maximum": mask.max(),
            "inside": pytest.approx((mask >= 128).mean(), abs=1e-6),
        }

    def test_the_reader_goes(self, frames_artifact: Path, image: Path, tmp_path: Path) -> None:
        folder = tmp_path / "many"
        folder.mkdir()
        for index in range(2000):
            os.link(image, folder / f"{index:04}.png")
        arguments = ["predict", frames_artifact, folder, "-o", tmp_path / "out", "--json"]
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"image": ')
        process.stdout.close()
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (1, b"")
        assert len(names(tmp_path / "out")) < 2000


class TestStandardStreams:
    @pytest.mark.parametrize(
        ("options", "format_"),
        [("", "PNG"), ("--cutout", "PNG"), ("--cutout webp", "WEBP"), ("--overlay", "JPEG")],
    )
    def test_from_and_to(
        self, frames_artifact: Path, image: Path, options: str, format_: str
    ) -> None:
        result = run(frames_artifact, "-", "-o", "-", *options.split(), content=image.read_bytes())
        assert result.exit_code == 0
        assert result.stderr.startswith("1 mask, 0 failed, ")
        with Image.open(io.BytesIO(result.stdout_bytes)) as drawn:
            assert (drawn.format, drawn.size) == (format_, (53, 41))

    def test_standard_input_into_a_folder(
        self, frames_artifact: Path, image: Path, tmp_path: Path, mask: NDArray[np.uint8]
    ) -> None:
        content = image.read_bytes()
        result = run(frames_artifact, "-", image, "-", "-o", tmp_path / "out", content=content)
        assert result.exit_code == 0, result.output
        assert names(tmp_path / "out") == ["photo.png", "stdin.png"]
        np.testing.assert_array_equal(Image.open(tmp_path / "out/stdin.png"), mask)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "standard input is empty"),
            (b"hello", "stdin: not an image"),
            (b"version https://git-lfs.github.com/spec/v1", "stdin: is a pointer to data"),
        ],
    )
    def test_no_image(self, frames_artifact: Path, content: bytes, message: str) -> None:
        result = run(frames_artifact, "-", "-o", "-", content=content)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"dsunet-run: {message}")

    def test_a_file_of_that_name(
        self, frames_artifact: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        image.rename("-")
        result = run(frames_artifact, "./-", "-o", "-")
        assert result.exit_code == 0, result.output
        assert result.stdout_bytes.startswith(b"\x89PNG")

    def test_the_reader_goes(self, frames_artifact: Path, image: Path) -> None:
        arguments = ["predict", frames_artifact, image, "-o", "-"]
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.close()
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (1, b"")

    @pytest.mark.parametrize(
        ("target", "code", "errors"),
        [
            ("> /dev/full", 1, "standard output: cannot be written: No space left on device"),
            (">&-", 0, ""),
        ],
    )
    def test_where_nothing_can_be_written(
        self, frames_artifact: Path, image: Path, target: str, code: int, errors: str
    ) -> None:
        words = [*COMMAND, "predict", str(frames_artifact), str(image), "-o", "-"]
        result = subprocess.run(
            ["bash", "-c", f'"$@" {target}', "bash", *words], capture_output=True, text=True
        )
        assert result.returncode == code
        *lines, summary = result.stderr.splitlines()
        assert lines == [f"dsunet-run: {errors}"] * bool(errors)
        assert summary.startswith(f"{1 - code} mask")


class TestNoObject:
    @pytest.fixture
    def grey(self, tmp_path: Path) -> Path:
        path = tmp_path / "grey.png"
        Image.new("RGB", (30, 20), (40, 30, 30)).save(path)
        return path

    def test_probability(
        self, frames_artifact: Path, grey: Path, image: Path, tmp_path: Path
    ) -> None:
        result = run(frames_artifact, grey, image, "-o", tmp_path / "out")
        highest = artifacts.expected_frames_mask(np.asarray(Image.open(grey))).max()
        assert highest < 128
        assert result.stderr == (
            f"dsunet-run: no object found in grey.png: the highest value is {highest} of 255\n"
        )

    @pytest.mark.parametrize("form", list(MaskForm))
    def test_logits(self, image: Path, tmp_path: Path, form: MaskForm) -> None:
        """A stretched mask reaches 255 whatever its probabilities are."""
        sure = artifacts.tensors(tmp_path / "sure.onnx", mask_form=form)
        result = run(sure, image, "-o", tmp_path / "out")
        assert (result.exit_code, result.stderr) == (0, "")
        dark = tmp_path / "dark.png"
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[:5, :, 1] = 200
        Image.fromarray(pixels).save(dark)
        result = run(sure, dark, "-o", tmp_path / "out")
        assert "no object found in dark.png: the highest value is " in result.stderr

    def test_a_graph_that_stretches_tells_nothing(self, grey: Path, tmp_path: Path) -> None:
        artifact = artifacts.frames(tmp_path / "model.onnx", mask_form=MaskForm.STRETCHED)
        with Image.open(grey) as image:
            image.putpixel((0, 0), (0, 0, 0))  # so that the lowest level is 0
            image.save(grey)
        result = run(artifact, grey, "-o", tmp_path / "out")
        assert (result.exit_code, result.stderr) == (0, "")
        assert 0 < np.asarray(Image.open(tmp_path / "out/grey.png")).max() < 128
