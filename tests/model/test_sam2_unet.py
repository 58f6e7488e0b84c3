"""SAM2-UNet's checkpoints: recognised by their keys, and loaded by the same functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from dsunet import (
    DSUNet,
    DSUNetConfig,
    Injection,
    inspect_checkpoint,
    load_encoders,
    load_model,
    random_model,
    save_model,
)
from dsunet.cli import app
from dsunet.network.config import Decoder
from tests.model.weights import (
    NANO,
    State,
    public_state,
    refusal,
    sam2_state,
    sam2_unet_state,
    same,
    under,
)

CONFIG = NANO.replace(injection=Injection.NONE, decoder=Decoder.UNET)


@pytest.fixture(scope="module")
def model() -> DSUNet:
    return random_model(CONFIG, seed=3)


FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "without the fourth stage": lambda state: {k: v for k, v in state.items() if "up4" not in k},
    "model, module.": lambda state: {"epoch": 20, "model": under("module.", state)},
    "Lightning, compiled": lambda state: {"state_dict": under("net._orig_mod.", state)},
    "halved": lambda state: {k: v.half() for k, v in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_published_checkpoint(form: str, model: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "SAM2-UNet.pth"
    torch.save(FORMS[form](sam2_unet_state(model)), path)
    notices: list[str] = []
    loaded = load_model(path, notice=notices.append)
    same(loaded, model, tolerance=1e-2 if form == "halved" else 0)
    assert loaded.config == CONFIG
    assert not notices
    info = inspect_checkpoint(path)
    assert (info.network, info.layout, info.preset) == ("SAM2-UNet", "public", "nano")
    assert (info.injection, info.decoder) == ("none", "unet")
    assert info.encoders.keys() == {"hiera"}


def test_of_several_networks_in_a_file_one_is_chosen_by_name(
    model: DSUNet, nano: DSUNet, tmp_path: Path
) -> None:
    path = tmp_path / "both.pth"
    torch.save({"parent": sam2_unet_state(model), "child": public_state(nano)}, path)
    assert "it has parent, child" in refusal(path)
    same(load_model(path, weights="parent"), model)
    same(load_model(path, weights="child"), nano)


def test_own_format_whole_and_trained_only(model: DSUNet, tmp_path: Path) -> None:
    whole, trained, sam2 = (tmp_path / name for name in ("w.safetensors", "t.safetensors", "s.pt"))
    save_model(model, whole)
    same(load_model(whole), model)
    save_model(model, trained, only_trained=True)
    torch.save({"model": sam2_state(model)}, sam2)
    same(load_model(trained, sam2=sam2), model)
    assert "give the official files of SAM2 as well" in refusal(trained)


def test_own_keys_without_metadata(model: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(model.state_dict(), path)
    assert load_model(path).config == CONFIG


def test_official_encoder(model: DSUNet, tmp_path: Path) -> None:
    torch.save({"model": sam2_state(model)}, tmp_path / "sam2.pt")
    fresh = DSUNet(CONFIG)
    load_encoders(fresh, sam2=tmp_path / "sam2.pt")
    ours, theirs = (one.hiera.trunk.state_dict() for one in (fresh, model))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_wrong_expectation_is_named(model: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    torch.save(sam2_unet_state(model), path)
    message = refusal(path, config=NANO)
    assert (
        "has the keys of SAM2-UNet's published code, which supports only injection none" in message
    )
    path = tmp_path / "own.safetensors"
    save_model(model, path)
    message = refusal(path, config=NANO)
    assert message.endswith("holds SAM2-UNet, preset nano, not preset nano")


def test_a_missing_tensor_is_named(model: DSUNet, tmp_path: Path) -> None:
    state = sam2_unet_state(model)
    del state["up2.conv.double_conv.3.weight"]
    torch.save(state, tmp_path / "public.pth")
    message = refusal(tmp_path / "public.pth")
    assert "compared with SAM2-UNet, preset nano" in message
    assert "up2.conv.double_conv.3.weight" in message


def test_gradients_are_for_what_the_paper_trains(model: DSUNet) -> None:
    trained = {key.split(".")[0] for key, p in model.named_parameters() if p.requires_grad}
    assert trained == {"hiera", "rfb", "unet", "heads"}
    adapters = {key for key, p in model.hiera.named_parameters() if p.requires_grad}
    assert {key.split(".")[0] for key in adapters} == {"adapters"}


def test_every_stage_reads_both_maps(model: DSUNet) -> None:
    maps = [torch.rand(1, c, s, s) for c, s in zip(
        CONFIG.hiera.channels, CONFIG.hiera.map_sizes, strict=True
    )]  # fmt: skip
    with torch.inference_mode():
        plain = model.decode(maps, (160, 160)).fine
        for level in range(4):
            changed = [m + (k == level) for k, m in enumerate(maps)]
            assert not torch.allclose(model.decode(changed, (160, 160)).fine, plain)


def test_on_the_command_line(model: DSUNet, tmp_path: Path) -> None:
    public, own = tmp_path / "public.pth", tmp_path / "own.safetensors"
    torch.save(sam2_unet_state(model), public)
    result = CliRunner().invoke(app, ["inspect", str(public)])
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["format"] == "the published code of SAM2-UNet, whole model"
    assert (lines["network"], lines["decoder"]) == ("SAM2-UNet", "unet")
    result = CliRunner().invoke(app, ["convert", str(public), "-o", str(own)])
    assert result.exit_code == 0, result.output
    same(load_model(own), model)


def test_presets_are_named_in_full() -> None:
    large = DSUNetConfig()
    assert large.describe() == "preset large"
    assert large.replace(injection=Injection.NONE).describe() == "preset large, injection none"
    assert large.replace(decoder=Decoder.UNET).describe() == "preset large, decoder unet"
    assert CONFIG.describe() == "SAM2-UNet, preset nano"
