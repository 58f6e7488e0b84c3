"""A trained run, and the files of the official encoders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dsunet import (
    CheckpointError,
    DSUNet,
    DSUNetConfig,
    Injection,
    load_encoders,
    load_model,
    random_model,
    save_model,
)
from dsunet.checkpoints import pretrained
from dsunet.network.input_sizes import resample_positions
from dsunet.network.model import build_empty
from tests.model.weights import NANO, State, dinov2_state, refusal, sam2_state, same


def test_only_trained_round_trip(nano: DSUNet, official: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "trained.safetensors"
    save_model(nano, path, only_trained=True)
    held = load_file(path)
    expected = {k for k in nano.state_dict() if not k.startswith(("hiera.trunk.", "dino."))}
    assert held.keys() == expected
    sam2, dinov2 = official
    same(load_model(path, sam2=sam2, dinov2=dinov2), nano)
    message = refusal(path)
    assert "SAM2 and DINOv2" in message
    assert "--sam2, --dinov2" in message
    refusal(path, sam2=sam2)


def test_only_trained_without_dinov2(tmp_path: Path) -> None:
    model = random_model(NANO.replace(injection=Injection.NONE))
    path, sam2 = tmp_path / "trained.safetensors", tmp_path / "sam2.pt"
    save_model(model, path, only_trained=True)
    torch.save({"model": sam2_state(model)}, sam2)
    same(load_model(path, sam2=sam2), model)
    with pytest.raises(CheckpointError, match="injection none"):
        load_model(path, sam2=sam2, dinov2=sam2)


@pytest.mark.parametrize("wrong", ["sam2", "dinov2"])
def test_other_encoders_than_those_trained_with_are_refused(
    wrong: str, nano: DSUNet, official: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "trained.safetensors"
    save_model(random_model(NANO, seed=9), path, only_trained=True)
    other = random_model(NANO, seed=9)
    sam2, dinov2 = official
    if wrong == "dinov2":
        torch.save({"model": sam2_state(other)}, sam2)
    else:
        torch.save(dinov2_state(other), dinov2)
    message = refusal(path, sam2=sam2, dinov2=dinov2)
    assert f"{wrong}.p" in message
    assert "is not the encoder" in message


def test_encoders_for_a_whole_checkpoint_are_refused(
    nano: DSUNet, official: tuple[Path, Path], tmp_path: Path
) -> None:
    save_model(nano, tmp_path / "own.safetensors")
    assert "includes its encoders" in refusal(tmp_path / "own.safetensors", sam2=official[0])


def test_official_encoders_into_a_fresh_model(
    nano: DSUNet, official: tuple[Path, Path], tmp_path: Path
) -> None:
    model = random_model(NANO, seed=5)
    adapter = model.hiera.adapters[0].state_dict()
    load_encoders(model, sam2=official[0], dinov2=official[1])
    for key, tensor in model.state_dict().items():
        if key.startswith(("hiera.trunk.", "dino.")):
            assert torch.equal(tensor, nano.state_dict()[key])
    assert all(torch.equal(adapter[k], v) for k, v in model.hiera.adapters[0].state_dict().items())
    assert not any(p.requires_grad for p in model.hiera.trunk.parameters())
    bare = tmp_path / "bare.pt"
    torch.save(nano.hiera.trunk.state_dict(), bare)
    load_encoders(random_model(NANO), sam2=bare, dinov2=official[1])


def test_position_embeddings_of_another_grid_are_resampled(
    nano: DSUNet, official: tuple[Path, Path]
) -> None:
    state = dinov2_state(nano, grid=37)
    torch.save(state, official[1])
    model = random_model(NANO)
    load_encoders(model, sam2=official[0], dinov2=official[1])
    assert model.dino is not None
    expected = resample_positions(state["pos_embed"], 16)
    assert torch.equal(model.dino.vit.pos_embed, expected)


def in_training(state: State) -> State:
    """A file of DINOv2's training: blocks in chunks of two, numbered consecutively, and heads."""

    def renamed(key: str) -> str:
        match = re.fullmatch(r"blocks\.(\d+)\.(.*)", key)
        return f"blocks.{int(match[1]) // 2}.{match[1]}.{match[2]}" if match else key

    heads = {"dino_head.mlp.0.weight": torch.zeros(2), "ibot_head.last.bias": torch.zeros(2)}
    return {f"backbone.{renamed(key)}": value for key, value in state.items()} | heads


