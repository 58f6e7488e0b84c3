"""The documented chain, from scenes to masks, at a small size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]


def test_chain(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "examples/chain.sh", tmp_path / "chain", "12", "1"],
        env={**os.environ, "PATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "chain"
    images = sorted(folder.glob("held-out/Image/*"))
    masks = [folder / "masks" / f"{image.stem}.png" for image in images]
    assert len(images) == 20
    for image, mask in zip(images, masks, strict=True):
        assert Image.open(image).size == Image.open(mask).size
    report = json.loads((folder / "report/metrics.json").read_text())
    assert "held-out" in json.dumps(report)
    assert np.ptp(np.asarray(Image.open(masks[0]))) > 0
