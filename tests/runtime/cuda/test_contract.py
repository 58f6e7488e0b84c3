"""The CUDA layer: one contract, and every binding that carries it out.

The real ones need a GPU.  cuda-python is also tested on a driver that does everything in host
memory, so that calls to it with wrong arguments show without one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pynvml
import pytest

from dsunet_runtime import BackendError
from dsunet_runtime.cuda import Cuda, Device, find, nvml
from dsunet_runtime.extras import install_command
from tests.runtime.fake_cuda import GPU, FakeCuda
from tests.runtime.gpu.process_memory import process_memory

HERE = Path(__file__).parent
TOO_MUCH = 1 << 45
"""Bytes; 32 TB."""
_WITH_THE_STUB = "(TestContract and cuda-python) or management_library or memory_of_this_process"


def make(binding: str) -> Cuda:
    if binding == "fake":
        return FakeCuda()
    if importlib.util.find_spec(binding.partition("-")[0]) is None:
        pytest.skip(f"{binding} is not installed")
    try:
        if binding == "pycuda":
            from dsunet_runtime.cuda.pycuda import PyCuda

            return PyCuda()
        from dsunet_runtime.cuda.cuda_python import CudaPython

        return CudaPython()
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(
    params=[
        "fake",
        pytest.param("cuda-python", marks=pytest.mark.gpu),
        pytest.param("pycuda", marks=pytest.mark.gpu),
    ]
)
def cuda(request: pytest.FixtureRequest) -> Cuda:
    cuda = make(request.param)
    if not cuda.gpus():
        pytest.skip("the driver shows no GPU")
    return cuda


@pytest.fixture
def device(cuda: Cuda) -> Iterator[Device]:
    with cuda.open(cuda.gpus()[0]) as device, device.current():
        yield device


class TestContract:
    def test_properties_of_a_gpu(self, cuda: Cuda) -> None:
        for index, gpu in enumerate(cuda.gpus()):
            assert gpu.index == index
            assert gpu.name.isprintable()
            major, _, minor = gpu.compute_capability.partition(".")
            assert int(major) >= 5
            assert int(minor) >= 0
            assert gpu.memory > 1 << 30
            assert gpu.pci_bus_id.count(":") == 2
        assert float(cuda.version()) >= 11

    def test_there_and_back(self, device: Device) -> None:
        content = np.arange(1000, dtype=np.float32).reshape(10, 100)
        size = content.nbytes
        with (
            device.stream() as stream,
            device.allocate(size) as memory,
            device.allocate(size) as other,
            device.pin(size) as source,
            device.pin(size) as target,
        ):
            source.array.view(np.float32).reshape(content.shape)[:] = content
            target.array[:] = 0
            device.to_device(memory.pointer, source.array, stream)
            device.copy(other.pointer, memory.pointer, size, stream)
            device.to_host(target.array, other.pointer, stream)
            stream.synchronize()
            returned = target.array.view(np.float32).reshape(content.shape)
            np.testing.assert_array_equal(returned, content)
            del returned

    def test_an_event_orders_two_streams_and_the_host(self, device: Device) -> None:
        with (
            device.stream() as first,
            device.stream() as second,
            device.event() as there,
            device.event() as back,
            device.allocate(4) as memory,
            device.pin(4) as source,
            device.pin(4) as target,
        ):
            source.array[:] = [1, 2, 3, 4]
            target.array[:] = 0
            device.to_device(memory.pointer, source.array, first)
            there.record(first.handle)
            there.wait(second.handle)
            device.to_host(target.array, memory.pointer, second)
            back.record(second.handle)
            back.synchronize()
            assert target.array.tolist() == [1, 2, 3, 4]

    def test_an_event_that_stands_for_nothing_holds_nothing(self, device: Device) -> None:
        with device.stream() as stream, device.event() as event:
            event.wait(stream.handle)
            event.synchronize()
            stream.synchronize()

    def test_the_default_stream(self, device: Device) -> None:
        with device.stream() as stream, device.event() as event:
            event.record(0)
            event.wait(stream.handle)
            stream.synchronize()

    def test_from_other_threads(self, device: Device) -> None:
        results: list[bool] = []

        def work() -> None:
            with device.current(), device.allocate(16) as memory:
                results.append(device.holds(memory.pointer))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 4

    def test_closed_in_another_thread(self, cuda: Cuda) -> None:
        device = cuda.open(cuda.gpus()[0])
        thread = threading.Thread(target=device.close)
        thread.start()
        thread.join()
        device.close()
        # What is left behind would be current here.
        with cuda.open(cuda.gpus()[0]) as again, again.current():
            again.stream().close()

    def test_what_memory_is_the_devices(self, device: Device) -> None:
        host = np.zeros(16, np.uint8)
        with device.allocate(1024) as memory:
            assert device.holds(memory.pointer)
            assert device.holds(memory.pointer + 1023)
            assert not device.holds(host.ctypes.data)
            assert not device.holds(8)

    def test_closing_twice(self, device: Device) -> None:
        for handle in (device.stream(), device.event(), device.allocate(4), device.pin(4)):
            handle.close()
            handle.close()

    def test_too_much_memory(self, device: Device) -> None:
        with pytest.raises(BackendError, match="not enough free GPU memory: stop other processes"):
            device.allocate(TOO_MUCH)

    def test_capture(self, device: Device) -> None:
        if not device.captures:
            with device.stream() as stream, pytest.raises(BackendError, match="cuda-python does"):
                device.capture(stream)
            return
        with (
            device.stream() as stream,
            device.allocate(2) as memory,
            device.pin(2) as source,
            device.pin(2) as target,
        ):
            source.array[:] = 1
            target.array[:] = 0
            with device.capture(stream) as capture:
                device.to_device(memory.pointer, source.array, stream)
                device.to_host(target.array, memory.pointer, stream)
            stream.synchronize()
            assert target.array.tolist() == [0, 0]
            for value in (5, 6):
                source.array[:] = value
                capture.graph.launch(stream.handle)
                stream.synchronize()
                assert target.array.tolist() == [value, value]
            capture.graph.close()
            capture.graph.close()

    def test_a_failure_ends_the_capture(self, device: Device) -> None:
        if not device.captures:
            pytest.skip("nothing is captured with this binding")
        with (
            device.stream() as stream,
            device.pin(2) as target,
            device.allocate(2) as memory,
        ):
            with pytest.raises(ZeroDivisionError), device.capture(stream):
                raise ZeroDivisionError
            device.to_host(target.array, memory.pointer, stream)
            stream.synchronize()


class TestFind:
    def test_no_driver(self) -> None:
        if cuda_is_here():
            pytest.skip("there is a driver")
        with pytest.raises(BackendError, match="no working NVIDIA driver: install") as caught:
            find()
        assert "\n" not in str(caught.value)

    def test_no_binding(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        commands = f"{install_command('cuda')}, or {install_command('pycuda')} where"
        with pytest.raises(BackendError, match=re.escape(commands)):
            find()

    def test_no_management_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing() -> None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

        monkeypatch.setattr(pynvml, "nvmlInit", missing)
        assert nvml.driver_version() is None
        assert nvml.free_memory(GPU) is None
        assert nvml.state(GPU) is None


@pytest.mark.gpu
def test_management_library() -> None:
    if not cuda_is_here():
        pytest.skip("no NVIDIA driver")
    version = nvml.driver_version()
    assert version is not None
    assert version[0].isdigit()
    for gpu in find().gpus():
        free = nvml.free_memory(gpu)
        assert free is not None
        assert 0 < free <= gpu.memory
        if gpu.name == "Stub":
            slow = ("power limit", "thermal slowdown by software")
            assert nvml.state(gpu) == nvml.GpuState(2520, 250.5, 61, slow)


@pytest.mark.gpu
def test_memory_of_this_process() -> None:
    if not cuda_is_here():
        pytest.skip("no NVIDIA driver")
    cuda = find()
    with cuda.open(cuda.gpus()[0]) as device, device.current():
        before = process_memory(device.gpu)
        with device.allocate(64 << 20):
            assert process_memory(device.gpu) >= before + (64 << 20)


def cuda_is_here() -> bool:
    try:
        find()
    except BackendError:
        return False
    return True


def test_cuda_python_on_a_driver_in_host_memory(tmp_path: Path) -> None:
    """The contract's tests once more, with the real binding, in a process of their own."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    if sys.platform != "linux" or importlib.util.find_spec("cuda") is None:
        pytest.skip("cuda-python is not here, or looks for its driver in another way")
    library = tmp_path / "libcuda.so.1"
    options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library]
    subprocess.run([compiler, HERE / "stub_driver.c", *options, "-ldl"], check=True)
    (tmp_path / "libnvidia-ml.so.1").symlink_to(library)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    result = subprocess.run(
        [*tests, "-k", _WITH_THE_STUB, "-W", "ignore"],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    assert "skipped" not in result.stdout
