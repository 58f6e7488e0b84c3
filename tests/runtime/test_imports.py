"""What gets imported when: in processes of their own, by names and not by time."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dsunet_runtime

HEAVY = ("torch", "onnxruntime", "onnx", "numpy", "PIL", "dsunet", "dsunet_export")


def imported_by(code: str) -> set[str]:
    """The top-level modules that are there after running some code."""
    code += "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.splitlines()[-1].split())


def test_the_package_imports_nothing_heavy() -> None:
    assert not imported_by("import dsunet_runtime").intersection((*HEAVY, "typer"))


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["bench", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"from dsunet_runtime.cli import app\napp({arguments}, standalone_mode=False)"
    modules = imported_by(code)
    assert "typer" in modules
    assert not modules.intersection(HEAVY)


def test_the_cuda_layer_imports_no_binding_before_it_is_used() -> None:
    modules = imported_by("import dsunet_runtime.cuda, dsunet_runtime.cuda.nvml")
    assert not modules.intersection((*HEAVY, "cuda", "pycuda", "pynvml"))


def test_the_tensorrt_backend_imports_neither_pytorch_nor_tensorrt() -> None:
    modules = imported_by("import dsunet_runtime.backends.tensorrt.backend")
    assert "numpy" in modules
    others = {"onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "pycuda"}
    assert not modules.intersection(others.union(HEAVY) - {"numpy", "PIL"})


def test_running_imports_neither_pytorch_nor_the_exporter(frames_artifact: object) -> None:
    code = f"""
import numpy, dsunet_runtime
with dsunet_runtime.load({str(frames_artifact)!r}) as segmenter:
    assert segmenter(numpy.zeros((4, 5, 3), numpy.uint8)).shape == (4, 5)
"""
    modules = imported_by(code)
    assert "onnxruntime" in modules
    assert not modules.intersection({"torch", "onnx", "dsunet", "dsunet_export", "typer"})


def test_running_where_pytorch_cannot_be_imported(frames_artifact: object) -> None:
    missing = ["torch", "torchvision", "timm", "onnx", "scipy", "skimage"]
    code = f"""
import sys; sys.modules.update(dict.fromkeys({missing}))
import numpy, dsunet_runtime
with dsunet_runtime.load({str(frames_artifact)!r}) as segmenter:
    segmenter(numpy.zeros((4, 5, 3), numpy.uint8))
"""
    assert "dsunet_runtime" in imported_by(code)


def test_exact_public_names() -> None:
    assert set(dsunet_runtime.__all__) == {
        "ArtifactError",
        "BackendError",
        "DeviceTensor",
        "Frame",
        "ImageError",
        "Manifest",
        "MissingExtraError",
        "OutputError",
        "PixelFormat",
        "Result",
        "RuntimeFault",
        "Segmenter",
        "SelfTestError",
        "YuvEncoding",
        "load",
        "read_manifest",
    }
    assert dir(dsunet_runtime) == sorted(dsunet_runtime.__all__)
    for name in dsunet_runtime.__all__:
        assert getattr(dsunet_runtime, name).__name__ == name


def test_errors_have_one_base() -> None:
    errors = [name for name in dsunet_runtime.__all__ if name.endswith("Error")]
    assert len(errors) == 6
    for name in errors:
        assert issubclass(getattr(dsunet_runtime, name), dsunet_runtime.RuntimeFault)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dsunet_runtime.nonsense  # noqa: B018
