"""Kinds of files, by suffix, and by the first bytes for error messages."""

from __future__ import annotations

import enum
import os
import re
import shlex
from pathlib import Path

from dsunet_runtime.files import open_regular

ONNX_SUFFIX = ".onnx"
ENGINE_SUFFIX = ".engine"
_ENGINE_SUFFIXES = (ENGINE_SUFFIX, ".plan")
_START = 512


class FileKind(enum.Enum):
    """Kind of a file by its first bytes; the values complete a sentence after `is`."""

    ONNX = "an ONNX file"
    ENGINE = "a TensorRT engine"
    SAFETENSORS = "a safetensors file"
    TORCH = "a PyTorch checkpoint (or another zip archive)"
    PICKLE = "a pickle, as PyTorch's older checkpoints are"
    IMAGE = "an image"
    JSON = "a JSON document"
    HTML = "an HTML page"
    LFS_POINTER = "a Git LFS pointer to the file"
    EMPTY = "empty"
    FOLDER = "a folder"
    UNKNOWN = "of an unknown format"

    @property
    def is_checkpoint(self) -> bool:
        """Whether `dsunet-export onnx` reads such files."""
        return self in (FileKind.SAFETENSORS, FileKind.TORCH, FileKind.PICKLE)

    @property
    def is_other_model(self) -> bool:
        """Whether it is a model, but not an engine."""
        return self is FileKind.ONNX or self.is_checkpoint


_PATTERNS = {
    kind: re.compile(pattern, re.DOTALL)
    for kind, pattern in {
        FileKind.LFS_POINTER: rb"version https://git-lfs",
        FileKind.SAFETENSORS: rb".{8}\{",  # the length of the header comes first
        FileKind.TORCH: rb"PK\x03\x04",
        FileKind.ENGINE: rb"[a-z]trt",  # `ftrt`, of TensorRT for RTX `vtrt`
        FileKind.PICKLE: rb"\x80[\x02-\x05]",
        FileKind.ONNX: rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42\x72]",  # ir_version, a field
        FileKind.IMAGE: rb"\x89PNG|\xff\xd8\xff|GIF8|BM....\0\0\0\0|II\*\0|MM\0\*|RIFF....WEBP",
        FileKind.HTML: rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml)",
        FileKind.JSON: rb"\s*[\[{]\s*[\"\[{\]}]",
    }.items()
}


def is_engine(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a TensorRT engine: NAME.engine or NAME.plan, in any case."""
    return Path(path).suffix.lower() in _ENGINE_SUFFIXES


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Whether a path names an ONNX file: NAME.onnx, in any case."""
    return Path(path).suffix.lower() == ONNX_SUFFIX


def recognise(path: Path) -> FileKind:
    """Determine the kind of a file by its first bytes.  Raises OSError if it cannot be read."""
    if path.is_dir():
        return FileKind.FOLDER
    with open_regular(path) as file:
        start = file.read(_START)
    if not start:
        return FileKind.EMPTY
    return next((k for k, pattern in _PATTERNS.items() if pattern.match(start)), FileKind.UNKNOWN)


def why_no_artifact(path: Path) -> str:
    """Explain why a file is not an artifact, with the command that helps, to follow its name.

    Raises OSError if the file cannot be read.
    """
    kind = recognise(path)
    if kind.is_checkpoint:
        onnx = path.with_suffix(ONNX_SUFFIX).name
        return (
            f"is not an ONNX file, but {kind.value}: `dsunet inspect {_quoted(path)}` describes "
            f"it, `dsunet-export onnx {_quoted(path)} -o {_quoted(onnx)}` exports it"
        )
    if kind is FileKind.ONNX and not is_engine(path):
        return "is an ONNX file, but damaged or cut short: copy it or export it again"
    return _misnamed(path, kind) or _no_model(path, kind, "not an ONNX file")


def why_no_checkpoint(path: Path) -> str:
    """Explain why a file is not a checkpoint, like `why_no_artifact`."""
    kind = recognise(path)
    if kind in (FileKind.ONNX, FileKind.ENGINE):
        return _misnamed(path, kind) or (
            f"is not a checkpoint, but {kind.value}: `dsunet-export inspect {_quoted(path)}` "
            f"describes it, `dsunet-run predict {_quoted(path)} IMAGE -o DIR` runs it"
        )
    return _no_model(path, kind, "not a checkpoint")


def _misnamed(path: Path, kind: FileKind) -> str | None:
    """The message for an artifact with the wrong suffix."""
    if kind is FileKind.ENGINE and not is_engine(path):
        suffix = ENGINE_SUFFIX
    elif kind is FileKind.ONNX and not is_onnx(path):
        suffix = ONNX_SUFFIX
    else:
        return None
    renamed = f"`mv {_quoted(path)} {_quoted(path.with_suffix(suffix))}`"
    return f"is {kind.value}, but its name does not end in {suffix}: rename it by {renamed}"


def _no_model(path: Path, kind: FileKind, expected: str) -> str:
    """The message for a file that is not a model."""
    if kind is FileKind.JSON:
        described = path.with_suffix("")
        if is_engine(described) or is_onnx(described):
            return f"is {expected}, but {kind.value} about {described.name}: name {described}"
    match kind:
        case FileKind.UNKNOWN:
            return f"is {expected}, or cut short"
        case FileKind.EMPTY:
            return f"is {expected}, but empty: copy or download it again"
        case FileKind.FOLDER:
            return f"is {expected}, but a folder: name a file in it"
        case FileKind.HTML:
            return f"is {expected}, but {kind.value}: the download failed; download it again"
        case FileKind.LFS_POINTER:
            fetch = f"`git -C {_quoted(path.parent)} lfs pull`"
            return f"is {expected}, but {kind.value}: fetch it with {fetch}"
        case _:
            return f"is {expected}, but {kind.value}"


def _quoted(argument: str | Path) -> str:
    return shlex.quote(str(argument))
