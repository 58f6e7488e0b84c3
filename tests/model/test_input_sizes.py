"""Models at other input sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dsunet import (
    CheckpointError,
    ConfigError,
    DSUNet,
    DSUNetConfig,
    Injection,
    inspect_checkpoint,
    load_model,
    random_model,
    resize_inputs,
    save_model,
)
from dsunet.network.config import Decoder
from dsunet.network.input_sizes import POSITIONS, resample_positions
from dsunet.network.model import build_empty
from tests.model.weights import NANO, dinov2_state, sam2_state


def cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' convolution kernel with a = -0.75, the one of bicubic resampling in PyTorch."""
    x, a = abs(distance), -0.75
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def interpolation(old: int, new: int) -> NDArray[np.float64]:
    """The weights new×old of DINOv2's resampling along one axis: its offset, no antialiasing."""
    weights = np.zeros((new, old))
    for target in range(new):
        source = (target + 0.5) * old / (new + 0.1) - 0.5
        for tap in range(int(np.floor(source)) - 1, int(np.floor(source)) + 3):
            weights[target, np.clip(tap, 0, old - 1)] += cubic(np.array(source - tap))
    return weights


@pytest.mark.parametrize(("old", "new"), [(37, 19), (16, 8), (16, 12), (7, 16), (16, 1)])
def test_positions_are_resampled_as_dinov2_does(old: int, new: int) -> None:
    embeddings = torch.randn(1, 1 + old * old, 5, generator=torch.Generator().manual_seed(0))
    found = resample_positions(embeddings, new)
    grid = embeddings[0, 1:].double().numpy().reshape(old, old, 5)
    weights = interpolation(old, new)
    expected = np.einsum("ai,bj,ijd->abd", weights, weights, grid).reshape(new * new, 5)
    assert torch.equal(found[:, :1], embeddings[:, :1])
    np.testing.assert_allclose(found[0, 1:], expected, atol=1e-6)
    without_offset = F.interpolate(
        torch.from_numpy(grid).permute(2, 0, 1)[None], (new, new), mode="bicubic"
    )
    assert abs(without_offset[0].flatten(1).T.numpy() - expected).max() > 1e-3


def test_the_same_grid_is_left_as_it_is() -> None:
    embeddings = torch.randn(1, 17, 3)
    assert resample_positions(embeddings, 4) is embeddings


def test_hiera_is_that_of_sam2(nano: DSUNet) -> None:
    """SAM2's own forward pass of the trunk at another size, without adapters."""
    resized = resize_inputs(nano, hiera_size=128)
    for adapter in resized.hiera.adapters:
        adapter.forward = lambda x: x
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = nano.hiera.trunk(image)
        found = resized.hiera(image)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("decoder", Decoder)
@pytest.mark.parametrize("injection", Injection)
def test_no_other_weight_depends_on_a_size(injection: Injection, decoder: Decoder) -> None:
    own = NANO.replace(injection=injection, decoder=decoder)
    dino = {} if injection is Injection.NONE else {"dino_size": 56}
    shapes = [
        {key: tensor.shape for key, tensor in build_empty(config).state_dict().items()}
        for config in (own, own.resized(hiera_size=256, **dino))
    ]
    assert shapes[0].keys() == shapes[1].keys()
    different = {key for key in shapes[0] if shapes[0][key] != shapes[1][key]}
    assert different == ({POSITIONS} if dino else set())


def test_a_resized_model(tmp_path: Path) -> None:
    nano = random_model(NANO, seed=1).eval()
    resized = resize_inputs(nano, hiera_size=128, dino_size=112)
    assert resized.config.input_sizes == {"hiera": 128, "dino": 112}
    assert not resized.training
    assert [p.requires_grad for p in resized.parameters()] == [
        p.requires_grad for p in nano.parameters()
    ]
    inputs = torch.randn(1, 3, 128, 128), torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        logits = resized(*inputs).fine
    assert logits.shape == (1, 1, 128, 128)
    save_model(resized, tmp_path / "resized.safetensors")
    again = load_model(tmp_path / "resized.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(again(*inputs).fine, logits, rtol=0, atol=1e-5)
    info = inspect_checkpoint(tmp_path / "resized.safetensors")
    assert (info.preset, info.input_sizes) == ("nano", {"hiera": 128, "dino": 112})
    assert again.config.describe() == "preset nano with inputs of 128 (hiera) and 112 (dino) pixels"
    with pytest.raises(CheckpointError, match=r"holds preset nano with inputs of 128 .*, not pres"):
        load_model(tmp_path / "resized.safetensors", config=NANO)


def test_sizes_of_loading(nano: DSUNet, tmp_path: Path) -> None:
    save_model(nano, tmp_path / "own.safetensors")
    loaded = load_model(tmp_path / "own.safetensors", dino_size=112)
    assert loaded.config == NANO.resized(dino_size=112)
    expected = resize_inputs(nano, dino_size=112).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in loaded.state_dict().items())


def test_without_the_encoders(tmp_path: Path) -> None:
    """Trained weights of another size load with the official files, also after a second change."""
    original = random_model(NANO, seed=3)
    sam2, dinov2 = tmp_path / "sam2.pt", tmp_path / "dinov2.pth"
    torch.save({"model": sam2_state(original)}, sam2)
    torch.save(dinov2_state(original), dinov2)
    path = tmp_path / "trained.safetensors"
    save_model(original, path, only_trained=True)
    for size in (112, 168):
        model = load_model(path, sam2=sam2, dinov2=dinov2, dino_size=size)
        expected = resample_positions(original.state_dict()[POSITIONS], size // 14)
        assert torch.equal(model.state_dict()[POSITIONS], expected)
        path = tmp_path / f"trained{size}.safetensors"
        save_model(model, path, only_trained=True)
        assert load_model(path, sam2=sam2, dinov2=dinov2).config.dino.image_size == size


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"dino_size": 270},
            "DINOv2's input is 270: it must be a multiple of 14, such as 266 or 280",
        ),
        ({"dino_size": 5}, "is 5: it must be a multiple of 14, such as 14$"),
        (
            {"hiera_size": 170},
            "Hiera's input is 170: it must be a multiple of 32, such as 160 or 192",
        ),
        ({"hiera_size": 96}, "gives CGA a map of 3, .* choose 128 or more"),
        ({"hiera_size": 8192}, "hiera.image_size has 8,192: it must be from 1 to 4,096"),
    ],
)
def test_sizes_that_do_not_fit(nano: DSUNet, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resize_inputs(nano, **sizes)


def test_a_size_for_an_encoder_that_is_not_there() -> None:
    model = random_model(NANO.replace(injection=Injection.NONE))
    with pytest.raises(ConfigError, match="has no DINOv2"):
        resize_inputs(model, dino_size=112)
    assert resize_inputs(model, hiera_size=128).config.input_sizes == {"hiera": 128}


def test_windows_decide_which_sizes_fit() -> None:
    config = DSUNetConfig.preset("tiny")
    assert config.hiera.size_step == 32
    wide = config.replace(hiera=type(config.hiera)(image_size=384, window_sizes=(12, 4, 14, 7)))
    with pytest.raises(ConfigError, match="multiple of 96, such as 288 or 384"):
        wide.resized(hiera_size=352)
