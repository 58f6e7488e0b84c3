"""Compare the tensors of a file with those of a model, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dsunet_runtime.message_text import counted, shorten

COUNTER = "num_batches_tracked"
"""Batch norm's counter of training steps.  It is optional in files, and not used here."""

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Types of weights that are read.  Types of 8 bits and fewer would need scales."""
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The keys in which a file and a model differ; false if there are none."""

    missing: list[str]
    unexpected: list[str]
    unlike: list[str]
    """Keys of another shape or type, each with the stored and the expected one."""

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


def find_mismatch(stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mismatch:
    """Compare the tensors of a file with those of a model.

    All types of `FLOATS` are equivalent; counters (`COUNTER`) may be missing.
    """
    return Mismatch(
        missing=[k for k in expected if k not in stored and not k.endswith(COUNTER)],
        unexpected=[k for k in stored if k not in expected],
        unlike=[
            f"{k}: {_describe(stored[k])} instead of {_describe(expected[k])}"
            for k in expected
            if k in stored and not _alike(stored[k], expected[k])
        ],
    )


def to_float32(stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert matching tensors of a file to contiguous float32, as a model holds them.

    Tensors that need no conversion are not copied, and stay memory-mapped from their file.
    """
    return {
        key: stored[key].to(torch.float32 if like.is_floating_point() else like.dtype).contiguous()
        if key in stored
        else torch.zeros(like.shape, dtype=like.dtype)
        for key, like in expected.items()
    }


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """The keys of float32 tensors that have NaN or infinity."""
    return [
        key
        for key, tensor in state.items()
        if tensor.is_floating_point()
        and tensor.numel()
        # Much faster than isfinite of every value; aminmax propagates NaN.
        and not all(torch.isfinite(end) for end in torch.aminmax(tensor))
    ]


def _alike(stored: Tensor, expected: Tensor) -> bool:
    """Whether shape and type match; integers may be stored as floats, as `model.half()` does."""
    kinds = FLOATS if expected.is_floating_point() else FLOATS + INTEGERS
    return stored.shape == expected.shape and stored.dtype in kinds


def _describe(tensor: Tensor) -> str:
    shape = "×".join(map(str, tensor.shape)) or "scalar"
    return shape if tensor.dtype in FLOATS else f"{shape} {tensor.dtype}"
