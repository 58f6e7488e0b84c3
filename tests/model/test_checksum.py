"""A checksum over the whole of a file, in the file."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dsunet import CheckpointError, load_model, random_model, save_model
from dsunet.checkpoints.checksum import PLACEHOLDER, Checksum, verify_checksum, write_with_checksum
from dsunet.checkpoints.header import METADATA_KEY
from dsunet.checkpoints.weight_files import read_weights
from dsunet_runtime.errors import OutputError
from tests.damage import damaged
from tests.training.conftest import SMALL


def write(path: Path, content: bytes) -> Path:
    write_with_checksum(path, lambda beside: beside.write_bytes(content))
    return path


@pytest.mark.parametrize("place", [0, 3000, 4096 - 78, 100_000])
def test_is_the_digest_of_the_file_with_zeros_in_its_place(tmp_path: Path, place: int) -> None:
    before = b"x" * place
    after = b"y" * (100_000 if place < 4096 else 50)
    content = write(tmp_path / "file", before + PLACEHOLDER.encode() + after).read_bytes()
    expected = hashlib.sha256(before + PLACEHOLDER.encode() + after).hexdigest()
    assert content == before + PLACEHOLDER.replace("0" * 64, expected).encode() + after
    assert verify_checksum(tmp_path / "file") is Checksum.MATCHES


def test_any_damage_is_noticed(tmp_path: Path) -> None:
    content = write(tmp_path / "file", b"a 1 " + PLACEHOLDER.encode() + bytes(3000)).read_bytes()
    for version in damaged(content, 1000, seed=1, structure=100):
        (tmp_path / "file").write_bytes(version)
        assert verify_checksum(tmp_path / "file") is not Checksum.MATCHES


def test_absent(tmp_path: Path) -> None:
    for content in (b"", b"x" * 10_000, b"dsunet-sha256:0", PLACEHOLDER.encode() + b"0"):
        (tmp_path / "file").write_bytes(content)
        assert verify_checksum(tmp_path / "file") is Checksum.ABSENT
    # Not searched for in the middle: the weights of others are not read twice.
    (tmp_path / "file").write_bytes(b"x" * 5000 + PLACEHOLDER.encode() + b"x" * 5000)
    assert verify_checksum(tmp_path / "file") is Checksum.ABSENT


def test_a_writer_leaves_a_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="its writer left no placeholder for the checksum"):
        write(tmp_path / "file", b"x")


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "file", PLACEHOLDER.encode())
    before = path.read_bytes()

    def fail(beside: Path) -> None:
        beside.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="file: cannot be written: No space left on device"):
        write_with_checksum(path, fail)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "own.safetensors"
    save_model(random_model(SMALL, seed=1), path, only_trained=True)
    return path


class TestCheckpoints:
    def test_damage_is_refused(self, checkpoint: Path, tmp_path: Path) -> None:
        """Damage is detected in names, types, shapes, offsets, metadata, padding and values."""
        path = tmp_path / "damaged.safetensors"
        for version in damaged(checkpoint.read_bytes(), 400, seed=2, structure=20_000):
            path.write_bytes(version)
            with pytest.raises(CheckpointError) as error:
                read_weights(path)
            assert "\n" not in str(error.value)

    def test_exchanged_tensors_are_refused(self, checkpoint: Path, tmp_path: Path) -> None:
        """Damage that a checksum of each tensor would not detect."""
        path = tmp_path / "own.safetensors"
        content = checkpoint.read_bytes()
        one, other = b'"rfb.0.branches.0.1.bias"', b'"rfb.1.branches.0.1.bias"'
        names = {one: other, other: one}
        swapped = re.sub(b"|".join(names), lambda found: names[found[0]], content)
        assert swapped != content
        path.write_bytes(swapped)
        with pytest.raises(CheckpointError, match="does not match its checksum; get the file"):
            load_model(path)

    def test_a_lost_checksum_is_refused(self, checkpoint: Path, tmp_path: Path) -> None:
        path = tmp_path / "own.safetensors"
        content = checkpoint.read_bytes()
        path.write_bytes(content.replace(b"dsunet-sha256:", b"dsunet-sha257:"))
        with pytest.raises(CheckpointError, match="has lost its checksum"):
            load_model(path)

    def test_what_another_program_wrote_needs_none(self, tmp_path: Path) -> None:
        model = random_model(SMALL, seed=1)
        save_model(model, tmp_path / "own.safetensors")
        save_file(load_file(tmp_path / "own.safetensors"), tmp_path / "again.safetensors")
        again = load_model(tmp_path / "again.safetensors", config=SMALL)
        assert all(map(torch.equal, again.state_dict().values(), model.state_dict().values()))

    def test_files_of_version_1_are_still_read(self, tmp_path: Path) -> None:
        path = tmp_path / "old.safetensors"
        save_model(random_model(SMALL, seed=1), path)
        header = json.loads(read_weights(path).metadata[METADATA_KEY])
        del header["checksum"]
        save_file(
            load_file(path), path, {METADATA_KEY: json.dumps({**header, "format_version": 1})}
        )
        assert verify_checksum(path) is Checksum.ABSENT
        assert load_model(path).config == SMALL
