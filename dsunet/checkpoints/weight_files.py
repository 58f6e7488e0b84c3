"""Read weight files without unpickling objects: safetensors, and PyTorch's own formats.

`dsunet.checkpoints.state_dicts` finds the networks among a file's tensors.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dsunet.checkpoints.checksum import Checksum, verify_checksum, write_with_checksum
from dsunet.checkpoints.zip_records import check_records
from dsunet.errors import CheckpointError
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.file_kinds import why_no_checkpoint
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import is_unicode, open_regular
from dsunet_runtime.message_text import printable, reason

_MAX_DEPTH = 8
"""Maximum depth of nested mappings that are searched; training programs nest two or three."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """The tensors of a file, memory-mapped if the format allows it."""

    path: Path
    groups: dict[str, dict[str, Tensor]]
    """The tensors of each mapping in the file, by its path, such as `ema` or `a.b`; "" is the top
    level."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The metadata of a safetensors file; empty for the other formats."""
    is_verified: bool = False
    """Whether the file contains a checksum of its whole content, and it matches."""


def read_weights(path: str | Path) -> WeightFile:
    """Read a weight file; its first bytes determine the format.

    Checksums are verified: the one in files of dsunet, and those of the records that `torch.save`
    writes.  Raises CheckpointError if the file cannot be read, is damaged, or has no named tensors.
    """
    path = Path(path)
    start = read_start(path)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start.startswith(b"PK\x03\x04"):
        check_records(path)
        return _find_tensors(path, _read_torch(path, zipped=True))
    if start.startswith(b"\x80"):
        return _find_tensors(path, _read_torch(path, zipped=False))
    raise CheckpointError(f"{path} {why_no_checkpoint(path)}")


def read_start(path: Path) -> bytes:
    """Read the first 16 bytes of a weight file.

    Raises CheckpointError if PyTorch or safetensors cannot open it.
    """
    try:
        with open_regular(path) as file:
            start = file.read(16)
    except IsADirectoryError as error:
        raise CheckpointError(f"{path} {why_no_checkpoint(path)}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error
    if not is_unicode(path):
        raise CheckpointError(
            f"{path}: the path is not valid UTF-8, which PyTorch and safetensors require: rename "
            "the file or its folder"
        )
    return start


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically, with a checksum of its whole content.

    The metadata has `checksum.PLACEHOLDER` where the checksum belongs.  Raises OutputError if the
    file cannot be written.
    """
    try:
        write_with_checksum(path, lambda beside: save_file(tensors, beside, metadata=metadata))
    except SafetensorError as error:
        raise OutputError(f"{path}: cannot be written: {reason(error)}") from error


def checkpoint_sha256(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits.  Raises CheckpointError if it cannot be read."""
    try:
        return digest(Path(path)).sha256
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error


def _read_safetensors(path: Path) -> WeightFile:
    try:
        checksum = verify_checksum(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except Exception as error:  # of safetensors, and of PyTorch for types that it lacks
        raise CheckpointError(f"{path} is truncated or damaged: {reason(error)}") from error
    if checksum is Checksum.DIFFERS:
        raise CheckpointError(
            f"{path} is damaged: its content does not match its checksum; get the file again"
        )
    groups = {"": tensors} if tensors else {}
    return WeightFile(path, groups, metadata, checksum is Checksum.MATCHES)


def _read_torch(path: Path, *, zipped: bool) -> Any:
    """Load the tensors and plain values that `torch.save` wrote."""
    try:
        with warnings.catch_warnings():  # about files that are refused below
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        unknown_type = re.search(r"GLOBAL (\S+)", str(error))
        if unknown_type is None:
            raise CheckpointError(
                f"{path} is not a checkpoint: it is another pickle, or damaged"
            ) from error
        raise CheckpointError(
            f"{path} contains Python objects ({printable(unknown_type[1], 80)}), which dsunet does "
            "not unpickle: save the tensors only, with torch.save(model.state_dict(), path)"
        ) from error
    except EOFError as error:
        raise CheckpointError(f"{path} is truncated") from error
    except RuntimeError as error:
        if zipped and "TorchScript" in str(error):
            problem = "is a TorchScript program, not a checkpoint: save the model's state_dict"
        elif zipped:
            problem = "is not a checkpoint: it is another zip archive, or damaged"
        else:
            problem = "is truncated or damaged"
        raise CheckpointError(f"{path} {problem}") from error
    except Exception as error:  # the unpickler raises any type for a damaged stream
        raise CheckpointError(f"{path} is truncated or damaged") from error


def _find_tensors(path: Path, content: Any) -> WeightFile:
    """The tensors in all mappings of a `torch.save` file; other values are skipped."""
    if not isinstance(content, Mapping):
        name = type(content).__name__
        raise CheckpointError(
            f"{path} is not a checkpoint: it contains a {name}, not named tensors"
        )
    groups: dict[str, dict[str, Tensor]] = {}
    level: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    seen = {id(content)}  # a pickle may have a mapping that contains itself
    for _ in range(_MAX_DEPTH):
        inside = []
        for parent, mapping in level:
            for key, value in mapping.items():
                if isinstance(value, Tensor):
                    groups.setdefault(parent, {})[str(key)] = value
                elif isinstance(value, Mapping) and id(value) not in seen:
                    seen.add(id(value))
                    inside.append((f"{parent}.{key}" if parent else str(key), value))
        level = inside
    return WeightFile(path, groups)
