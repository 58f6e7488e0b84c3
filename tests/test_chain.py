"""The documented chain, from scenes to masks, at a small size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.once_per_structure import once_per_structure
from tests.scripts import run_script
from tests.threads import one_thread

__all__ = ["once_per_structure", "one_thread"]

ROOT = Path(__file__).parents[1]


def test_chain(tmp_path: Path) -> None:
    done = run_script([ROOT / "examples/chain.sh", tmp_path / "chain", "12", "1"])
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
