"""Loading of every kind of weight file that users have, made here at the size of `nano`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dsunet import (
    CheckpointError,
    DSUNet,
    Injection,
    checkpoint_sha256,
    inspect_checkpoint,
    load_model,
    random_model,
    save_model,
)
from dsunet.checkpoints.public_layouts import DSU_NET
from tests.model.weights import NANO, State, public_state, refusal, same, under

PUBLIC_FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state},
    "model": lambda state: {"model": state},
    "any name": lambda state: {"epoch": 1, "run": {"what I trained": state}},
    "module.": lambda state: under("module.", state),
    "_orig_mod.": lambda state: under("_orig_mod.", state),
    "module._orig_mod.": lambda state: under("module._orig_mod.", state),
    "_orig_mod.module.": lambda state: under("_orig_mod.module.", state),
    "a compiled part": lambda state: {
        key.replace("backbone_sam.", "backbone_sam._orig_mod."): v for key, v in state.items()
    },
    "fsdp": lambda state: under("_fsdp_wrapped_module.", state),
    "net.": lambda state: under("net.", state),
    "Lightning": lambda state: {
        "state_dict": under("model.", state) | {"loss.weight": torch.ones(2)}, "loops": {"a": 1}
    },
    "AveragedModel": lambda state: {"n_averaged": torch.tensor(5)} | under("module.", state),
    "AveragedModel of a Lightning module": lambda state: {
        "state_dict": under("ema_model.module.", state) | {"ema_model.n_averaged": torch.tensor(5)}
    },
    "training": lambda state: {
        "epoch": 3, "model": under("module.", state), "optimizer": {"state": {}, "lr": 1e-3}
    },
    "beside values": lambda state: {"epoch": 3, **state},
    "optimizer by name": lambda state: {
        "model": state, "optimizer": {"state": {key: {"exp_avg": v} for key, v in state.items()}}
    },
    "no counters": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
    "no constants": lambda state: {
        k: v for k, v in state.items() if k not in (*DSU_NET.haar_filters, DSU_NET.unused[0])
    },
}  # fmt: skip


@pytest.mark.parametrize("form", PUBLIC_FORMS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_published_checkpoint(form: str, zipped: bool, nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    payload = PUBLIC_FORMS[form](public_state(nano))
    torch.save(payload, path, _use_new_zipfile_serialization=zipped)
    notices: list[str] = []
    model = load_model(path, notice=notices.append)
    same(model, nano)
    assert not notices
    assert model.config == NANO
    assert not model.training
    trained = {k for k, p in model.named_parameters() if p.requires_grad}
    assert trained == {k for k, p in nano.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("form", ["own", "double"])
def test_numbers_that_are_not_finite_are_reported(
    value: float, form: str, nano: DSUNet, tmp_path: Path
) -> None:
    model, path = random_model(NANO), tmp_path / "broken.pth"
    with torch.no_grad():
        model.heads[2].bias.fill_(value)  # type: ignore[union-attr, operator]
    if form == "own":
        save_model(model, path)
    else:  # finite where it was written, and not in float32
        state = {k: v.double() for k, v in model.state_dict().items()}
        state["heads.2.bias"].fill_(1e300)
        torch.save(state, path)
    notices: list[str] = []
    load_model(path, notice=notices.append)
    assert notices == [f"{path}: has NaN or infinity in heads.2.bias: its masks are not meaningful"]
    assert inspect_checkpoint(path).not_finite == ["heads.2.bias"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in public_state(nano).items()}
    torch.save(state, path)
    model = load_model(path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    same(model, nano, tolerance=1e-2)


def test_halved_to_the_last_counter(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save({k: v.half() for k, v in public_state(nano).items()}, path)
    state = load_model(path).state_dict()
    assert {v.dtype for k, v in state.items() if k.endswith("tracked")} == {torch.int64}


def test_published_checkpoint_as_safetensors(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "public.safetensors"
    save_file(public_state(nano), path)
    same(load_model(path), nano)


@pytest.mark.parametrize("injection", Injection)
def test_own_format_round_trip(injection: Injection, tmp_path: Path) -> None:
    model = random_model(NANO.replace(injection=injection), seed=3)
    path = tmp_path / "own.safetensors"
    save_model(model, path)
    again = load_model(path)
    same(again, model)
    assert again.config == model.config
    same(load_model(path, config=model.config), model)
    assert [file.name for file in tmp_path.iterdir()] == ["own.safetensors"]


def test_loaded_model_computes_the_same(nano: DSUNet, tmp_path: Path) -> None:
    save_model(nano, tmp_path / "own.safetensors")
    again = load_model(tmp_path / "own.safetensors")
    hiera, dino = torch.randn(1, 3, 160, 160), torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        before, after = nano(hiera, dino).fine, again(hiera, dino).fine
    torch.testing.assert_close(before, after, atol=1e-3, rtol=1e-3)


def test_saving_over_the_file_that_a_model_is_mapped_from(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_model(nano, path)
    model = load_model(path)
    save_model(model, path)
    same(load_model(path), nano)
    same(model, nano)


def test_who_may_read_it_is_up_to_the_umask(nano: DSUNet, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    path = tmp_path / "own.safetensors"
    save_model(nano, path)
    assert path.stat().st_mode == other.stat().st_mode


def test_failed_save_leaves_the_old_file(nano: DSUNet, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_model(nano, tmp_path / "missing" / "own.safetensors")


KILLED = """
import os, signal, sys
from pathlib import Path
from dsunet import demonstration_checkpoint, load_model, save_model
from dsunet.checkpoints import weight_files

