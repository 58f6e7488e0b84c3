"""Weight files, read without ever unpickling an object: safetensors, and PyTorch's own formats."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dsunet.checksum import Checksum, verify_checksum, write_with_checksum
from dsunet.errors import CheckpointError
from dsunet_runtime.errors import OutputError
from dsunet_runtime.quoting import reason, shorten

WRAPPER_KEYS = ("state_dict", "model")
"""Where training programs put the weights beside an optimizer, an epoch and the like."""

PARALLEL_PREFIX = "module."
"""What DataParallel and DistributedDataParallel put before every key."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """The tensors of a file, mapped into memory where the format allows it."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    """What a safetensors file says about itself; empty for the other formats."""
    is_verified: bool = False
    """Whether the file holds a checksum over all of it, as dsunet's own do, which was compared."""


def read_weights(path: str | Path) -> WeightFile:
    """Read a weight file of any known format, told apart by its first bytes.

    Unwraps `state_dict` and `model`, and takes `module.` off the keys.  Raises CheckpointError if
    the file cannot be read, is damaged, or holds anything but named tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise CheckpointError(f"{path} is empty")
    if start.startswith(b"version https://"):
        raise CheckpointError(f"{path} is a Git LFS pointer, not the file itself: run git lfs pull")
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start.startswith((b"PK\x03\x04", b"\x80")):
        payload = _read_torch(path, zipped=start.startswith(b"PK"))
        return WeightFile(path, _named_tensors(path, payload))
    raise CheckpointError(f"{path} is not a checkpoint: neither safetensors nor PyTorch's format")


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all, with a checksum over all of it.

    The metadata holds `checksum.PLACEHOLDER` where the checksum is to be.  Raises OutputError.
    """
    try:
        write_with_checksum(path, lambda beside: save_file(tensors, beside, metadata=metadata))
    except SafetensorError as error:
        raise OutputError(f"{path}: cannot be written: {reason(error)}") from error


def checkpoint_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits.  Raises CheckpointError if unreadable."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _read_safetensors(path: Path) -> WeightFile:
    try:
        checksum = verify_checksum(path)
        if checksum is Checksum.DIFFERS:
            raise CheckpointError(
                f"{path} is damaged: its content does not match its checksum; get the file again"
            )
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}") from error
    return WeightFile(path, _without_prefix(tensors), metadata, checksum is Checksum.MATCHES)


def _read_torch(path: Path, *, zipped: bool) -> Any:
    """Whatever plain values and tensors `torch.save` wrote."""
    if zipped and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is truncated: a PyTorch file without its end")
    try:
        with warnings.catch_warnings():  # about files that are refused below anyway
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise CheckpointError(f"{path} is a pickle or damaged, not a checkpoint") from error
        raise CheckpointError(
            f"{path} holds Python objects ({found[1]}), which are never unpickled here: where it "
            "was made, save only tensors, torch.save(model.state_dict(), path)"
        ) from error
    except EOFError as error:
        raise CheckpointError(f"{path} is truncated: it ends too early") from error
    except RuntimeError as error:
        if zipped and "TorchScript" in str(error):
            reason = "is a TorchScript program, not a checkpoint: save the model's state_dict"
        elif zipped:
            reason = "is a zip archive or damaged, not a checkpoint"
        else:
            reason = "is truncated or damaged"
        raise CheckpointError(f"{path} {reason}") from error
    except Exception as error:  # the unpickler raises whatever a damaged stream leads it to
        raise CheckpointError(f"{path} is truncated or damaged") from error


def _named_tensors(path: Path, payload: Any) -> dict[str, Tensor]:
    """The state inside what `torch.save` wrote."""
    if isinstance(payload, Mapping):
        for wrapper in WRAPPER_KEYS:
            if isinstance(payload.get(wrapper), Mapping):
                payload = payload[wrapper]
                break
    if not isinstance(payload, Mapping):
        kind = type(payload).__name__
        raise CheckpointError(f"{path} is not a checkpoint: it holds a {kind}, not named tensors")
    others = [str(key) for key, value in payload.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            f"{path} is not a checkpoint: beside tensors it holds {shorten(others)}, and there is "
            f"no state under {' or '.join(map(repr, WRAPPER_KEYS))}"
        )
    return _without_prefix({str(key): value for key, value in payload.items()})


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(key.startswith(PARALLEL_PREFIX) for key in tensors):
        return {key.removeprefix(PARALLEL_PREFIX): value for key, value in tensors.items()}
    return tensors
