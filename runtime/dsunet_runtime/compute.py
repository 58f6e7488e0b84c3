"""The precisions that an artifact may compute in."""

from __future__ import annotations

import enum
from typing import Self

from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.message_text import quote


class Compute(enum.StrEnum):
    """The element type of weights and matrix products, as the commands call it."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def element_type(self) -> str:
        """As NumPy and the manifest call it."""
        return {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[self]

    @classmethod
    def of(cls, element_type: str) -> Self:
        """The one whose element type a manifest names.  Raises ArtifactError if there is none."""
        for compute in cls:
            if compute.element_type == element_type:
                return compute
        raise ArtifactError(
            f"the manifest names the precision {quote(element_type)}, which this version does not "
            f"know: export again"
        )
