"""`dsunet-run predict --json`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runtime.commands.runner import COMMAND, names, predict


class TestJson:
    def test_lines(
        self, frames_artifact: Path, tree: Path, tmp_path: Path, mask: NDArray[np.uint8]
    ) -> None:
        (tree / "broken.png").write_bytes(b"\x89PNG")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").touch()
        options = ("-o", tmp_path / "out", "--recursive", "--skip-existing", "--json")
        result = predict(frames_artifact, tree, *options)
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
