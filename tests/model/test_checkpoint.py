"""Every weight file that users have, made here at `nano`'s size (or `tiny`'s, for wrong ones)."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from dsunet import (
    CheckpointError,
    DSUNet,
    DSUNetConfig,
    Injection,
    checkpoint_sha256,
    inspect_checkpoint,
    load_encoders,
    load_model,
    pretrained,
    random_model,
    save_model,
)
from dsunet.checkpoint import METADATA_KEY
from dsunet.model import build_empty
from dsunet.public_layout import HAAR_KEYS, MASK_TOKEN_KEY, public_key

State = dict[str, Tensor]
NANO = DSUNetConfig.preset("nano")


def public_state(model: DSUNet) -> State:
    """What the published code's `torch.save(model.state_dict())` would hold."""
    state = {public_key(key): tensor for key, tensor in model.state_dict().items()}
    filters = model.get_buffer("inject.3.wavelet.depthwise.filters")
    state |= {key: filters.clone() for key in HAAR_KEYS}
    return state | {MASK_TOKEN_KEY: torch.zeros(1, model.config.dino.embed_dim)}


def sam2_state(model: DSUNet) -> State:
    """An official SAM2 file's, with some of the keys that DSU-Net has no use for."""
    trunk = model.hiera.trunk.state_dict()
    others = {"memory_encoder.x": torch.zeros(2), "image_encoder.neck.convs.0": torch.zeros(2)}
    return {f"image_encoder.trunk.{key}": value for key, value in trunk.items()} | others


def dinov2_state(model: DSUNet, grid: int | None = None) -> State:
    """An official DINOv2 file's."""
    assert model.dino is not None
    state: State = dict(model.dino.vit.state_dict())
    if grid is not None:
        state["pos_embed"] = torch.randn(1, grid * grid + 1, model.config.dino.embed_dim)
    return state | {"mask_token": torch.zeros(1, model.config.dino.embed_dim)}


def same(a: DSUNet, b: DSUNet, *, tolerance: float = 0) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[key], atol=tolerance, rtol=tolerance)


