"""The choice of the checkpoint in a run folder, and of the network in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dsunet import DSUNet, inspect_checkpoint, load_model, save_model
from tests.model.weights import public_state, refusal, same, under

# Several networks in one file.


@pytest.mark.parametrize(
    ("plain", "averaged"),
    [
        ("model", "ema"),
        ("state_dict", "state_dict_ema"),
        ("state_dict", "ema_state_dict"),
        ("model", "model_ema"),
        ("params", "params_ema"),
        ("student", "teacher"),
        ("net", "swa_model"),
        ("model", "EMA"),
    ],
)
def test_the_average_is_taken_with_a_notice_and_the_other_can_be_chosen(
    plain: str, averaged: str, nano: DSUNet, other: DSUNet, tmp_path: Path
) -> None:
    path = tmp_path / "both.pth"
    torch.save({plain: public_state(nano), averaged: public_state(other)}, path)
    notices: list[str] = []
    same(load_model(path, notice=notices.append), other)
    (line,) = notices
    assert line == (f"{path}: using the averaged weights {averaged} (--weights {plain})")
    notices.clear()
    same(load_model(path, weights=plain, notice=notices.append), nano)
    assert not notices
    info = inspect_checkpoint(path)
    assert (info.weights, info.choices) == (averaged, [plain, averaged])
    assert inspect_checkpoint(path, weights=plain).weights == plain


def test_two_networks_in_one_state_of_lightning(
    nano: DSUNet, other: DSUNet, tmp_path: Path
) -> None:
    path = tmp_path / "both.ckpt"
    state = under("model.", public_state(nano)) | under("ema.module.", public_state(other))
    torch.save({"state_dict": state}, path)
    assert inspect_checkpoint(path).choices == ["state_dict.model", "state_dict.ema"]
    same(load_model(path), other)
    same(load_model(path, weights="state_dict.model"), nano)
    same(load_model(path, weights="model"), nano)  # the part of the name that differs


def test_a_network_beside_another_in_the_file_itself(
    nano: DSUNet, other: DSUNet, tmp_path: Path
) -> None:
    path = tmp_path / "both.pth"
    torch.save(public_state(nano) | under("ema.", public_state(other)), path)
    same(load_model(path), other)
    same(load_model(path, weights="."), nano)


def test_networks_without_distinct_names(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "both.pth"
    state = public_state(nano)
    torch.save({"first": state, "second": dict(state)}, path)
    assert refusal(path) == (
        f"{path} is ambiguous: it has first, second; choose one, for example with --weights first"
    )
    assert refusal(path, weights="third") == (
        f"{path} has no weights 'third': it has first, second"
    )
    same(load_model(path, weights="second"), nano)


def test_the_same_key_twice_but_for_a_wrapper(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "twice.pth"
    state = public_state(nano)
    torch.save(state | {"module.head.bias": torch.zeros(1)}, path)
    assert "has the key 'head.bias' twice" in refusal(path)


# The folder of a run.


def test_run_folder_stands_for_its_best_checkpoint(
    nano: DSUNet, other: DSUNet, tmp_path: Path
) -> None:
    save_model(other, tmp_path / "checkpoint.safetensors")
    notices: list[str] = []
    same(load_model(tmp_path, notice=notices.append), other)
    save_model(nano, tmp_path / "best.safetensors")
    same(load_model(tmp_path, notice=notices.append), nano)
    assert notices == [
        f"{tmp_path}: using checkpoint.safetensors",
        f"{tmp_path}: using best.safetensors",
    ]
    assert inspect_checkpoint(tmp_path).path == str(tmp_path / "best.safetensors")
