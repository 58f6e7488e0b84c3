"""`dsunet-run predict` from standard input and to standard output."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.runtime.commands.runner import COMMAND, names, predict


class TestStandardStreams:
    @pytest.mark.parametrize(
        ("options", "format_"),
        [("", "PNG"), ("--cutout", "PNG"), ("--cutout webp", "WEBP"), ("--overlay", "JPEG")],
    )
    def test_from_and_to(
        self, frames_artifact: Path, image: Path, options: str, format_: str
    ) -> None:
        result = predict(
            frames_artifact, "-", "-o", "-", *options.split(), content=image.read_bytes()
        )
        assert result.exit_code == 0
        assert result.stderr.startswith("1 mask, 0 failed, ")
        with Image.open(io.BytesIO(result.stdout_bytes)) as drawn:
            assert (drawn.format, drawn.size) == (format_, (53, 41))

    def test_standard_input_into_a_folder(
        self, frames_artifact: Path, image: Path, tmp_path: Path, mask: NDArray[np.uint8]
    ) -> None:
        content = image.read_bytes()
        result = predict(frames_artifact, "-", image, "-", "-o", tmp_path / "out", content=content)
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
        result = predict(frames_artifact, "-", "-o", "-", content=content)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"dsunet-run: {message}")

    def test_a_file_of_that_name(
        self, frames_artifact: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        image.rename("-")
        result = predict(frames_artifact, "./-", "-o", "-")
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
