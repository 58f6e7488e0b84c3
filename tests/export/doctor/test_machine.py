"""The facts about a machine, some parts of which are simulated."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path

import onnx
import pytest

import dsunet_export.doctor.machine as machine_module
from dsunet_export.doctor.machine import InstalledTorch, NvidiaDriver, inspect_machine
from dsunet_runtime import BackendError
from dsunet_runtime.backends.onnxruntime import backend as onnxruntime_backend
from dsunet_runtime.backends.onnxruntime.execution_providers import official_name
from dsunet_runtime.cuda import nvml
from dsunet_runtime.provider import Provider
from tests.export.engines import H100, RTX_4090
from tests.export.machines import doctor
from tests.runtime.fake_cuda import FakeCuda


class TestLooking:
    def test_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine_module, "find", lambda: FakeCuda((RTX_4090, H100)))
        monkeypatch.setattr(nvml, "driver_version", lambda: "580.95.05")
        monkeypatch.setattr(nvml, "free_memory", lambda gpu: gpu.memory // 2)
        seen = types.SimpleNamespace(
            cuda=types.SimpleNamespace(is_available=lambda: True),
            version=types.SimpleNamespace(cuda="12.6"),
        )
        monkeypatch.setitem(sys.modules, "torch", seen)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
        found = inspect_machine()
        assert found.driver == NvidiaDriver("580.95.05", "13.0", None)
        assert [present.gpu for present in found.gpus] == [RTX_4090, H100]
        assert found.gpus[0].free_memory == 12 << 30
        assert found.torch == InstalledTorch("12.6", sees_gpu=True)

    @pytest.mark.parametrize(
        "error", [ImportError("libnvinfer.so.10: cannot open"), OSError("bad\n image"), KeyError(1)]
    )
    def test_tensorrt_that_does_not_load(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
    ) -> None:
        (tmp_path / "tensorrt.py").write_text(f"raise {error!r}")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
        package = json.loads(doctor("--json"))["packages"]["tensorrt"]
        assert package["state"] == "broken"
        assert package["reason"] == " ".join(str(error).split())

    def test_binding_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def find() -> None:
            raise OSError("libcuda is of another architecture")

        monkeypatch.setattr(machine_module, "find", find)
        document = json.loads(doctor("--json"))
        assert document["driver"]["problem"] == "libcuda is of another architecture"
        assert not document["tasks"]["run_engine_rtx"]["possible"]


class TestProviders:
    def test_model_is_valid(self) -> None:
        model = onnx.load_from_string(onnxruntime_backend._SMALLEST_MODEL)
        onnx.checker.check_model(model, full_check=True)

    def test_started(self) -> None:
        onnxruntime_backend.check_provider(Provider.CPU)

    def test_tried_before_other_packages_bring_their_libraries(self) -> None:
        code = (
            "import sys\n"
            "from dsunet_export.doctor.machine import inspect_machine\n"
            "from dsunet_runtime.backends import selection\n"
            "def check(provider):\n"
            "    print(sorted({'torch', 'tensorrt', 'tensorrt_rtx'} & set(sys.modules)))\n"
            "selection.check_provider = check\n"
            "inspect_machine()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert set(done.stdout.splitlines()) == {"[]"}, done.stderr

    def test_not_built_in(self) -> None:
        import onnxruntime

        if official_name(Provider.CUDA) in onnxruntime.get_available_providers():
            pytest.skip("the ONNX Runtime here has the provider cuda")
        with pytest.raises(BackendError, match="has no provider 'cuda'"):
            onnxruntime_backend.check_provider(Provider.CUDA)

    @pytest.mark.filterwarnings("ignore:Specified provider")
    def test_not_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """ONNX Runtime then uses the CPU without a message."""
        import onnxruntime

        everything = [official_name(p) for p in (Provider.TENSORRT, Provider.CUDA, Provider.CPU)]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
        monkeypatch.setattr(
            onnxruntime.InferenceSession, "get_providers", lambda self: ["CPUExecutionProvider"]
        )
        monkeypatch.setattr(nvml, "driver_version", lambda: "580.95.05")
        monkeypatch.setattr(machine_module, "_probe_torch", lambda driver: None)
        providers = inspect_machine().providers
        assert providers[Provider.CPU].starts
        assert providers[Provider.CUDA].starts is False
        assert "did not start" in str(providers[Provider.CUDA].problem)

    @pytest.mark.gpu
    def test_cuda_starts_if_it_reports_that(self) -> None:
        found = inspect_machine()
        if not found.gpus or Provider.CUDA not in found.providers:
            pytest.skip("no GPU, or no ONNX Runtime for one")
        assert found.providers[Provider.CUDA].starts, found.providers[Provider.CUDA].problem
        assert found.gpus[0].free_memory is None or found.gpus[0].free_memory > 0
