"""Precisions of artifacts."""

from __future__ import annotations

import enum
from typing import Self

from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.message_text import quote


class Compute(enum.StrEnum):
    """Element type of weights and matmuls, by the names of `--precision`."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def element_type(self) -> str:
        """Name in NumPy and in the manifest."""
        return {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[self]

    @classmethod
    def of(cls, element_type: str) -> Self:
        """Return the precision of a manifest's element type.  Raises ArtifactError if unknown."""
        for compute in cls:
            if compute.element_type == element_type:
                return compute
        raise ArtifactError(
            f"the manifest names the precision {quote(element_type)}, which this version does not "
            f"support: export again"
        )
