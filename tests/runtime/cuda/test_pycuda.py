"""That every error of PyCUDA arrives as one of ours, on a PyCUDA that is not there."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any, Self

import numpy as np
import pytest

from dsunet_runtime import BackendError
from dsunet_runtime.cuda import Cuda
from tests.runtime.fake_cuda import GPU

MODULE = "dsunet_runtime.cuda.pycuda"


class Error(Exception):
    pass


class OutOfMemoryError(Error):
    pass


class Driver(types.ModuleType):
    """`pycuda.driver` and all that it makes.  Every call raises `error`, if there is one."""

    Error = Error
    MemoryError = OutOfMemoryError
    error: Error | None = None

    def init(self) -> None:
        pass

    def __getattr__(self, name: str) -> Self:
        return self

    def __call__(self, *arguments: Any) -> Self:
        if self.error is not None:
            raise self.error
        return self

    def __int__(self) -> int:
        return 256


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver("pycuda.driver")
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


def test_every_call(cuda: Cuda, driver: Driver) -> None:
    device = cuda.open(GPU)
    memory, pinned, stream = device.allocate(4), device.pin(4), device.stream()
    array = np.zeros(4, np.uint8)

    def leave() -> None:
        driver.error = None
        with device.current():
            driver.error = Error("lost")

    for call in (
        leave,
        device.current().__enter__,
        cuda.version,
        cuda.gpus,
        lambda: cuda.open(GPU),
        lambda: device.allocate(4),
        lambda: device.pin(4),
        device.stream,
        lambda: device.to_device(256, array, stream),
        lambda: device.to_host(array, 256, stream),
        lambda: device.copy(512, 256, 4, stream),
        stream.synchronize,
        memory.close,
        pinned.close,
        device.close,
    ):
        with pytest.raises(BackendError, match=r"^CUDA failed: PyCUDA: lost$"):
            call()


def test_too_little_memory(cuda: Cuda, driver: Driver) -> None:
    device = cuda.open(GPU)
    driver.error = OutOfMemoryError("no")
    with pytest.raises(BackendError, match="not enough free GPU memory: stop other processes"):
        device.allocate(4)
