"""The faults that the doubles of CUDA and TensorRT are there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

import dsunet_runtime
from tests.runtime import engines
from tests.runtime.conftest import IN_BOTH_ORDERS, Machine
from tests.runtime.fake_cuda import DEFAULT_STREAMS, GPU

pytestmark = IN_BOTH_ORDERS


def test_early_read_and_early_write(machine: Machine) -> None:
    with (
        machine.cuda.open(GPU) as device,
        device.current(),
        device.stream() as stream,
        device.allocate(1) as memory,
        device.pin(1) as source,
        device.pin(1) as target,
    ):
        source.array[:], target.array[:] = 1, 0
        device.to_device(memory.pointer, source.array, stream)
        device.to_host(target.array, memory.pointer, stream)
        assert target.array[0] == 0  # read before the copy
        source.array[:] = 2  # overwritten before the copy
        stream.synchronize()
        assert target.array[0] == 2


def test_unclosed_object(machine: Machine) -> None:
    device = machine.cuda.open(GPU)
    with device.current():
        device.event()
    with pytest.raises(AssertionError, match="closed before"):
        device.close()


@pytest.mark.parametrize("stream", DEFAULT_STREAMS)
def test_default_stream(machine: Machine, tmp_path: Path, stream: int) -> None:
    with (
        dsunet_runtime.load(engines.frames(tmp_path / "a.engine")),
        machine.device.current(),
        pytest.raises(AssertionError, match="synchronises"),
    ):
        machine.context.execute_async_v3(stream)
