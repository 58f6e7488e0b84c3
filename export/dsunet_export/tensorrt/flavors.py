"""The flavours of TensorRT that are installed, and the target of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dsunet_export.errors import ExportError
from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.extras import install_command
from dsunet_runtime.flavor import Flavor

Hardware: TypeAlias = Mapping[str, tuple[str, ...]]
"""Names of GPUs by compute capability (`8.9`), ascending.  No names: all GPUs that have it."""

_EXTRAS = {Flavor.RTX: "rtx", Flavor.TENSORRT: "tensorrt,cuda"}
"""Extras of this distribution that install a flavour and what else it needs to build."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine is built with and for."""

    flavor: Flavor
    hardware: Hardware
    """The requested GPUs; the GPU of this machine if none was requested, and always for classic
    TensorRT."""
    reason: str
    """Why this flavour was selected, as text."""

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """Ascending, for example `8.9`."""
        return tuple(self.hardware)

    @property
    def gpus(self) -> tuple[str, ...]:
        """Names of GPUs; empty if only compute capabilities were requested."""
        return tuple(name for names in self.hardware.values() for name in names)


def load(flavor: Flavor) -> Any:
    """Import a flavour to build with.  Raises MissingExtraError if it is not installed."""
    try:
        return flavor.load()
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{flavor.title} is not installed: {install_command(_EXTRAS[flavor])}"
        ) from error
    except (ImportError, OSError) as error:
        raise ExportError(
            f"{flavor.title} is installed but does not load ({error}): install it again with "
            f"`{install_command(_EXTRAS[flavor])} --force-reinstall`"
        ) from error


def version(flavor: Flavor) -> str:
    """Return the version of an installed flavour, for example `1.7.1.116`."""
    return str(flavor.load().__version__)


def title(flavor: Flavor) -> str:
    """Return name and version of an installed flavour."""
    return f"{flavor.title} {version(flavor)}"


def rtx_compute_capabilities(trt: Any) -> tuple[str, ...]:
    """Return the compute capabilities that TensorRT for RTX supports, ascending."""
    members = trt.ComputeCapability.__members__
    numbers = sorted(int(name[2:]) for name in members if name.startswith("SM"))
    return tuple(f"{number // 10}.{number % 10}" for number in numbers)
