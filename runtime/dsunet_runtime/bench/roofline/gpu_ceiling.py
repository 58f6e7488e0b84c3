"""Peak compute and memory bandwidth of a GPU, measured by a TensorRT matmul and a copy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.flavor import rtx_name, typed_network
from dsunet_runtime.backends.tensorrt.execution import Bindings, Execution
from dsunet_runtime.bench.roofline.ceiling import Ceiling
from dsunet_runtime.bench.roofline.layer_profile import repeat
from dsunet_runtime.cuda import Device, Gpu, Stream
from dsunet_runtime.errors import BackendError

_SIDE = 4096
_COPY = 512 << 20
"""Size of the copy in bytes; larger than any cache of a GPU."""
_AT_ONCE = 10


def measure_gpu_ceiling(trt: Any, device: Device, log: Any, compute: Compute) -> Ceiling:
    """Measure a GPU with a matmul in the type that an engine computes in; the best of several runs.

    The device must be current.  Raises BackendError if TensorRT cannot build the matmul.
    """
    plan = build_matmul(trt, log, device.gpu, compute)
    return Ceiling(
        macs_per_second=_SIDE**3 / _matmul_seconds(trt, device, log, compute, plan),
        bytes_per_second=2 * _COPY / _copy_seconds(device),
        matmul=f"{compute.element_type} matrix multiplication of {_SIDE}×{_SIDE} by TensorRT",
        copy=f"copy of {_COPY >> 20} MiB",
    )


def build_matmul(trt: Any, log: Any, gpu: Gpu, compute: Compute) -> Any:
    """Build a serialised engine that computes y = a b for square matrices of one type."""
    builder = trt.Builder(log)
    network = typed_network(trt, builder)
    dtype = getattr(trt, compute.element_type)
    a, b = (network.add_input(name, dtype, (_SIDE, _SIDE)) for name in "ab")
    plain = trt.MatrixOperation.NONE
    y = network.add_matrix_multiply(a, plain, b, plain).get_output(0)
    y.name = "y"
    network.mark_output(y)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # as in engines
    if hasattr(config, "set_compute_capability"):  # TensorRT for RTX
        config.num_compute_capabilities = 1
        member = rtx_name(gpu.compute_capability)
        config.set_compute_capability(getattr(trt.ComputeCapability, member), 0)
    log.clear()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"TensorRT cannot build the matrix multiplication that measures the peak: "
            f"{log.reason()}; run without --roofline"
        )
    return plan


def _matmul_seconds(trt: Any, device: Device, log: Any, compute: Compute, plan: Any) -> float:
    numbers = _numbers(compute)
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BackendError(f"TensorRT cannot load a matrix multiplication: {log.reason()}")
    with ExitStack() as stack:
        stream = stack.enter_context(device.stream())
        buffers = {name: stack.enter_context(device.allocate(numbers.nbytes)) for name in "aby"}
        pinned = stack.enter_context(device.pin(numbers.nbytes))
        pinned.array[:] = numbers
        for name in "ab":
            device.to_device(buffers[name].pointer, pinned.array, stream)
        bindings = Bindings(
            dict.fromkeys("ab", (_SIDE, _SIDE)),
            {name: buffer.pointer for name, buffer in buffers.items()},
        )
        execution = Execution(device, engine.create_execution_context(), log, captures=False)
        stack.callback(execution.close)
        return _seconds(lambda: execution.enqueue(bindings, stream), stream)


def _numbers(compute: Compute) -> NDArray[np.uint8]:
    """Bytes of a random matrix.  With zeros, a GPU would consume less power and be faster."""
    values = np.random.default_rng(0).random(_SIDE * _SIDE, np.float32)
    match compute:
        case Compute.FP32:
            return values.view(np.uint8)
        case Compute.FP16:
            return values.astype(np.float16).view(np.uint8)
        case Compute.BF16:  # the upper half of a float32
            return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)


def _copy_seconds(device: Device) -> float:
    with (
        device.stream() as stream,
        device.allocate(_COPY) as source,
        device.allocate(_COPY) as target,
    ):
        return _seconds(lambda: device.copy(target.pointer, source.pointer, _COPY, stream), stream)


def _seconds(enqueue: Callable[[], object], stream: Stream) -> float:
    """Duration of one of several back-to-back runs, so that the launch overhead is hidden."""

    def together() -> None:
        for _ in range(_AT_ONCE):
            enqueue()
        stream.synchronize()

    together()
    return min(repeat(together)) / _AT_ONCE
