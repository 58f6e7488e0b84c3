"""The output of `--gpu list`: GPU names, the flavors that support them, and what is installed."""

from __future__ import annotations

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.flavors import flavor_title, import_flavor, rtx_compute_capabilities
from dsunet_export.tensorrt.gpus import describe_gpus
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.errors import MissingExtraError

RTX_BUILDS_FOR = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Targets of TensorRT for RTX 1.7, used if no version is installed that reports its own."""


def list_gpus() -> str:
    """Format all names of `--gpu`, the flavors that build for them, and what is installed."""
    lines: list[str] = []
    rtx: tuple[str, ...] = RTX_BUILDS_FOR
    for flavor, where in ((Flavor.RTX, "on any machine"), (Flavor.TENSORRT, "on the target GPU")):
        try:
            trt = import_flavor(flavor)
        except (ExportError, MissingExtraError) as error:
            lines.append(f"{flavor}: builds {where}; {error}")
            continue
        lines.append(f"{flavor}: builds {where}; {flavor_title(flavor)} is installed")
        if flavor is Flavor.RTX:
            rtx = rtx_compute_capabilities(trt)
    return "\n".join([describe_gpus(rtx), "", *lines])
