"""Changes are reproducible, keep the structure of files, and forge valid checksums."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from dsunet.checkpoints.checksum import PLACEHOLDER, Checksum, compare_checksum
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact import document
from tests.fuzz.mutation import (
    Change,
    change_bytes,
    change_image,
    change_json,
    change_lines,
    change_pickle,
    change_protobuf,
    change_safetensors,
    change_sealed,
    change_torch_zip,
    forged,
    json_documents,
    protobuf,
)
from tests.fuzz.mutation.image_files import join_png, png_chunks
from tests.fuzz.mutation.torch_files import read_members, saved, write_members
from tests.runtime import artifacts

_DOCUMENT = {"a": [1, 2.5, {"b": "text"}], "c": None, "d": {"e": True}}
_TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


def image(format_: str) -> bytes:
    written = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(pixels).save(written, format_)
    return written.getvalue()


def artifact(folder: Path) -> bytes:
    return artifacts.frames(folder / "a.onnx").read_bytes()


FILES: dict[str, tuple[Change, bytes]] = {
    "bytes": (change_bytes, b"some bytes" * 20),
    "json": (change_json, json.dumps(_DOCUMENT).encode()),
    "safetensors": (change_safetensors, save(_TENSORS, {"dsunet": "{}"})),
    "zip": (change_torch_zip, saved(_TENSORS)),
    "pickle": (change_pickle, saved(_TENSORS, zipped=False)),
    "lines": (change_lines, b"a\nb # c\n\nd*\n"),
    **{name: (change_image, image(name)) for name in ("PNG", "JPEG", "TIFF", "GIF", "WEBP")},
}


@pytest.mark.parametrize("name", FILES)
def test_a_seed_determines_the_changes(name: str) -> None:
    change, content = FILES[name]
    first, second = ([change(Random(seed), content) for seed in range(60)] for _ in range(2))
    assert first == second
    assert len(set(first) - {content}) > 30


def test_parts_are_what_the_file_was() -> None:
    png, zipped = image("PNG"), saved(_TENSORS)
    assert join_png(list(png_chunks(png))) == png
    members = write_members(list(read_members(zipped)), 0)
    found = torch.load(io.BytesIO(members), weights_only=True)
    assert all(torch.equal(found[key], value) for key, value in _TENSORS.items())
    assert (
        json.loads(json_documents.write(json_documents.parse(json.dumps(_DOCUMENT)))) == _DOCUMENT
    )


def test_messages_are_what_the_file_was(tmp_path: Path) -> None:
    content = artifact(tmp_path)
    assert b"".join(map(bytes, protobuf.parse(content))) == content
    changed = [change_protobuf(Random(seed), content) for seed in range(200)]
    messages = [onnx.ModelProto() for _ in changed]
    parsed = sum(_parses(message, one) for message, one in zip(messages, changed, strict=True))
    assert 50 < parsed < 200


def _parses(message: onnx.ModelProto, content: bytes) -> bool:
    try:
        message.ParseFromString(content)
    except Exception:  # protobuf's own
        return False
    return True


def test_forged_checksums_match() -> None:
    content = json.dumps({"checksum": PLACEHOLDER, **_DOCUMENT}).encode()
    for change, file in ((change_json, content), (change_torch_zip, saved(_TENSORS))):
        changed = [forged(change)(Random(seed), file) for seed in range(20)]
        found = [compare_checksum(io.BytesIO(one)) for one in changed if one != file]
        assert Checksum.DIFFERS not in found
        assert found.count(Checksum.MATCHES) > 10


def test_forged_manifests_are_whole(tmp_path: Path) -> None:
    content = read_manifest(artifacts.frames(tmp_path / "a.onnx")).to_json()
    changed = [change_sealed(Random(seed), content.encode()).decode() for seed in range(30)]
    # If the document has become a text or a number, there is no field for a digest.
    assert sum(map(document.is_whole, changed)) > 25
