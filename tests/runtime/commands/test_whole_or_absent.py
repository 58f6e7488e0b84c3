"""Files of `dsunet-run predict` on a full disk and after a kill: whole or absent."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.commands.runner import COMMAND, run


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