@pytest.mark.parametrize("form", ["teacher", "both", "one state"])
def test_dinov2_as_its_own_training_writes_it(
    form: str, nano: DSUNet, other: DSUNet, official: tuple[Path, Path]
) -> None:
    teacher, student = in_training(dinov2_state(nano)), in_training(dinov2_state(other))
    if form == "teacher":  # eval/training_N/teacher_checkpoint.pth
        payload: dict[str, Any] = {"teacher": teacher}
    elif form == "both":
        payload = {"student": student, "teacher": teacher, "epoch": 3}
    else:
        both = {"teacher": teacher, "student": student}
        state = {f"{who}.{key}": v for who, tensors in both.items() for key, v in tensors.items()}
        payload = {"model": state, "iteration": 9}
    torch.save(payload, official[1])
    model = random_model(NANO, seed=5)
    notices: list[str] = []
    load_encoders(model, sam2=official[0], dinov2=official[1], notice=notices.append)
    assert model.dino is not None
    assert nano.dino is not None
    expected = nano.dino.vit.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in model.dino.vit.state_dict().items())
    place = "model." if form == "one state" else ""
    assert notices == (
        []
        if form == "teacher"
        else [
            f"{official[1]}: using the averaged weights {place}teacher.backbone "
            f"(not {place}student.backbone)"
        ]
    )


def test_two_encoders_without_distinct_names(nano: DSUNet, official: tuple[Path, Path]) -> None:
    state = nano.hiera.trunk.state_dict()
    torch.save({"a": state, "b": dict(state)}, official[0])
    with pytest.raises(CheckpointError, match=r"has a, b; save the one to use in a file of its"):
        load_encoders(random_model(NANO), sam2=official[0], dinov2=official[1])


@pytest.mark.parametrize(
    ("sam2", "dinov2", "message"),
    [
        ("dinov2.pth", "dinov2.pth", "dinov2.pth is not a SAM2 file"),
        ("sam2.pt", "sam2.pt", "sam2.pt is not a DINOv2 file"),
        ("wide.pt", "dinov2.pth", "wide.pt does not match .* encoder of preset tiny"),
        ("sam2.pt", "deep.pth", "deep.pth does not match .* preset base_plus and small"),
        ("extra.pt", "dinov2.pth", r"1 key unexpected \(blocks.99.x\)"),
        ("sam2.pt", "registers.pth", "registers"),
        ("missing.pt", "dinov2.pth", "missing.pt cannot be read: No such file"),
        ("timm:sam2_hiera_tiny", "dinov2.pth", "timm names are accepted for DINOv2 only"),
        ("sam2.pt", "timm:resnet50", "no DINOv2 named 'resnet50'; it has .*vit_large_patch14"),
        (None, "dinov2.pth", "needs SAM2 weights: give the official file as sam2"),
        ("sam2.pt", None, "as dinov2"),
    ],
)
def test_wrong_encoder_files(
    sam2: str | None,
    dinov2: str | None,
    message: str,
    nano: DSUNet,
    official: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    tiny, small = (build_empty(DSUNetConfig.preset(name)) for name in ("tiny", "small"))
    assert small.dino is not None
    wide = {k: torch.zeros_like(v, device="cpu") for k, v in tiny.hiera.trunk.state_dict().items()}
    deep = {k: torch.zeros_like(v, device="cpu") for k, v in small.dino.vit.state_dict().items()}
    torch.save(wide, tmp_path / "wide.pt")
    torch.save(deep, tmp_path / "deep.pth")
    extra = sam2_state(nano) | {"image_encoder.trunk.blocks.99.x": torch.zeros(1)}
    torch.save({"model": extra}, tmp_path / "extra.pt")
    registers = dinov2_state(nano) | {"register_tokens": torch.zeros(1, 4, 96)}
    torch.save(registers, tmp_path / "registers.pth")
    given = [name and (name if ":" in name else tmp_path / name) for name in (sam2, dinov2)]
    model = random_model(NANO)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoders(model, sam2=given[0], dinov2=given[1])
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_timm_name_is_loaded_through_timm(
    nano: DSUNet, official: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nano.dino is not None
    vit, asked = nano.dino.vit, []

    def create_model(name: str, *, pretrained: bool) -> Any:
        asked.append((name, pretrained))
        return vit

    monkeypatch.setattr(pretrained.timm, "create_model", create_model)
    model = random_model(NANO)
    name = "vit_large_patch14_dinov2.lvd142m"
    load_encoders(model, sam2=official[0], dinov2=f"timm:{name}")
    assert asked == [(name, True)]
    assert model.dino is not None
    assert torch.equal(model.dino.vit.pos_embed, vit.pos_embed)


def test_failing_download_is_one_line(
    official: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_model(name: str, *, pretrained: bool) -> Any:
        raise OSError("no route to host\nand a long story")

    monkeypatch.setattr(pretrained.timm, "create_model", create_model)
    with pytest.raises(CheckpointError) as caught:
        load_encoders(
            random_model(NANO), sam2=official[0], dinov2="timm:vit_small_patch14_dinov2.lvd142m"
        )
    assert str(caught.value) == (
        "timm cannot download vit_small_patch14_dinov2.lvd142m (no route to host and a long "
        "story): give a DINOv2 file instead"
    )
