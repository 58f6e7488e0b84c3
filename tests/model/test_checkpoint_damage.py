"""Files whose bytes or metadata were changed after they were written."""

from __future__ import annotations

import json
import random
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dsunet import DSUNet, DSUNetConfig, load_model, save_model
from dsunet.checkpoints.header import METADATA_KEY
from tests.model.weights import NANO, public_state, refusal, same

# Bits that flipped.


def flipped(content: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_a_flipped_bit_in_a_record_of_pytorchs(nano: DSUNet, tmp_path: Path) -> None:
    """PyTorch maps the file without verifying it."""
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
    """Files of version 1 have no checksum."""
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


# The metadata of a file.

CONFIG = NANO.to_dict()


def _with(part: str, name: str, value: Any) -> dict[str, Any]:
    return CONFIG | {part: CONFIG[part] | {name: value}}


DOCUMENT = {"format_version": 1, "content": "whole", "encoders": {}, "config": CONFIG}
METADATA: dict[str, tuple[Any, str]] = {
    "nested": ("[" * 10**5 + "]" * 10**5, "nested more than 32 levels deep"),
    "nested inside": ('{"a":' * 10**4 + "1" + "}" * 10**4, "nested more than"),
    "integer": (json.dumps(DOCUMENT).replace("518", "9" * 25).replace("224", "9" * 25), "64 bits"),
    "digits": (json.dumps(DOCUMENT).replace("224", "9" * 5000), "64 bits"),
    "float": (json.dumps(DOCUMENT).replace("224", "1e999"), "a number too large for a float"),
    "not an object": ("[1]", "is a list, not an object"),
    "no JSON": ("{", "is not JSON"),
    "escapes": (
        DOCUMENT | {"content": "\x1b[2J" + "x" * 10**6},
        r"content is '\\x1b\[2Jxx.*', not one of whole",
    ),
    "version": (DOCUMENT | {"format_version": 9}, "format version 9, but .* update dsunet"),
    "version as text": (DOCUMENT | {"format_version": "2"}, "format_version is '2', not an int"),
    "version as escapes": (
        DOCUMENT | {"format_version": "\x1b" * 10**6},
        "format_version is .*, not an integer",
    ),
    "unknown": (DOCUMENT | {"\x1b[2J": 1}, r"unknown fields: \\x1b\[2J"),
    "hashes": (DOCUMENT | {"encoders": {"hiera": 3}}, "encoders.hiera is 3, not text"),
    "10^18": (DOCUMENT | {"config": _with("dino", "depth", 10**18)}, "has 1,000,000,000,000,000,0"),
    "parameters": (
        DOCUMENT | {"config": _with("dino", "embed_dim", 8190)},
        "the configuration has|describes [0-9,]+ parameters, which need",
    ),
    "9 GB": (
        DOCUMENT | {"config": DSUNetConfig.preset("large").to_dict()},
        r"describes 523,742,742 parameters, which need at least 1,047,485,484 bytes, but the file",
    ),
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_out_of_bounds(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mismatch is found without building the model."""
    document, message = METADATA[kind]
    text = document if isinstance(document, str) else json.dumps(document)
    path = tmp_path / "own.safetensors"
    save_file({"rfb.0": torch.zeros(1)}, path, {METADATA_KEY: text})
    monkeypatch.setattr("dsunet.checkpoints.open_checkpoint.build_empty", None)
    found = refusal(path)
    assert re.search(message, found), found
