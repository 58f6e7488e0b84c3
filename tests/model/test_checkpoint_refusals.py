"""Files that cannot be used: one line that names the file, and never an unpickled object."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
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
from dsunet.header import METADATA_KEY
from dsunet.model import build_empty
from dsunet.public_layout import HAAR_KEYS
from tests.model.weights import NANO, State, public_state, refusal, same


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
    "LFS pointer": (lambda p: p.write_text("version https://git-lfs"), "a Git LFS pointer"),
    "object": (lambda p: torch.save({"model": Anything()}, p), "Python objects .*Anything"),
    "whole model": (lambda p: torch.save(torch.nn.Linear(2, 2), p), "Python objects .*Linear"),
    "legacy object": (lambda p: write_legacy({"a": Anything()}, p), "Python objects .*Anything"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "a pickle or damaged"),
    "tensor": (lambda p: torch.save(torch.zeros(2), p), "holds a Tensor, not named tensors"),
    "numbers": (lambda p: torch.save({"epoch": 1, "loss": 0.1}, p), "holds no tensors"),
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
    "itself": (lambda p: torch.save(_in_itself(), p), "keys such as fc.w"),
    "control characters": (
        lambda p: torch.save({"\x1b]0;" + "x" * 10**6: torch.zeros(2)}, p), r"such as \\x1b\]0;xx"
    ),
    "safetensors' words": (
        lambda p: _write_header(p, {"\x1b[2J": {"dtype": "\x1b[2J" + "x" * 10**6}}), "damaged"
    ),
    "compressed": (lambda p: _write_zip(p, "x/data.pkl", 8), "compressed, as torch.save never"),
    "zip bomb": (lambda p: _write_bomb(p), "compressed, as torch.save never"),
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
    change: Callable[[State], Any],
    message: str,
    named: bool,
    nano: DSUNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each preset that is looked at is built; two of them show that the nearest is named.
    monkeypatch.setattr("dsunet.checkpoint.PRESETS", ["tiny", "nano"])
    path = tmp_path / "odd.pth"
    state = public_state(nano)
    change(state)
    torch.save(state, path)
    found = refusal(path, config=NANO if named else None)
    assert re.search(message, found), found
    assert named or "wavelet" in message or "fits no preset; against preset nano: " in found


def test_a_missing_key_where_two_injections_have_the_same_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsunet.checkpoint.PRESETS", ["nano"])
    config = NANO.replace(injection=Injection.LEVELS)
    path = tmp_path / "levels.pth"
    state = random_model(config).state_dict()
    del state["heads.2.bias"]
    torch.save(dict(state), path)
    assert refusal(path, config=config).endswith(
        "does not fit preset nano, injection levels: 1 key missing (heads.2.bias)"
    )
    assert "injection is levels or all, which have the same keys: give" in refusal(path)


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
        "1,000,000,000,000 numbers, of which the file holds 1, head.bias",
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
    assert "numbers, of which the file holds 1" in refusal(path)


# Bits that flipped.


def flipped(content: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_a_flipped_bit_in_a_record_of_pytorchs(nano: DSUNet, tmp_path: Path) -> None:
    """PyTorch itself maps the file and compares nothing."""
    whole, path = tmp_path / "whole.pth", tmp_path / "flipped.pth"
    torch.save(public_state(nano), whole)
    content = whole.read_bytes()
    with zipfile.ZipFile(whole) as archive:
        records = [r for r in archive.infolist() if r.file_size > 1000]
    for record in random.Random(1).sample(records, 8):
        start = content.index(record.filename.encode(), record.header_offset)
        path.write_bytes(flipped(content, start + record.file_size, 3))
        torch.load(path, weights_only=True, mmap=True)
        assert "Bad CRC-32" in refusal(path)


def test_pytorchs_file_without_checksums_is_taken(nano: DSUNet, tmp_path: Path) -> None:
    path = tmp_path / "unchecked.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(public_state(nano), path)
    finally:
        torch.serialization.set_crc32_options(True)
    same(load_model(path), nano)


@pytest.mark.parametrize("only_trained", [False, True])
def test_a_flipped_bit_anywhere_in_a_file_of_ours(
    only_trained: bool, nano: DSUNet, official: tuple[Path, Path], tmp_path: Path
) -> None:
    whole, path = tmp_path / "whole.safetensors", tmp_path / "flipped.safetensors"
    save_model(nano, whole, only_trained=only_trained)
    content = whole.read_bytes()
    rng = random.Random(2)
    header = int.from_bytes(content[:8], "little")
    positions = [rng.randrange(8 + header) for _ in range(12)]
    positions += [rng.randrange(8 + header, len(content)) for _ in range(4)]
    options = dict(zip(("sam2", "dinov2"), official, strict=True)) if only_trained else {}
    for position in positions:
        path.write_bytes(flipped(content, position, rng.randrange(8)))
        refusal(path, **options)


def test_a_configuration_that_was_altered(nano: DSUNet, tmp_path: Path) -> None:
    """Windows and heads change no shape: only the checksum can tell."""
    path = tmp_path / "own.safetensors"
    save_model(nano, path)
    content = path.read_bytes()
    heads = rb"\"num_heads\": 3"
    assert heads in content
    path.write_bytes(content.replace(heads, rb"\"num_heads\": 6"))
    assert "does not match its checksum" in refusal(path)


def test_a_file_of_ours_without_its_checksum(nano: DSUNet, tmp_path: Path) -> None:
    """Version 1 had none."""
    path = tmp_path / "own.safetensors"
    save_model(nano, path)
    with safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()[METADATA_KEY])
    del document["checksum"]
    tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
    save_file(tensors, path, {METADATA_KEY: json.dumps(document)})
    assert "has lost its checksum" in refusal(path)
    save_file(tensors, path, {METADATA_KEY: json.dumps(document | {"format_version": 1})})
    same(load_model(path), nano)


# What a file says about itself.

CONFIG = NANO.to_dict()


def _with(part: str, name: str, value: Any) -> dict[str, Any]:
    return CONFIG | {part: CONFIG[part] | {name: value}}


DOCUMENT = {"format_version": 1, "content": "whole", "encoders": {}, "config": CONFIG}
METADATA: dict[str, tuple[Any, str]] = {
    "nested": ("[" * 10**5 + "]" * 10**5, "nested more than 32 levels deep"),
    "nested inside": ('{"a":' * 10**4 + "1" + "}" * 10**4, "nested more than"),
    "integer": (json.dumps(DOCUMENT).replace("518", "9" * 25).replace("224", "9" * 25), "64 bits"),
    "digits": (json.dumps(DOCUMENT).replace("224", "9" * 5000), "64 bits"),
    "float": (json.dumps(DOCUMENT).replace("224", "1e999"), "no float can hold"),
    "not an object": ("[1]", "is a list, not an object"),
    "no JSON": ("{", "is not JSON"),
    "escapes": (DOCUMENT | {"content": "\x1b[2J" + "x" * 10**6}, r"its content is '\\x1b\[2Jxx"),
    "version": (DOCUMENT | {"format_version": "\x1b" * 10**6}, "has format version"),
    "unknown": (DOCUMENT | {"\x1b[2J": 1}, r"unknown fields: \\x1b\[2J"),
    "hashes": (DOCUMENT | {"encoders": {"hiera": 3}}, "its encoders have no hashes"),
    "10^18": (DOCUMENT | {"config": _with("dino", "depth", 10**18)}, "has 1,000,000,000,000,000,0"),
    "parameters": (
        DOCUMENT | {"config": _with("dino", "embed_dim", 8190)},
        "asks for|describes [0-9,]+ parameters, which take",
    ),
    "9 GB": (
        DOCUMENT | {"config": DSUNetConfig.preset("large").to_dict()},
        r"describes 523,742,742 parameters, which take 1,047,485,484 bytes at least, and the file",
    ),
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_out_of_bounds(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built to find it out."""
    document, message = METADATA[kind]
    text = document if isinstance(document, str) else json.dumps(document)
    path = tmp_path / "own.safetensors"
    save_file({"rfb.0": torch.zeros(1)}, path, {METADATA_KEY: text})
    monkeypatch.setattr("dsunet.checkpoint.build_empty", None)
    found = refusal(path)
    assert re.search(message, found), found


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


def test_a_pipe_and_a_device_do_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pth"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        assert "is a pipe or a device, not a file" in refusal(path)
        with pytest.raises(CheckpointError, match="pipe or a device"):
            checkpoint_sha256(path)
