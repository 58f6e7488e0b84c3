"""List the packages available to a GPU session, and the parts that are skipped without them."""

from __future__ import annotations

import importlib.util

from common import make_parser, write

from dsunet_runtime.cuda import Gpu, find
from dsunet_runtime.errors import BackendError

NEEDED = {
    "torch": "everything",
    "timm": "everything that makes a model",
    "sam2": "everything that makes a model",
    "pywt": "everything that makes a model",
    "onnxscript": "exports, and so TensorRT and ONNX Runtime",
    "onnxruntime": "ONNX Runtime, and parity with it",
    "tensorrt_rtx": "TensorRT for RTX",
    "cuda": "TensorRT for RTX, and the tests of the CUDA layer through cuda-python",
    "pycuda": "the tests of the CUDA layer through PyCUDA",
    "lightning_fabric": "training",
    "pytest": "the tests",
}
"""Packages by import name, with the parts of the session that need them."""


def main() -> None:
    make_parser(__doc__).parse_args()
    left_out = {
        name: f"not installed: left out: {use}"
        for name, use in NEEDED.items()
        if importlib.util.find_spec(name) is None
    }
    gpu = first_gpu()
    if gpu is None:
        left_out["gpu"] = "no NVIDIA GPU was found: nothing is measured on one"
    for name, reason in left_out.items():
        print(f"{name}: {reason}")
    write("gpu_packages", {"left_out": left_out}, gpu)


def first_gpu() -> Gpu | None:
    """Return the first GPU, or None without one."""
    try:
        return next(iter(find().gpus()), None)
    except BackendError:
        return None


if __name__ == "__main__":
    main()
