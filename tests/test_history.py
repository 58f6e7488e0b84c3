"""Files that earlier commits of this project wrote are read, or refused with the right remedy.

`tests/data/history/README.md` says which commit wrote each, `docs/formats.md` what is read.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

import dsunet_runtime
from dsunet import CheckpointError, TrainingError, inspect_checkpoint, load_model
from dsunet.network.config import Decoder
from dsunet.training.run_folder import RunFolder
from dsunet.training.state import load_state
from dsunet_export.manifest_text import describe_manifest
from dsunet_runtime import ArtifactError, read_manifest

HISTORY = Path(__file__).parent / "data/history"
EXPECTED = np.load(HISTORY / "expected.npz")
EXPORT_AGAIN = r"format version 1 and this dsunet_runtime reads 2: export \(or build\) again with"


def unpack(name: str, path: Path) -> Path:
    path.write_bytes(lzma.decompress((HISTORY / f"{name}.xz").read_bytes()))
    return path


def wave(*shape: int) -> NDArray[np.float32]:
    """Numbers in [-1, 1] that no version of a library draws otherwise."""
    numbers: NDArray[np.float32] = np.sin(np.arange(np.prod(shape)) * 0.37).astype(np.float32)
    return numbers.reshape(shape)


@pytest.mark.parametrize(
    ("commit", "is_verified"), [("ce34eaf", False), ("204570c", False), ("1cfb9e1", True)]
)
def test_checkpoints(commit: str, is_verified: bool, tmp_path: Path) -> None:
    path = unpack(f"{commit}-checkpoint.safetensors", tmp_path / "old.safetensors")
    assert inspect_checkpoint(path).is_verified is is_verified
    model = load_model(path)
    inputs = (torch.from_numpy(wave(1, 3, side, side)) for side in (128, 28))
    with torch.no_grad():
        logits = model(*inputs).fine[0, 0, ::8, ::8]
    np.testing.assert_allclose(logits, EXPECTED["logits"], atol=1e-5)


def test_a_checkpoint_from_before_four_keys_were_renamed(tmp_path: Path) -> None:
    path = unpack("16d440c-checkpoint.safetensors", tmp_path / "old.safetensors")
    match = r"4 keys missing \(.*channel_attention\.0\.weight.*; convert the original file again$"
    with pytest.raises(CheckpointError, match=match):
        load_model(path)


@pytest.mark.parametrize("name", ["7024730-tensors.onnx", "ce34eaf-frames-fp16.onnx"])
def test_onnx_files_of_manifest_1(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=EXPORT_AGAIN):
        read_manifest(unpack(name, tmp_path / "old.onnx"))


@pytest.mark.parametrize("name", ["frames", "tensors-int8"])
def test_onnx_files_of_manifest_2(name: str, tmp_path: Path) -> None:
    path = unpack(f"7ac82db-{name}.onnx", tmp_path / "old.onnx")
    image = (wave(24, 32, 3) * 127 + 128).astype(np.uint8)
    with dsunet_runtime.load(path) as segmenter:
        difference = segmenter(image).astype(int) - EXPECTED[name.replace("-", "_")]
    assert abs(difference).max() <= 1
    text = describe_manifest(read_manifest(path))
    assert "random (seed 1)" in text
    assert ("matrix multiplications of the encoders" in text) is ("int8" in name)


def test_an_engine_of_manifest_1(tmp_path: Path) -> None:
    (tmp_path / "old.engine").touch()
    unpack("ce34eaf-engine.json", tmp_path / "old.engine.json")
    with pytest.raises(ArtifactError, match=EXPORT_AGAIN):
        read_manifest(tmp_path / "old.engine")


def test_an_engine_of_manifest_2(tmp_path: Path) -> None:
    (tmp_path / "old.engine").touch()
    unpack("7ac82db-engine.json", tmp_path / "old.engine.json")
    manifest = read_manifest(tmp_path / "old.engine")
    assert manifest.engine is not None
    assert manifest.engine.compute_capabilities == ("8.9",)
    assert manifest.engine.precision_report.weight_bytes > 0
    assert "TensorRT for RTX" in describe_manifest(manifest)


def test_a_run_of_version_1(tmp_path: Path) -> None:
    unpack("f5d9144-config.json", tmp_path / "config.json")
    with pytest.raises(
        TrainingError, match=r"has version 1.*: resume the run with the dsunet that"
    ):
        RunFolder(tmp_path).read_config()


def test_a_run_of_version_3(tmp_path: Path) -> None:
    unpack("dd06c78-config.json", tmp_path / "config.json")
    options = RunFolder(tmp_path).read_config().options
    assert (options.dino_loss, options.blend_hiera) == (0.5, 0)
    unpack("dd06c78-config-dropped.json", tmp_path / "config.json")
    with pytest.raises(TrainingError, match=r"drop_hiera.*resume the run with the dsunet that"):
        RunFolder(tmp_path).read_config()


def test_a_run_of_version_4(tmp_path: Path) -> None:
    unpack("c37311a-config.json", tmp_path / "config.json")
    options = RunFolder(tmp_path).read_config().options
    assert (options.dino_loss, options.blend_hiera, options.mismatch) == (0.5, 0.25, 0)


def test_a_run_of_version_5(tmp_path: Path) -> None:
    unpack("e273370-config.json", tmp_path / "config.json")
    config = RunFolder(tmp_path).read_config()
    assert config.options.mismatch == 0.125
    assert config.options.config == config.model
    assert config.model.decoder is Decoder.SFF
    assert (config.options.hiera_size, config.options.dino_size) == (None, None)


def test_a_run_of_version_2(tmp_path: Path) -> None:
    unpack("1cfb9e1-config.json", tmp_path / "config.json")
    config = RunFolder(tmp_path).read_config()
    assert config.model == config.options.config
    assert (config.options.batch, config.options.deep_supervision) == (4, (0.25, 0.5, 1.0))
    assert (config.data.pairs, config.versions["dsunet"]) == (4, "0.1.0")

    assert (config.options.dino_loss, config.options.blend_hiera) == (0, 0)  # there were none

    model = torch.nn.Linear(2, 1)
    network = SimpleNamespace(model=model, extra_state=dict)
    optimizer = torch.optim.AdamW(model.parameters())
    state = unpack("1cfb9e1-state.pt", tmp_path / "state.pt")
    fabric = Fabric(accelerator="cpu", devices=1)
    position = load_state(state, config.run, network, optimizer, fabric)  # type: ignore[arg-type]
    assert (position.epoch, position.step, position.best) == (1, 2, 0.7)
    assert position.log == [{"epoch": 1.0, "loss": 0.5, "lr": 1e-3}]
    assert len(optimizer.state) == 2
