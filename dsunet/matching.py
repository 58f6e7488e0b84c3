"""A file's tensors against those that a model has, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dsunet_runtime.image_folder import counted
from dsunet_runtime.message_text import shorten

COUNTER = "num_batches_tracked"
"""Batch norm's counter of training steps: files may hold it or not, and nothing here reads it."""

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""What weights come in.  Numbers of 8 bits and fewer are nothing without their scales."""
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The keys in which a file and a model differ; false when they fit."""

    missing: list[str]
    unexpected: list[str]
    unlike: list[str]
    """Keys of another shape or kind of number, each with what it is and what it should be."""

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.unlike)

    def __str__(self) -> str:
        groups = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape or type": self.unlike,
        }
        return "; ".join(
            f"{counted(len(keys), 'key')} {what} ({shorten(keys)})"
            for what, keys in groups.items()
            if keys
        )


def compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mismatch:
    """What separates the tensors of a file from those of a model.

    Any type of `FLOATS` stands for any other; counters (`COUNTER`) may be missing.
    """
    return Mismatch(
        missing=[k for k in expected if k not in found and not k.endswith(COUNTER)],
        unexpected=[k for k in found if k not in expected],
        unlike=[
            f"{k}: {_describe(found[k])} instead of {_describe(expected[k])}"
            for k in expected
            if k in found and not _alike(found[k], expected[k])
        ],
    )


def to_float32(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file that `compare` found to fit, as a model holds them.

    Contiguous float32; what is so already is not copied, and stays mapped from its file.
    """
    return {
        key: found[key].to(torch.float32 if like.is_floating_point() else like.dtype).contiguous()
        if key in found
        else torch.zeros(like.shape, dtype=like.dtype)
        for key, like in expected.items()
    }


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """The keys of float32 tensors that hold NaN or infinity."""
    return [
        key
        for key, tensor in state.items()
        if tensor.is_floating_point()
        and tensor.numel()
        # Far faster than isfinite of every number, and NaN passes through.
        and not all(torch.isfinite(end) for end in torch.aminmax(tensor))
    ]


def _alike(found: Tensor, expected: Tensor) -> bool:
    """Whole numbers may come as floats: who halves every tensor halves the counters too."""
    kinds = FLOATS if expected.is_floating_point() else FLOATS + INTEGERS
    return found.shape == expected.shape and found.dtype in kinds


def _describe(tensor: Tensor) -> str:
    shape = "×".join(map(str, tensor.shape)) or "scalar"
    return shape if tensor.dtype in FLOATS else f"{shape} {tensor.dtype}"