def refusal(path: Path, **options: Any) -> str:
    """The message of the CheckpointError that loading raises: one line that names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_model(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    assert str(path) in message
    return message


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published-code checkpoint of `tiny`, all zeros: only its shapes are read here."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.pth"
    model = build_empty(DSUNetConfig.preset("tiny"))
    model.load_state_dict({k: torch.zeros_like(v, device="cpu") for k, v in
                           model.state_dict().items()}, assign=True)  # fmt: skip
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in
                public_state(model).items()}, path)  # fmt: skip
    return path


@pytest.fixture
def official(nano: DSUNet, tmp_path: Path) -> tuple[Path, Path]:
    """SAM2's and DINOv2's files with the encoders of `nano`."""
    sam2, dinov2 = tmp_path / "sam2.pt", tmp_path / "dinov2.pth"
    torch.save({"model": sam2_state(nano)}, sam2)
    torch.save(dinov2_state(nano), dinov2)
    return sam2, dinov2


def parallel(state: State) -> State:
    return {f"module.{key}": value for key, value in state.items()}


PUBLIC_FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state},
    "model": lambda state: {"model": state},
    "module.": parallel,
    "training": lambda state: {
        "epoch": 3, "model": parallel(state), "optimizer": {"state": {}, "lr": 1e-3}, "name": "x"
    },
    "no counters": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
    "no constants": lambda state: {
        k: v for k, v in state.items() if k not in (*HAAR_KEYS, MASK_TOKEN_KEY)
    },
}  # fmt: skip


@pytest.mark.parametrize("form", PUBLIC_FORMS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_published_checkpoint(form: str, zipped: bool, nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    payload = PUBLIC_FORMS[form](public_state(nano))
    torch.save(payload, path, _use_new_zipfile_serialization=zipped)
    model = load_model(path)
    same(model, nano)
    assert model.config == NANO
    assert not model.training
    trained = {k for k, p in model.named_parameters() if p.requires_grad}
    assert trained == {k for k, p in nano.named_parameters() if p.requires_grad}


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


@pytest.mark.parametrize("injection", [Injection.LAST, Injection.NONE])
def test_state_of_ours_without_metadata(injection: Injection, tmp_path: Path) -> None:
    model = random_model(NANO.replace(injection=injection))
    path = tmp_path / "state.pth"
    torch.save({"model": model.state_dict(), "epoch": 1}, path)
    same(load_model(path), model)


def test_levels_and_all_cannot_be_told_apart_by_keys(tmp_path: Path) -> None:
    model = random_model(NANO.replace(injection=Injection.ALL))
    path = tmp_path / "state.pth"
    torch.save(model.state_dict(), path)
    assert "levels or all" in refusal(path)
    same(load_model(path, config=model.config), model)


# What was trained, and the official encoders.


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
    assert "its own encoders" in refusal(tmp_path / "own.safetensors", sam2=official[0])


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
    expected = resample_abs_pos_embed(state["pos_embed"], [16, 16], [37, 37])
    assert torch.equal(model.dino.vit.pos_embed, expected)


@pytest.mark.parametrize(
    ("sam2", "dinov2", "message"),
    [
        ("dinov2.pth", "dinov2.pth", "dinov2.pth is no SAM2 file"),
        ("sam2.pt", "sam2.pt", "sam2.pt is no DINOv2 file"),
        ("wide.pt", "dinov2.pth", "wide.pt does not fit .* encoder of preset tiny"),
        ("sam2.pt", "deep.pth", "deep.pth does not fit .* preset base_plus and small"),
        ("extra.pt", "dinov2.pth", r"1 key unexpected \(blocks.99.x\)"),
        ("sam2.pt", "registers.pth", "registers"),
        ("missing.pt", "dinov2.pth", "missing.pt cannot be read: No such file"),
        ("timm:sam2_hiera_tiny", "dinov2.pth", "timm's names are for DINOv2"),
        ("sam2.pt", "timm:resnet50", "no DINOv2 named 'resnet50'; it has .*vit_large_patch14"),
        (None, "dinov2.pth", "give its file as sam2"),
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
        "timm cannot download vit_small_patch14_dinov2.lvd142m (no route to host): "
        "give a DINOv2 file instead"
    )


# Files that cannot be used.


class Anything:
    """Stands for whatever object a checkpoint may have been made with."""


def write_legacy(payload: Any, path: Path) -> None:
    torch.save(payload, path, _use_new_zipfile_serialization=False)


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "but empty"),
    "random bytes": (lambda p: p.write_bytes(bytes(range(7, 250)) * 9), "is not a checkpoint"),
    "text": (lambda p: p.write_text("<html>Not found</html>"), "is not a checkpoint"),
    "LFS pointer": (lambda p: p.write_text("version https://git-lfs"), "`git -C .* lfs pull`"),
    "object": (lambda p: torch.save({"model": Anything()}, p), "Python objects .*Anything"),
    "whole model": (lambda p: torch.save(torch.nn.Linear(2, 2), p), "Python objects .*Linear"),
    "legacy object": (lambda p: write_legacy({"a": Anything()}, p), "Python objects .*Anything"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "a pickle or damaged"),
    "tensor": (lambda p: torch.save(torch.zeros(2), p), "holds a Tensor, not named tensors"),
    "numbers": (lambda p: torch.save({"epoch": 1, "loss": 0.1}, p), "beside tensors .*epoch, loss"),
    "no tensors": (lambda p: torch.save({}, p), "no tensors"),
    "other model": (lambda p: torch.save({"fc.w": torch.zeros(2)}, p), "keys such as fc.w"),
    "zip": (lambda p: _write_zip(p), "a zip archive"),
    "metadata": (
        lambda p: save_file({"rfb.0": torch.zeros(1)}, p, {METADATA_KEY: "{}"}), "damaged metadata"
    ),
    "later format": (
        lambda p: save_file({"rfb.0": torch.zeros(1)}, p, {METADATA_KEY: '{"format_version": 99}'}),
        "format version 99",
    ),
}  # fmt: skip


def _write_zip(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_checkpoint(kind: str, tmp_path: Path) -> None:
    write, message = BROKEN[kind]
    path = tmp_path / "broken.pth"
    write(path)
    assert re.search(message, refusal(path))


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.001])
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_truncated(form: str, keep: float, nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    if form == "safetensors":
        save_model(nano, path)
    else:
        torch.save(public_state(nano), path, _use_new_zipfile_serialization=form == "zip")
    cut(path, keep)
    assert "truncated" in refusal(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.pth")
    assert "is not a checkpoint, but a folder" in refusal(tmp_path)
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint_sha256(tmp_path / "none.pth")


def test_an_official_file_is_no_checkpoint(official: tuple[Path, Path]) -> None:
    for path, option in zip(official, ("--sam2", "--dinov2"), strict=True):
        message = refusal(path)
        assert "holds only an encoder" in message
        assert option in message


def test_wrong_preset_names_the_one_that_fits(tiny_file: Path) -> None:
    message = refusal(tiny_file, config=NANO)
    assert "does not fit preset nano (it fits preset tiny): " in message
    assert "keys of another shape" in message
    assert load_model(tiny_file).config.preset_name() == "tiny"


def test_recorded_configuration_other_than_the_one_asked_for(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_model(nano, path)
    message = refusal(path, config=DSUNetConfig().replace(injection=Injection.NONE))
    assert "holds preset nano, not preset large, injection none" in message


def test_published_keys_are_always_of_the_papers_injection(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    torch.save(public_state(nano), path)
    assert "injection last" in refusal(path, config=NANO.replace(injection=Injection.ALL))


KEY = "rfb1.branch1.1.conv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(KEY), rf"nano: 1 key missing \({KEY}\)"),
        (lambda s: s.update(odd=torch.zeros(1)), r"nano: 1 key unexpected \(odd\)"),
        (
            lambda s: s.update({KEY: torch.zeros(2, 3)}),
            rf"type \({KEY}: 2×3 instead of 32×32×1×3",
        ),
        (
            lambda s: s.update({KEY: s[KEY].to(torch.int8)}),
            "32×32×1×3 torch.int8 instead of 32×32×1×3",
        ),
        (lambda s: s.pop("backbone_sam.sam_encoder.blocks.0.prompt_learn.0.weight"), "1 key miss"),
        (lambda s: [s.pop(k) for k in list(s) if "fusion4" in k], "10 keys missing .* and 8 more"),
        (lambda s: s[HAAR_KEYS[0]].neg_(), "another wavelet: .*wt_filter"),
        (lambda s: s.update({HAAR_KEYS[1]: torch.zeros(3)}), "another wavelet: .*iwt_filter"),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["config", "inferred"])
def test_keys_that_do_not_fit(
    change: Callable[[State], Any], message: str, named: bool, nano: DSUNet, tmp_path: Path
) -> None:
    path = tmp_path / "odd.pth"
    state = public_state(nano)
    change(state)
    torch.save(state, path)
    found = refusal(path, config=NANO if named else None)
    assert re.search(message, found), found
    assert named or "wavelet" in message or "fits no preset; against preset nano: " in found


def test_own_file_with_a_missing_key(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_model(nano, path, only_trained=True)
    header = {METADATA_KEY: json.dumps({"format_version": 1, "content": "trained", "encoders": {},
                                        "config": NANO.to_dict()})}  # fmt: skip
    state = load_file(path)
    del state["heads.2.bias"]
    save_file(state, path, header)
    assert "1 key missing (heads.2.bias)" in refusal(path)


def test_inspection_agrees_between_forms(nano: DSUNet, tmp_path: Path) -> None:
    """The encoders' hashes depend on their numbers alone."""
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
