"""GPUs by their product names, with their compute capabilities.

Source: NVIDIA's list (developer.nvidia.com/cuda-gpus) from Turing on, the oldest architecture that
TensorRT supports; GPUs missing there by their chip in the PCI ID Repository (pci-ids.ucw.cz).
`Super`, `Ti Super`, `D`, `SFF`, embedded and laptop models have the compute capability of the card
with the same base name and are not listed.

Turing's GeForce GTX and MX, and its T and Quadro T cards except T4 and T4G, have compute capability
7.5 but no tensor cores.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from dsunet_export.errors import ExportError
from dsunet_runtime.message_text import quote


@dataclass(frozen=True, slots=True)
class NamedGpu:
    """A GPU model, or models that share a name."""

    name: str
    compute_capability: str
    """For example `8.9`."""


# fmt: off
_NAMES = {
    "7.5": (
        "GeForce RTX 2080 Ti", "GeForce RTX 2080", "GeForce RTX 2070", "GeForce RTX 2060",
        "GeForce GTX 1660 Ti", "GeForce GTX 1660", "GeForce GTX 1650 Ti", "GeForce GTX 1650",
        "GeForce GTX 1630", "GeForce MX550", "GeForce MX450", "Titan RTX",
        "Quadro RTX 8000", "Quadro RTX 6000", "Quadro RTX 5000", "Quadro RTX 4000",
        "Quadro RTX 3000", "Quadro T2000", "Quadro T1000", "T1200", "T1000", "T600", "T550", "T500",
        "T400", "T4G", "T4",
    ),
    "8.0": ("A100", "A800", "A30"),
    "8.6": (
        "GeForce RTX 3090 Ti", "GeForce RTX 3090", "GeForce RTX 3080 Ti", "GeForce RTX 3080",
        "GeForce RTX 3070 Ti", "GeForce RTX 3070", "GeForce RTX 3060 Ti", "GeForce RTX 3060",
        "GeForce RTX 3050 Ti", "GeForce RTX 3050", "GeForce RTX 2050", "GeForce MX570",
        "RTX A6000", "RTX A5500", "RTX A5000", "RTX A4500", "RTX A4000", "RTX A3000", "RTX A2000",
        "RTX A1000", "RTX A500", "RTX A400", "A40", "A16", "A10G", "A10", "A2",
    ),
    "8.7": ("Jetson AGX Orin", "Jetson Orin NX", "Jetson Orin Nano"),
    "8.9": (
        "GeForce RTX 4090", "GeForce RTX 4080", "GeForce RTX 4070 Ti", "GeForce RTX 4070",
        "GeForce RTX 4060 Ti", "GeForce RTX 4060", "GeForce RTX 4050", "GeForce RTX 3050 A",
        "RTX 6000 Ada", "RTX 5880 Ada", "RTX 5000 Ada", "RTX 4500 Ada", "RTX 4000 Ada",
        "RTX 3500 Ada", "RTX 3000 Ada", "RTX 2000 Ada", "RTX 2000E Ada", "RTX 1000 Ada",
        "RTX 500 Ada", "L40S", "L40G", "L40", "L20", "L4", "L2",
    ),
    "9.0": ("H100", "H200", "H800", "H20", "GH200"),
    "10.0": ("B100", "B200", "GB200"),
    "10.3": ("B300", "GB300"),
    "11.0": ("Jetson AGX Thor", "Jetson T5000", "Jetson T4000"),
    "12.0": (
        "GeForce RTX 5090", "GeForce RTX 5080", "GeForce RTX 5070 Ti", "GeForce RTX 5070",
        "GeForce RTX 5060 Ti", "GeForce RTX 5060", "GeForce RTX 5050",
        "RTX PRO 6000 Blackwell", "RTX PRO 5000 Blackwell", "RTX PRO 4500 Blackwell",
        "RTX PRO 4000 Blackwell", "RTX PRO 3000 Blackwell", "RTX PRO 2000 Blackwell",
        "RTX PRO 1000 Blackwell", "RTX PRO 500 Blackwell",
    ),
    "12.1": ("GB10", "DGX Spark"),
}
# fmt: on
GPUS = tuple(NamedGpu(name, cc) for cc, names in _NAMES.items() for name in names)

_MAKERS = {"nvidia", "geforce", "tesla"}
_SERIES = ("", "rtx", "jetson")
"""Prefixes that users often omit."""
# Words that drivers or shops add to a name; they do not change the compute capability.
_ADDED_WORD = re.compile(
    r"\d+gb?|sxm\d?|ac|hbm\d?e?|pcie|nvl|agx|sff|embedded|with|design|"
    r"generation|workstation|server|edition"
)
_ADDED_ENDING = re.compile(r"(gpu|laptop|mobile|maxq|super|d|dv2|blackwell|developerkit)+$")


def find_gpu(text: str) -> NamedGpu:
    """Find a GPU by name, ignoring spaces, hyphens and case.

    Raises ExportError with the closest names if there is none.
    """
    known = {_plain(gpu.name): gpu for gpu in GPUS}
    plain = _plain(text)
    for series in _SERIES:
        if series + plain in known:
            return known[series + plain]
    close = difflib.get_close_matches(plain, known, n=3, cutoff=0.5)
    meant = f"did you mean {', '.join(known[name].name for name in close)}?  " if close else ""
    raise ExportError(
        f"unknown GPU {quote(text)}: {meant}`--gpu list` prints all names, and "
        f"--compute-capability takes any, for example 8.9"
    )


def describe_gpus(rtx: Collection[str]) -> str:
    """Format a table of compute capabilities, the flavors that build for them, and GPU names.

    `rtx` holds the compute capabilities of TensorRT for RTX; classic TensorRT supports all.
    """
    lines = [f"{'':4}  {'--flavor':13}  --gpu"]
    for cc, names in _NAMES.items():
        flavors = "rtx, tensorrt" if cc in rtx else "tensorrt"
        lines.append(f"{cc:>4}  {flavors:13}  {', '.join(names)}")
    return "\n".join(lines)


def _plain(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", name.casefold())
    kept = "".join(w for w in words if w not in _MAKERS and not _ADDED_WORD.fullmatch(w))
    return _ADDED_ENDING.sub("", kept.removeprefix("geforce"))
