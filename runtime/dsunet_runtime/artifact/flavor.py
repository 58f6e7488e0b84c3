"""The two flavors of TensorRT, which share an API, but not their engines and platforms."""

from __future__ import annotations

import enum
import importlib
import platform
from typing import Any


class Flavor(enum.StrEnum):
    """A flavor of TensorRT."""

    RTX = "rtx"
    """TensorRT for RTX: built ahead of time for chosen GPUs; kernels are compiled on the GPU."""
    TENSORRT = "tensorrt"
    """Classic TensorRT: built on the GPU that runs the engine."""

    @property
    def title(self) -> str:  # type: ignore[override]
        """NVIDIA's name of the product."""
        return "TensorRT for RTX" if self is Flavor.RTX else "TensorRT"

    @property
    def module(self) -> str:
        """Its Python package's import name."""
        return "tensorrt_rtx" if self is Flavor.RTX else "tensorrt"

    @property
    def distribution(self) -> str:
        """Name of the package for pip."""
        return self.module.replace("_", "-")

    @property
    def extra(self) -> str:
        """Extra of the dsunet package that installs it."""
        return self.value

    def load(self) -> Any:
        """Import the package.  Raises ImportError if it or one of its libraries is missing."""
        return importlib.import_module(self.module)


def typed_network(trt: Any, builder: Any) -> Any:
    """Create an empty, strongly typed network.

    TensorRT 11 and TensorRT for RTX support no other; in TensorRT 10 it is an option.
    """
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return builder.create_network(0 if typed is None else 1 << int(typed))


def rtx_name(compute_capability: str) -> str:
    """Name of a compute capability in TensorRT for RTX: `SM89` for `8.9`."""
    return f"SM{compute_capability.replace('.', '')}"


def this_platform() -> str:
    """Operating system and processor of this machine, for example `linux x86_64`."""
    return f"{platform.system()} {platform.machine()}".lower()
