"""What the record of the self-test says of NVIDIA's libraries and GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsunet_runtime.backends.onnxruntime import libraries as module
from dsunet_runtime.backends.onnxruntime.backend import machine_of
from dsunet_runtime.backends.onnxruntime.libraries import loaded_libraries
from dsunet_runtime.provider import Provider


def test_names_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvinfer, cudnn = tmp_path / "libnvinfer.so.10", tmp_path / "libcudnn.so.9"
    nvinfer.write_bytes(b"12345")
    cudnn.write_bytes(b"123")
    maps = tmp_path / "maps"
    paths = [nvinfer, nvinfer, cudnn, tmp_path / "libcublas.so.13", tmp_path / "libc.so.6"]
    lines = [f"7f00-7f10 r-xp 00000000 fe:00 12   {path}" for path in paths]
    maps.write_text("\n".join([*lines, "7f20-7f30 rw-p 00000000 00:00 0"]))
    monkeypatch.setattr(module, "_MAPS", maps)
    assert loaded_libraries() == (
        "libcublas.so.13",  # replaced since it was loaded
        "libcudnn.so.9 of 3 bytes",
        "libnvinfer.so.10 of 5 bytes",
    )
    nvinfer.write_bytes(b"123456")
    assert "libnvinfer.so.10 of 6 bytes" in loaded_libraries()


def test_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAPS", tmp_path / "none")
    assert loaded_libraries() == ()


def test_another_gpu_of_the_machine_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for visible in ("0", "1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        found.add(machine_of("1.30", Provider.CUDA))
    assert len(found) == 2
