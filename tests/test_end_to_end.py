"""A 2.1 GB checkpoint as the paper's code writes it, through both commands, against the oracle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import dsunet_runtime
from dsunet import load_model
from dsunet_export.probes import Probe
from dsunet_export.reference import compute_reference
from dsunet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from dsunet_runtime.manifest import MaskForm
from dsunet_runtime.masks import mask_from_logits
from dsunet_runtime.provider import Provider
from tests.fill_weights import fill_one, inputs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"
PHOTOGRAPH = ROOT / "assets/astronaut.jpg"
SEED = 1
LOGITS_TOLERANCE, RMS_TOLERANCE = 1e-2, 3e-4
"""Of the spread: those of tests/model/test_oracle.py, and for its reasons."""
MASK_TOLERANCE = 2
"""Levels of 255: one for truncation, one for the logits' tolerance, stretched."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every key of the published code's checkpoints, filled as for the oracle."""
    state: dict[str, torch.Tensor] = {}
    haar = torch.tensor(
        [[[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]]
    )
    for line in (DATA / "oracle_reference_keys.txt").read_text().splitlines():
        key, size, _ = line.split()
        shape = () if size == "scalar" else tuple(int(n) for n in size.split("x"))
        if key.endswith(("wt_filter", "iwt_filter")):
            state[key] = (haar * 0.5).repeat(shape[0] // 4, 1, 1).unsqueeze(1)
        elif key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
        else:
            state[key] = torch.from_numpy(np.asarray(fill_one(key, shape, SEED)))
    path = tmp_path_factory.mktemp("checkpoint") / "DSU-Net-epoch-50.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def photograph_logits(checkpoint: Path) -> NDArray[np.float32]:
    """What the plain model, which test_oracle.py holds to the oracle, makes of the photograph."""
    image = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    return compute_reference(load_model(checkpoint), Probe("astronaut", image))


@pytest.mark.parametrize("form", ["tensors", "frames"])
def test_published_checkpoint_to_mask(
    form: str, checkpoint: Path, photograph_logits: NDArray[np.float32], tmp_path: Path
) -> None:
    artifact = tmp_path / "dsunet.onnx"
    run("dsunet-export", "onnx", checkpoint, "-o", artifact, "--input", form)
    if form == "tensors":
        check_logits(artifact)
    run("dsunet-run", "predict", artifact, PHOTOGRAPH, "-o", tmp_path / "masks")
    mask = np.asarray(Image.open(tmp_path / "masks/astronaut.png"))
    expected = mask_from_logits(photograph_logits, (512, 512), MaskForm.STRETCHED)
    assert np.abs(mask.astype(int) - expected).max() <= MASK_TOLERANCE


def check_logits(artifact: Path) -> None:
    """The artifact's answer to the oracle's own input is the oracle's."""
    dino, hiera = inputs(SEED)
    manifest = dsunet_runtime.read_manifest(artifact)
    with OnnxRuntimeBackend(artifact, manifest, Provider.CPU, None) as backend:
        logits = backend.infer({"hiera": hiera, "dino": dino})["logits"]
    with np.load(DATA / "oracle_reference.npz") as reference:
        errors = (logits - reference["out3_full"]) / reference["out3_full"].std()
    assert np.abs(errors).max() <= LOGITS_TOLERANCE
    assert np.sqrt(np.mean(errors**2)) <= RMS_TOLERANCE


def run(command: str, *arguments: object) -> None:
    """Run one of our commands as a user would; its own messages show where the test fails."""
    program = Path(sys.executable).with_name(command)
    subprocess.run([program, *map(str, arguments)], check=True)
