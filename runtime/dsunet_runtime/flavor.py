"""The two flavours of TensorRT.  They share an API; their engines and their reach differ."""

from __future__ import annotations

import enum
import importlib
import platform
from typing import Any


class Flavor(enum.StrEnum):
    """A flavour of TensorRT."""

    RTX = "rtx"
    """TensorRT for RTX: built ahead of time for named GPUs, finished by a JIT on the GPU itself."""
    TENSORRT = "tensorrt"
    """Classic TensorRT: built on the GPU that it is for."""

    @property
    def title(self) -> str:  # type: ignore[override]
        """What NVIDIA calls it."""
        return "TensorRT for RTX" if self is Flavor.RTX else "TensorRT"

    @property
    def module(self) -> str:
        """Its Python package's import name."""
        return "tensorrt_rtx" if self is Flavor.RTX else "tensorrt"

    @property
    def distribution(self) -> str:
        """What pip calls that package."""
        return self.module.replace("_", "-")

    @property
    def extra(self) -> str:
        """The extra of this distribution that brings it."""
        return self.value

    def load(self) -> Any:
        """The imported package.  Raises ImportError if it is not there or its libraries are not."""
        return importlib.import_module(self.module)


def typed_network(trt: Any, builder: Any) -> Any:
    """An empty network that computes in the types that its tensors have.

    TensorRT 11 and TensorRT for RTX know no other; for TensorRT 10 it is a choice.
    """
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return builder.create_network(0 if typed is None else 1 << int(typed))


def rtx_name(compute_capability: str) -> str:
    """What TensorRT for RTX calls a compute capability: `SM89` for `8.9`."""
    return f"SM{compute_capability.replace('.', '')}"


def this_platform() -> str:
    """Operating system and processor of this machine, for example `linux x86_64`."""
    return f"{platform.system()} {platform.machine()}".lower()