def save_half(tensors, path, metadata):
    path.write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)

weight_files.save_file = save_half
save_model(load_model(demonstration_checkpoint()), Path(sys.argv[1]) / "own.safetensors")
"""


def test_what_a_killed_save_leaves_is_cleared_by_the_next(nano: DSUNet, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".dsunet-")
    save_model(nano, tmp_path / "own.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["own.safetensors"]


@pytest.mark.parametrize("injection", [Injection.LAST, Injection.NONE])
def test_state_of_ours_without_metadata(injection: Injection, tmp_path: Path) -> None:
    model = random_model(NANO.replace(injection=injection))
    path = tmp_path / "state.pth"
    torch.save({"model": model.state_dict(), "epoch": 1}, path)
    same(load_model(path), model)


def test_levels_and_all_have_the_same_keys(tmp_path: Path) -> None:
    model = random_model(NANO.replace(injection=Injection.ALL))
    path = tmp_path / "state.pth"
    torch.save(model.state_dict(), path)
    assert "its keys match injection levels and all" in refusal(path)
    same(load_model(path, config=model.config), model)


def test_inspection_agrees_between_forms(nano: DSUNet, tmp_path: Path) -> None:
    """The encoders' hashes depend on their values alone."""
    files = [tmp_path / name for name in ("public.pth", "own.safetensors", "trained.safetensors")]
    torch.save(public_state(nano), files[0])
    save_model(nano, files[1])
    save_model(nano, files[2], only_trained=True)
    public, own, trained = map(inspect_checkpoint, files)
    assert (public.layout, own.layout, trained.layout) == ("public", "dsunet", "dsunet")
    assert (public.content, own.content, trained.content) == ("whole", "whole", "trained")
    assert public.encoders == own.encoders == trained.encoders
    assert public.encoders.keys() == {"hiera", "dino"}
    for info, file in zip((public, own, trained), files, strict=True):
        assert (info.preset, info.injection, info.dtype) == ("nano", "last", "float32")
        assert info.parameters == sum(p.numel() for p in nano.parameters())
        assert info.trained_parameters == 608_718
        assert info.sha256 == checkpoint_sha256(file)
        assert info.size == file.stat().st_size
