"""The builder configuration of TensorRT for RTX, and engines without weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dsunet_export.tensorrt.configuration import EngineOptions, configure
from dsunet_export.tensorrt.targets import Target
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.integrity import check_hashes
from dsunet_runtime.backends.tensorrt.log import log_of
from dsunet_runtime.cuda import Gpu
from tests.export.engines import RTX_4090, graph, has_gpu, pretend_gpu, trt
from tests.export.helpers import one_line

rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")


def config(options: EngineOptions) -> Any:
    """Create the builder configuration for an RTX 4090."""
    builder = rtx.Builder(log_of(rtx))
    return configure(builder, Target(Flavor.RTX, {"8.9": ()}, "a test"), options, ())


def test_flags() -> None:
    """Float32 is float32, an engine allocates nothing while it runs, and it tells its layers."""
    plain = config(EngineOptions())
    assert not plain.get_flag(rtx.BuilderFlag.TF32)
    assert plain.get_flag(rtx.BuilderFlag.REQUIRE_USER_ALLOCATION)
    assert plain.profiling_verbosity == rtx.ProfilingVerbosity.DETAILED
    assert plain.num_compute_capabilities == 1
    assert plain.get_compute_capability(0) == rtx.ComputeCapability.SM89


class TestStrippedWeights:
    def test_flags(self) -> None:
        """Refitted from the very file: identical weights, which leaves TensorRT all its fusions."""
        for strip in (False, True):
            told = config(EngineOptions(strip_weights=strip))
            assert told.get_flag(rtx.BuilderFlag.STRIP_PLAN) == strip
            assert told.get_flag(rtx.BuilderFlag.REFIT_IDENTICAL) == strip
            assert not told.get_flag(rtx.BuilderFlag.REFIT)

    @pytest.mark.parametrize(
        ("gpu", "asked", "match"),
        [
            (None, ["--gpu", "rtx4090"], r"needs a GPU on this machine \(CUDA finds no GPU\)"),
            (
                RTX_4090,
                ["--gpu", "rtx4090", "--gpu", "rtx5090"],
                r"--strip-weights takes one compute capability, not 8\.9, 12\.0:",
            ),
        ],
    )
    def test_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None,
        asked: list[str], match: str,
    ) -> None:  # fmt: skip
        pretend_gpu(monkeypatch, gpu)
        small = graph(tmp_path / "small.onnx", batch=1, side=32)
        output = tmp_path / "x.engine"
        result = trt(small, "--flavor", "rtx", *asked, "--strip-weights", "-o", output)
        assert (result.exit_code, result.stdout) == (1, "")
        assert re.search(match, one_line(result.stderr))
        assert not output.exists()

    def test_driver_that_is_not_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """TensorRT for RTX fails, and its reason comes with a remedy."""
        if has_gpu():
            pytest.skip("there is a driver here")
        pretend_gpu(monkeypatch, RTX_4090)
        small = graph(tmp_path / "small.onnx", batch=1, side=32)
        result = trt(small, "--strip-weights", "-o", tmp_path / "x.engine")
        assert (result.exit_code, result.stdout) == (1, "")
        assert (
            "CUDA_SUCCESS) failed: check driver and GPU with `dsunet-export doctor`"
            in result.stderr
        )
        assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]

    @pytest.mark.gpu
    def test_engine(self, tmp_path: Path) -> None:
        """Its file is smaller by most of the weights; TensorRT for RTX keeps the small ones."""
        if not has_gpu():
            pytest.skip("needs an NVIDIA GPU and its driver")
        wide = graph(tmp_path / "wide.onnx", batch=1, side=32, channels=1024)
        for name, options in (("whole", ()), ("stripped", ("--strip-weights",))):
            output = tmp_path / f"{name}.engine"
            result = trt(wide, "--gpu", "rtx4090", "--flavor", "rtx", "-o", output, *options)
            assert result.exit_code == 0, result.output
        assert "keep it beside the engine" in result.stdout
        whole, stripped = (read_manifest(tmp_path / f"{n}.engine") for n in ("whole", "stripped"))
        assert whole.engine is not None
        assert stripped.engine is not None
        assert stripped.engine.weights_stripped
        check_hashes(tmp_path / "stripped.engine", stripped)
        saved = whole.engine.file.size - stripped.engine.file.size
        assert saved > 0.8 * whole.engine.precision_report.weight_bytes
