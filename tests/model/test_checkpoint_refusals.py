"""Unusable files give one line that names the file, and no object is unpickled."""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dsunet import (
    CheckpointError,
    DSUNet,
    DSUNetConfig,
    Injection,
    checkpoint_sha256,
    load_model,
    random_model,
    save_model,
)
from dsunet.checkpoints.header import METADATA_KEY
from dsunet.checkpoints.public_layouts import DSU_NET
from dsunet.network.model import build_empty
from tests.model.weights import NANO, State, public_state, refusal


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


class Anything:
    """Stands for any object that a checkpoint may contain."""


def write_legacy(payload: Any, path: Path) -> None:
    torch.save(payload, path, _use_new_zipfile_serialization=False)


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "but empty"),
    "random bytes": (lambda p: p.write_bytes(bytes(range(7, 250)) * 9), "is not a checkpoint"),
    "text": (lambda p: p.write_text("<html>Not found</html>"), "is not a checkpoint"),
    "LFS pointer": (lambda p: p.write_text("version https://git-lfs"), "a Git LFS pointer"),
    "object": (lambda p: torch.save({"model": Anything()}, p), "Python objects .*Anything"),
    "whole model": (lambda p: torch.save(torch.nn.Linear(2, 2), p), "Python objects .*Linear"),
    "legacy object": (lambda p: write_legacy({"a": Anything()}, p), "Python objects .*Anything"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "another pickle, or damaged"),
    "tensor": (lambda p: torch.save(torch.zeros(2), p), "contains a Tensor, not named tensors"),
    "numbers": (lambda p: torch.save({"epoch": 1, "loss": 0.1}, p), "has no tensors"),
    "no tensors": (lambda p: torch.save({}, p), "no tensors"),
    "other model": (lambda p: torch.save({"fc.w": torch.zeros(2)}, p), "keys such as fc.w"),
    "zip": (lambda p: _write_zip(p), "another zip archive"),
    "metadata": (
        lambda p: save_file({"rfb.0": torch.zeros(1)}, p, {METADATA_KEY: "{}"}), "damaged metadata"
    ),
    "later format": (
        lambda p: save_file({"rfb.0": torch.zeros(1)}, p, {METADATA_KEY: '{"format_version": 99}'}),
        "format version 99",
    ),
    "itself": (lambda p: torch.save(_in_itself(), p), "keys such as fc.w"),
    "control characters": (
        lambda p: torch.save({"\x1b]0;" + "x" * 10**6: torch.zeros(2)}, p), r"such as \\x1b\]0;xx"
    ),
    "safetensors' words": (
        lambda p: _write_header(p, {"\x1b[2J": {"dtype": "\x1b[2J" + "x" * 10**6}}), "damaged"
    ),
    "many networks": (
        lambda p: torch.save({f"a{n}.rfb.0": torch.zeros(1) for n in range(30_000)}, p),
        "has 30,000 networks: save them in separate files",
    ),
    "compressed": (lambda p: _write_zip(p, "x/data.pkl", 8), "is a compressed archive, which"),
    "zip bomb": (lambda p: _write_bomb(p), "a compressed archive, which torch.save does not write"),
}  # fmt: skip


def _in_itself() -> dict[str, Any]:
    payload: dict[str, Any] = {"fc.w": torch.zeros(2)}
    payload["again"] = {"and": payload, "again": payload}
    return payload


def _write_zip(path: Path, name: str = "readme.txt", compression: int = 0) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, "hello")


def _write_bomb(path: Path) -> None:
    """A checkpoint of 40 MB of zeros in 40 kB."""
    torch.save({"fc.w": torch.zeros(100)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content if "/data/" not in name else bytes(40_000_000))


def _write_header(path: Path, header: dict[str, Any], data: bytes = b"") -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


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
    assert "a folder without a checkpoint" in refusal(tmp_path)
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint_sha256(tmp_path / "none.pth")


def test_an_official_file_is_no_checkpoint(official: tuple[Path, Path]) -> None:
    for path, option in zip(official, ("--sam2", "--dinov2"), strict=True):
        message = refusal(path)
        assert "not a DSU-Net checkpoint: give it with" in message
        assert option in message


def test_wrong_preset_names_the_one_that_fits(tiny_file: Path) -> None:
    message = refusal(tiny_file, config=NANO)
    assert "does not match preset nano (it matches preset tiny): " in message
    assert "keys of another shape" in message
    assert load_model(tiny_file).config.preset_name() == "tiny"


def test_recorded_configuration_other_than_the_expected_one(nano: DSUNet, tmp_path: Path) -> None:
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
        (lambda s: s[DSU_NET.haar_filters[0]].neg_(), "another wavelet: .*wt_filter"),
        (
            lambda s: s.update({DSU_NET.haar_filters[1]: torch.zeros(3)}),
            "another wavelet: .*iwt_filter",
        ),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["config", "inferred"])
