"""That every error of PyCUDA arrives as one of ours, on a PyCUDA that is not there."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dsunet_runtime import BackendError
from dsunet_runtime.cuda import Cuda, Device
from tests.runtime.fake_cuda import GPU

MODULE = "dsunet_runtime.cuda.pycuda"


class Error(Exception):
    pass


class OutOfMemoryError(Error):
    pass


class Driver(types.ModuleType):
    """`pycuda.driver`, whose every call raises `error`, if there is one."""

    Error = Error
    MemoryError = OutOfMemoryError

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.error: Error | None = None

    def init(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return Native(self)


class Native:
    """Any object of PyCUDA's, function or class."""

    def __init__(self, driver: Driver) -> None:
        self.__dict__["_driver"] = driver

    def __call__(self, *arguments: Any) -> Any:
        if self._driver.error is not None:
            raise self._driver.error
        return Native(self._driver)

    def __getattr__(self, name: str) -> Any:
        return Native(self._driver)

    def __int__(self) -> int:
        return 256


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    package = types.ModuleType("pycuda")
    package.driver = driver  # type: ignore[attr-defined]
    for name, module in (("pycuda", package), ("pycuda.driver", driver), (MODULE, package)):
        monkeypatch.setitem(sys.modules, name, module)
    del sys.modules[MODULE]  # import it with these, and not for other tests
    return driver


@pytest.fixture
def cuda(driver: Driver) -> Cuda:
    made: Cuda = importlib.import_module(MODULE).PyCuda()
    return made


def enter(device: Device) -> None:
    with device.current():
        pass


def leave(device: Device, driver: Driver) -> None:
    with device.current():
        driver.error = Error("lost")


CALLS: list[Callable[[Cuda], Any]] = [
    lambda cuda: cuda.version(),
    lambda cuda: cuda.gpus(),
    lambda cuda: cuda.open(GPU),
]
DEVICE_CALLS: list[Callable[[Device], Any]] = [
    enter,
    lambda device: device.allocate(4),
    lambda device: device.pin(4),
    lambda device: device.stream(),
    lambda device: device.close(),
]


@pytest.mark.parametrize("call", CALLS)
def test_without_a_device(cuda: Cuda, driver: Driver, call: Callable[[Cuda], Any]) -> None:
    driver.error = Error("lost")
    with pytest.raises(BackendError, match=r"^CUDA failed: PyCUDA: lost$"):
        call(cuda)


@pytest.mark.parametrize("call", DEVICE_CALLS)
def test_of_a_device(cuda: Cuda, driver: Driver, call: Callable[[Device], Any]) -> None:
    device = cuda.open(GPU)
    driver.error = Error("lost")
    with pytest.raises(BackendError, match=r"^CUDA failed: PyCUDA: lost$"):
        call(device)


def test_leaving_a_device(cuda: Cuda, driver: Driver) -> None:
    with pytest.raises(BackendError, match=r"^CUDA failed: PyCUDA: lost$"):
        leave(cuda.open(GPU), driver)


def test_of_what_a_device_makes(cuda: Cuda, driver: Driver) -> None:
    device = cuda.open(GPU)
    memory, pinned, stream = device.allocate(4), device.pin(4), device.stream()
    array = np.zeros(4, np.uint8)
    driver.error = Error("lost")
    for call in (
        lambda: device.to_device(256, array, stream),
        lambda: device.to_host(array, 256, stream),
        lambda: device.copy(512, 256, 4, stream),
        stream.synchronize,
        memory.close,
        pinned.close,
    ):
        with pytest.raises(BackendError, match=r"^CUDA failed: PyCUDA: lost$"):
            call()


def test_too_little_memory(cuda: Cuda, driver: Driver) -> None:
    device = cuda.open(GPU)
    driver.error = OutOfMemoryError("no")
    with pytest.raises(BackendError, match="not enough free GPU memory: stop other processes"):
        device.allocate(4)
