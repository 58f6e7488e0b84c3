"""Checkpoints of up to 2.1 GB as published code writes them, through both commands."""

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
from dsunet_export.verification.reference import compute_reference
from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.backends.onnxruntime.backend import OnnxRuntimeBackend
from dsunet_runtime.masks.mask_from_logits import mask_from_logits
from dsunet_runtime.provider import Provider
from tests.fill_weights import fill_one, inputs
from tests.model.oracle import (
    DECODER_RMS_TOLERANCE,
    DECODER_TOLERANCE,
    ORACLES,
    SEED,
    TOLERANCE,
    Oracle,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PHOTOGRAPH = ROOT / "assets/astronaut.jpg"
MASK_TOLERANCE = 2
"""Levels of 255: one for truncation, one for the logits' tolerance, stretched."""


@pytest.fixture(scope="module", params=ORACLES)
def oracle(request: pytest.FixtureRequest) -> Oracle:
    return ORACLES[request.param]


@pytest.fixture(scope="module")
def checkpoint(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every key of the published code's checkpoints, filled as for the oracle."""
    state: dict[str, torch.Tensor] = {}
    haar = torch.tensor(
        [[[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]]
    )
    for key, (shape, _) in oracle.published_keys().items():
        if key.endswith(("wt_filter", "iwt_filter")):
            state[key] = (haar * 0.5).repeat(shape[0] // 4, 1, 1).unsqueeze(1)
        elif key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
        else:
            state[key] = torch.from_numpy(np.asarray(fill_one(key, shape, SEED)))
    path = tmp_path_factory.mktemp("checkpoint") / f"{oracle.layout.network}-epoch-50.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def photograph_logits(checkpoint: Path) -> NDArray[np.float32]:
    """What the plain model, which test_oracle.py holds to the oracle, makes of the photograph."""
    image = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    return compute_reference(load_model(checkpoint), Probe("astronaut", image))


@pytest.mark.parametrize("form", ["tensors", "frames"])
def test_published_checkpoint_to_mask(
    form: str,
    oracle: Oracle,
    checkpoint: Path,
    photograph_logits: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    artifact = tmp_path / "dsunet.onnx"
    options = ("--input", form, "--mask", "stretched")
    run("dsunet-export", "onnx", checkpoint, "-o", artifact, *options)
    if form == "tensors":
        check_logits(artifact, oracle)
    run("dsunet-run", "predict", artifact, PHOTOGRAPH, "-o", tmp_path / "masks")
    mask = np.asarray(Image.open(tmp_path / "masks/astronaut.png"))
    expected = mask_from_logits(photograph_logits, (512, 512), MaskForm.STRETCHED)
    assert np.abs(mask.astype(int) - expected).max() <= MASK_TOLERANCE


def check_logits(artifact: Path, oracle: Oracle) -> None:
    """The artifact's answer to the oracle's own input is the oracle's."""
    images = dict(zip(("dino", "hiera"), inputs(SEED), strict=True))
    manifest = dsunet_runtime.read_manifest(artifact)
    with OnnxRuntimeBackend(artifact, manifest, Provider.CPU, None) as backend:
        logits = backend.infer({spec.name: images[spec.name] for spec in manifest.inputs})["logits"]
    fine = oracle.outputs[-1]
    expected = oracle.reference_maps()[f"{fine}_full"]
    errors = (logits - expected) / expected.std()
    largest = DECODER_TOLERANCE if oracle.has_peaked_attention(fine) else TOLERANCE
    assert np.abs(errors).max() <= largest
    assert np.sqrt(np.mean(errors**2)) <= DECODER_RMS_TOLERANCE


def run(command: str, *arguments: object) -> None:
    """Run one of our commands as a user would; its own messages show where the test fails."""
    program = Path(sys.executable).with_name(command)
    subprocess.run([program, *map(str, arguments)], check=True)
