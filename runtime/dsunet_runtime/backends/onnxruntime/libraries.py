"""The libraries of NVIDIA that this process has loaded, for the record of the self-test."""

from __future__ import annotations

import re
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_NAME = re.compile(r"lib(nvinfer|cudnn|cublas)[^/]*$")


def loaded_libraries() -> tuple[str, ...]:
    """Return the names and sizes of the loaded libraries of TensorRT, cuDNN and cuBLAS, sorted.

    They are installed independently of ONNX Runtime.  The size is included because a name may lack
    the full version.  Empty if the system does not list loaded files.
    """
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    paths = {line[line.index("/") :] for line in lines if "/" in line}
    return tuple(sorted(_described(Path(path)) for path in paths if _NAME.search(path)))


def _described(path: Path) -> str:
    try:
        return f"{path.name} of {path.stat().st_size} bytes"
    except OSError:  # deleted after loading
        return path.name
