"""The flavors of TensorRT that are installed."""

from __future__ import annotations

from typing import Any

from dsunet_export.errors import ExportError
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.extras import does_not_load, install_command, is_absent

_EXTRAS = {Flavor.RTX: "rtx", Flavor.TENSORRT: "tensorrt,cuda"}
"""Extras of this distribution that install a flavor and what else it needs to build."""


def import_flavor(flavor: Flavor) -> Any:
    """Import a flavor to build with.

    Raises MissingExtraError if it is not installed, and ExportError if it does not load.
    """
    try:
        return flavor.load()
    except (ImportError, OSError) as error:
        command = install_command(_EXTRAS[flavor])
        if is_absent(flavor.module, error):
            raise MissingExtraError(f"{flavor.title} is not installed: {command}") from error
        raise ExportError(does_not_load(flavor.title, error, command)) from error


def flavor_version(flavor: Flavor) -> str:
    """Return the version of an installed flavor, for example `1.7.1.116`."""
    return str(flavor.load().__version__)


def flavor_title(flavor: Flavor) -> str:
    """Return name and version of an installed flavor."""
    return f"{flavor.title} {flavor_version(flavor)}"


def rtx_compute_capabilities(trt: Any) -> tuple[str, ...]:
    """Return the compute capabilities that TensorRT for RTX supports, ascending."""
    members = trt.ComputeCapability.__members__
    numbers = sorted(int(name[2:]) for name in members if name.startswith("SM"))
    return tuple(f"{number // 10}.{number % 10}" for number in numbers)
