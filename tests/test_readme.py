"""The README's commands work as printed, with `nano` in the place of the files that users bring."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dsunet import DSUNetConfig, random_model
from dsunet.public_layout import public_key

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
USERS_FILES = ("model.pth", "sam2.1_hiera_large.pt", "dinov2_vitl14_pretrain.pth")
SETS_UP_EVERYTHING = ("make demo", "make test")
"""Run on a clean clone by .ci/run and by hand; here they would run the tests from the tests."""


def commands() -> list[str]:
    """The lines of the README's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = (line.partition("#")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line and line not in SETS_UP_EVERYTHING]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user would have: the clone's pictures, and weight files under the README's names."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "assets").symlink_to(ROOT / "assets")
    state = random_model(DSUNetConfig.preset("nano")).state_dict()
    public = {public_key(key): tensor for key, tensor in state.items()}
    torch.save(public, folder / USERS_FILES[0])
    trunk = {k: v for k, v in state.items() if k.startswith("hiera.trunk.")}
    sam2 = {k.replace("hiera.trunk.", "image_encoder.trunk."): v for k, v in trunk.items()}
    torch.save({"model": sam2}, folder / USERS_FILES[1])
    vit = {k.removeprefix("dino.vit."): v for k, v in state.items() if k.startswith("dino.vit.")}
    vit["mask_token"] = torch.zeros(1, vit["cls_token"].shape[-1])
    torch.save(vit, folder / USERS_FILES[2])
    return folder


def run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr}"
    return result.stdout


def test_commands_in_their_order(folder: Path) -> None:
    lines = commands()
    assert {line.split()[0] for line in lines} == {"dsunet", "dsunet-export", "dsunet-run"}
    for line in lines:
        run(shlex.split(line), folder)
    mask = np.asarray(Image.open(folder / "masks/astronaut.png"))
    assert (mask.shape, mask.dtype) == ((512, 512), np.uint8)
    assert (folder / "dsunet.onnx").is_file()

    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    run([sys.executable, "-c", example + "\nassert mask.shape == (512, 512)"], folder)


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