def test_keys_that_do_not_fit(
    change: Callable[[State], Any],
    message: str,
    named: bool,
    nano: DSUNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each preset that is looked at is built; two of them show that the nearest is named.
    monkeypatch.setattr("dsunet.checkpoints.open_checkpoint.PRESETS", ["tiny", "nano"])
    path = tmp_path / "odd.pth"
    state = public_state(nano)
    change(state)
    torch.save(state, path)
    found = refusal(path, config=NANO if named else None)
    assert re.search(message, found), found
    assert (
        named or "wavelet" in message or "matches no preset; compared with preset nano: " in found
    )


def test_a_missing_key_where_two_injections_have_the_same_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsunet.checkpoints.open_checkpoint.PRESETS", ["nano"])
    config = NANO.replace(injection=Injection.LEVELS)
    path = tmp_path / "levels.pth"
    state = random_model(config).state_dict()
    del state["heads.2.bias"]
    torch.save(dict(state), path)
    assert refusal(path, config=config).endswith(
        "does not match preset nano, injection levels: 1 key missing (heads.2.bias)"
    )
    assert "its keys match injection levels and all: give" in refusal(path)


# Tensors that are no plain arrays of numbers.


def _quantized() -> Tensor:
    with warnings.catch_warnings():  # PyTorch is about to drop them; files of them remain
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.randn(32), 0.1, 0, torch.qint8)


def _nested(layout: torch.layout) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.zeros(2, 2), torch.zeros(3, 2)], layout=layout)


BIAS = "head.bias"
ODD: dict[str, tuple[Callable[[], Tensor], str]] = {
    "sparse": (lambda: torch.ones(32).to_sparse(), "sparse \\(sparse_coo\\)"),
    "csr": (lambda: torch.ones(3, 3).to_sparse_csr(), "sparse \\(sparse_csr\\)"),
    "nested": (lambda: _nested(torch.strided), "nested"),
    "jagged": (lambda: _nested(torch.jagged), "nested"),
    "meta": (lambda: torch.empty(32, device="meta"), "without values"),
    "quantized": (_quantized, "quantized"),
    "complex": (lambda: torch.zeros(1, dtype=torch.complex64), "complex"),
    "negated": (lambda: torch.zeros(2, dtype=torch.complex64).conj().imag[:1], "negated"),
    "bool": (lambda: torch.zeros(1, dtype=torch.bool), "1 torch.bool instead of 1"),
    "integer": (lambda: torch.zeros(1, dtype=torch.int64), "1 torch.int64 instead of 1"),
    "float8": (lambda: torch.zeros(1).to(torch.float8_e4m3fn), "float8_e4m3fn instead of 1"),
    "expanded": (
        lambda: torch.zeros(1).expand(10**6, 10**6),
        r"larger than its data \(1,000,000,000,000 values, 1 in the file\), head.bias",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_plain_numbers(kind: str, nano: DSUNet, tmp_path: Path) -> None:
    make, message = ODD[kind]
    path = tmp_path / "odd.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(public_state(nano) | {BIAS: make()}, path)
    found = refusal(path)
    assert re.search(message, found), found


def test_a_tiny_file_that_claims_all_weights(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "tiny.pth"
    one = torch.zeros(())
    torch.save({k: one.expand(v.shape) for k, v in public_state(nano).items()}, path)
    assert path.stat().st_size < 300_000
    assert "values, 1 in the file)" in refusal(path)


def test_own_file_with_a_missing_key(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_model(nano, path, only_trained=True)
    header = {METADATA_KEY: json.dumps({"format_version": 1, "content": "trained", "encoders": {},
                                        "config": NANO.to_dict()})}  # fmt: skip
    state = load_file(path)
    del state["heads.2.bias"]
    save_file(state, path, header)
    assert "1 key missing (heads.2.bias)" in refusal(path)


# What is no file.


def test_names_that_no_file_has(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, message in (
        (tmp_path / ("x" * 300), "File name too long"),
        (loop, "Too many levels of symbolic links"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_model(path)
    with pytest.raises(CheckpointError, match="no file can have this name"):
        load_model(f"{tmp_path}/nul\0")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_names_that_are_not_utf8(nano: DSUNet, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / os.fsdecode(b"\xff." + suffix.encode())
    if suffix == "pth":
        with path.open("wb") as file:
            torch.save(public_state(nano), file)
    else:
        save_model(nano, tmp_path / "nano.safetensors")
        (tmp_path / "nano.safetensors").rename(path)
    with pytest.raises(
        CheckpointError,
        match="the path is not valid UTF-8, which PyTorch and safetensors require: rename the file",
    ):
        load_model(path)


def test_a_pipe_and_a_device_do_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pth"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        assert "is a pipe or a device, not a file" in refusal(path)
        with pytest.raises(CheckpointError, match="pipe or a device"):
            checkpoint_sha256(path)
