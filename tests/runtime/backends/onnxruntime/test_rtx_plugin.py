"""The provider `rtx`: a plugin of ONNX Runtime, as far as it can be tried without a GPU."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

import dsunet_runtime
from dsunet_runtime import BackendError
from dsunet_runtime.backends.onnxruntime import rtx_plugin
from dsunet_runtime.cuda import nvml
from dsunet_runtime.extras import install_command

PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
CPU = "CPUExecutionProvider"
real_plugin = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="the plugin is not installed"
)
no_driver = pytest.mark.skipif(
    nvml.driver_version() is not None, reason="there is an NVIDIA driver"
)


class Plugin:
    """ONNX Runtime with the plugin on GPUs that are made up; it computes on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gpus: int = 2) -> None:
        self.registered: list[tuple[str, str]] = []
        self.asked: list[tuple[list[Any], dict[str, str]]] = []
        self._gpus = gpus
        create = onnxruntime.InferenceSession
        plugin = self

        class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
            def add_provider_for_devices(self, devices: Any, settings: dict[str, str]) -> None:
                plugin.asked.append((devices, settings))

        class Session:
            def __init__(self, path: Any, options: Any, **others: object) -> None:
                assert others == {"enable_fallback": 0}
                self._session = create(path, options, providers=[CPU])

            def get_providers(self) -> list[str]:
                return [rtx_plugin.NAME, CPU]

            def get_provider_graph_assignment_info(self) -> list[Any]:
                node = types.SimpleNamespace(op_type="MatMul", name="a")
                return [types.SimpleNamespace(ep_name=rtx_plugin.NAME, get_nodes=lambda: [node])]

            def __getattr__(self, name: str) -> Any:
                return getattr(self._session, name)

        module = types.SimpleNamespace(get_library_path=lambda: "/x/y.so", __version__="0.5.0")
        monkeypatch.setitem(sys.modules, PACKAGE, module)
        monkeypatch.setattr(rtx_plugin, "is_installed", lambda: True)
        monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
        # ONNX Runtime 1.22 does not have them.
        monkeypatch.setattr(onnxruntime, "get_ep_devices", self.devices, raising=False)
        monkeypatch.setattr(
            onnxruntime, "register_execution_provider_library", self.register, raising=False
        )

    def devices(self) -> list[Any]:
        names = [CPU] + [rtx_plugin.NAME] * (self._gpus if self.registered else 0)
        return [types.SimpleNamespace(ep_name=name) for name in names]

    def register(self, name: str, path: str) -> None:
        self.registered.append((name, path))
        if len(self.registered) > 1:
            raise RuntimeError(f"EP library is already registered under {name}")


class TestStandIn:
    def test_registers_once_and_keeps_its_cache_by_the_graph(
        self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plugin = Plugin(monkeypatch)
        for _ in range(2):
            dsunet_runtime.load(frames_artifact, provider="rtx").close()
        assert plugin.registered == [(rtx_plugin.NAME, "/x/y.so")]
        sha256 = dsunet_runtime.read_manifest(frames_artifact).graph.sha256
        folder = Path(f"{frames_artifact}.{sha256[:16]}.rtx")
        assert folder.is_dir()
        for devices, settings in plugin.asked:
            assert [device.ep_name for device in devices] == [rtx_plugin.NAME]
            assert settings == {"nv_runtime_cache_path": str(folder)}

    def test_computes_no_tf32(self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The plugin has no option for it."""
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "x")  # so that it is restored
        del os.environ["NVIDIA_TF32_OVERRIDE"]
        Plugin(monkeypatch)
        dsunet_runtime.load(frames_artifact, provider="rtx").close()
        assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"

    def test_no_place_for_the_cache(
        self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plugin = Plugin(monkeypatch)
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        dsunet_runtime.load(frames_artifact, provider="rtx").close()
        monkeypatch.undo()
        plugin = Plugin(monkeypatch)
        sha256 = dsunet_runtime.read_manifest(frames_artifact).graph.sha256
        Path(f"{frames_artifact}.{sha256[:16]}.rtx").write_text("in the way")
        dsunet_runtime.load(frames_artifact, provider="rtx").close()
        assert [settings for _, settings in plugin.asked] == [{}]

    def test_no_supported_gpu(self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Plugin(monkeypatch, gpus=0)
        for _ in range(2):
            with pytest.raises(BackendError, match="'rtx' finds no GPU that it supports"):
                dsunet_runtime.load(frames_artifact, provider="rtx")

    def test_machine_names_the_plugin(
        self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Plugin(monkeypatch)
        with dsunet_runtime.load(frames_artifact, provider="rtx") as segmenter:
            assert segmenter._backend is not None
            assert f"{rtx_plugin.NAME} 0.5.0" in segmenter._backend.machine

    def test_onnx_runtime_without_plugins(
        self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Plugin(monkeypatch)
        monkeypatch.delattr(onnxruntime, "register_execution_provider_library")
        with pytest.raises(BackendError, match=r"needs ONNX Runtime 1\.24 or later"):
            dsunet_runtime.load(frames_artifact, provider="rtx")


def test_not_installed(frames_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtx_plugin, "is_installed", lambda: False)
    with pytest.raises(BackendError, match=re.escape(install_command("rtx-provider"))):
        dsunet_runtime.load(frames_artifact, provider="rtx")


COMMAND = (sys.executable, "-m", "dsunet_runtime", "selftest")


@real_plugin
@no_driver
def test_real_plugin_without_a_driver(frames_artifact: Path) -> None:
    done = subprocess.run(
        [*COMMAND, frames_artifact, "--provider", "rtx"], capture_output=True, text=True
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("dsunet-run: the provider 'rtx' does not start: it needs an NVIDIA GPU")
    assert "libcuda.so.1" in line
    assert (done.returncode, done.stdout) == (1, "")
    assert not list(frames_artifact.parent.glob("*.rtx"))


LIBRARIES = """
int cuGetErrorString(int code, const char **text) { *text = "no device"; return 0; }
int cuGetProcAddress_v2(void) { return 500; }
"""
NO_DEVICE = (
    *("cuInit", "cuCtxCreate_v4", "cuCtxDestroy_v2", "cuCtxGetCurrent", "cuCtxPopCurrent_v2"),
    *("cuCtxPushCurrent_v2", "cuCtxSetCurrent", "cuStreamGetCtx", "cuDestroyExternalMemory"),
    *("cuDestroyExternalSemaphore", "cuExternalMemoryGetMappedBuffer", "cuImportExternalMemory"),
    *("cuImportExternalSemaphore", "cuSignalExternalSemaphoresAsync"),
    *("cuWaitExternalSemaphoresAsync", "nvmlSystemGetDriverVersion", "nvmlInit_v2"),
    *("nvmlShutdown", "nvmlErrorString"),
)
"""Functions that fail as they do where there is no GPU."""


@real_plugin
@no_driver
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_real_plugin_with_a_driver_but_no_gpu(frames_artifact: Path, tmp_path: Path) -> None:
    """The driver is a stand-in: the plugin loads, and lists no device."""
    source = tmp_path / "driver.c"
    stubs = "".join(f"int {name}(void) {{ return 100; }}\n" for name in NO_DEVICE)
    source.write_text(LIBRARIES + stubs)
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        subprocess.run(
            ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", tmp_path / name, source],
            check=True,
        )
    done = subprocess.run(
        [*COMMAND, frames_artifact, "--provider", "rtx"],
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("dsunet-run: the provider 'rtx' finds no GPU that it supports")
    assert done.returncode == 1
