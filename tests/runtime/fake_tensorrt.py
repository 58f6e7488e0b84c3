"""TensorRT as far as the runtime calls it, on a fake GPU, with the arithmetic of `artifacts.py`.

An "engine" is a JSON document.  Its context reads and writes device memory when the stream comes to
it, in two steps with an intermediate result in memory of the context, so that two runs of one
context that are not ordered spoil each other.
"""

from __future__ import annotations

import enum
import json
import types
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.runtime.fake_cuda import ALIGNMENT, DEFAULT_STREAMS, FakeCuda, FakeDevice

VERSION = "1.7.1.116"
MAGIC = "fake engine"


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    INFO = 3


class ILogger:
    INTERNAL_ERROR, ERROR, INFO = Severity


class EngineValidity(enum.Enum):
    VALID = 0
    INVALID = 2


class EngineInvalidityDiagnostics(enum.IntEnum):
    VERSION_MISMATCH = 1
    OLD_CUDA_DRIVER = 4
    INSUFFICIENT_GPU_MEMORY = 16
    MALFORMED_ENGINE = 32


class LayerInformationFormat(enum.Enum):
    JSON = 1


class IProfiler:
    pass


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class CudaGraphStrategy(enum.Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class ComputeCapability(enum.Enum):
    SM86 = 86
    SM89 = 89
    SM120 = 120


class Lent:
    """What the runtime holds of something of TensorRT's, which is freed with the last reference.

    As with the real one a context keeps its engine, and that its runtime, but a context keeps
    neither its configuration nor its cache.
    """

    def __init__(self, device: FakeDevice, kind: str, native: Any, *keeps: Any) -> None:
        self.__dict__.update(native=native, keeps=keeps)
        device.lent.append(kind)
        weakref.finalize(self, _free, device, kind)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.native, name, value)


def _free(device: FakeDevice, kind: str) -> None:
    device.lent.remove(kind)
    device.freed.append(kind)
    if not device.is_current:
        device.faults.append(f"{kind} freed while the device was not current")
    # Each engine has one of each.
    if kind in ("configuration", "cache") and device.lent.count("context") > device.lent.count(
        kind
    ):
        device.faults.append(f"{kind} freed before the context")


class FakeTensorRT(types.ModuleType):
    """The package, `tensorrt_rtx` or `tensorrt`, on a fake GPU."""

    def __init__(self, cuda: FakeCuda, *, rtx: bool = True, version: str = VERSION) -> None:
        super().__init__("tensorrt_rtx" if rtx else "tensorrt")
        self.__version__ = version
        self.cuda = cuda
        self.rtx = rtx
        of_both = (ILogger, IProfiler, LayerInformationFormat, OnnxParserRefitter, Refitter)
        of_rtx = (ComputeCapability, CudaGraphStrategy, EngineInvalidityDiagnostics, EngineValidity)
        for one in (*of_both, TensorIOMode, *(of_rtx if rtx else ())):
            setattr(self, one.__name__, one)
        self.log: Any = None
        self.engines: list[Engine] = []
        self.diagnostics = 0
        """What the validity check finds."""
        self.fails: set[str] = set()
        """Names of calls that do not succeed."""

    def Runtime(self, log: Any) -> Any:  # noqa: N802 - TensorRT's name
        if not any(device.lent for device in self.cuda.devices):
            self.log = log  # the only one, as long as anything made with it is left
        runtime = RtxRuntime(self, self.log) if self.rtx else Runtime(self, self.log)
        runtime.lent = weakref.ref(lent := Lent(self.device, "runtime", runtime))
        return lent

    def nptype(self, dtype: str) -> type[Any]:
        return np.dtype(dtype).type

    @property
    def device(self) -> FakeDevice:
        return self.cuda.devices[-1]


class Runtime:
    def __init__(self, trt: FakeTensorRT, log: Any) -> None:
        self._trt, self._log = trt, log
        self.lent: weakref.ref[Lent]

    def deserialize_cuda_engine(self, content: Any) -> Lent | None:
        self._trt.device.need_context()
        document = json.loads(bytes(content))
        if "deserialize" in self._trt.fails or document.get("magic") != MAGIC:
            self._log.log(Severity.INFO, "Loaded engine size: 0 MiB")
            self._log.log(Severity.ERROR, "magicTag\nfailed")
            self._log.log(Severity.ERROR, "and more")
            return None
        engine = Engine(self._trt, document, self._log)
        self._trt.engines.append(engine)
        engine.lent = weakref.ref(lent := Lent(self._trt.device, "engine", engine, self.lent()))
        return lent


class RtxRuntime(Runtime):
    def get_engine_validity(self, content: Any) -> tuple[EngineValidity, int]:
        self._trt.device.need_context()
        found = self._trt.diagnostics
        return (EngineValidity.INVALID if found else EngineValidity.VALID), found


class Engine:
    def __init__(self, trt: FakeTensorRT, document: dict[str, Any], log: Any) -> None:
        self.trt, self.log = trt, log
        self.tensors: dict[str, dict[str, Any]] = document["tensors"]
        weights = document["weights"]
        self.layers: list[dict[str, Any]] = document.get("layers", [])
        """As the inspector describes them, with their milliseconds."""
        self.weights = None if weights is None else np.array(weights, np.float32)
        self.config: RuntimeConfig | None = None
        self.contexts: list[Context] = []
        self.num_io_tensors = len(self.tensors)
        self.lent: weakref.ref[Lent]

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode[self.tensors[name]["mode"]]

    def get_tensor_dtype(self, name: str) -> str:
        return str(self.tensors[name]["dtype"])

    def get_tensor_shape(self, name: str) -> list[int]:
        return list(self.tensors[name]["shape"])

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[list[int]]:
        assert profile == 0
        return list(self.tensors[name]["profile"])

    def compute(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """What `artifacts.frames` or `artifacts.tensors` say, or the product of two matrices."""
        if "a" in inputs:
            return {"y": inputs["a"] @ inputs["b"]}
        assert self.weights is not None, "run without weights"
        if "image" in inputs:
            return {"mask": inputs["image"] @ self.weights}
        weighted = np.einsum("nchw,c->nhw", inputs["hiera"], self.weights)[:, None]
        return {"logits": weighted + inputs["dino"].mean((1, 2, 3), keepdims=True)}

    def create_engine_inspector(self) -> Inspector:
        return Inspector(self)

    def create_runtime_config(self) -> Lent:
        assert self.trt.rtx, "the classic TensorRT has other ways"
        self.config = RuntimeConfig(self.trt.device)
        return Lent(self.trt.device, "configuration", self.config, self.lent())

    def create_execution_context(self, given: Lent | None = None) -> Lent | None:
        self.trt.device.need_context()
        config = None if given is None else given.native
        assert config is self.config
        if "create_execution_context" in self.trt.fails:
            self.log.log(Severity.ERROR, "out of memory")
            return None
        if config is not None:
            config.compile("context")
        self.contexts.append(Context(self))
        return Lent(self.trt.device, "context", self.contexts[-1], self.lent())


class Inspector:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.execution_context: Any = None

    def get_engine_information(self, form: LayerInformationFormat) -> str:
        assert form is LayerInformationFormat.JSON
        assert self.execution_context.shapes_are_set, "sizes are not known yet"
        return json.dumps({"Layers": self._engine.layers, "Bindings": []})


class RuntimeConfig:
    def __init__(self, device: FakeDevice) -> None:
        self._device = device
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self.cache: RuntimeCache | None = None
        self.compiled: list[str] = []
        """What was not in the cache."""

    def create_runtime_cache(self) -> Lent:
        return Lent(self._device, "cache", RuntimeCache())

    def set_runtime_cache(self, cache: Lent) -> bool:
        self.cache = cache.native
        return True

    def compile(self, kernel: str) -> None:
        assert self.cache is not None
        if kernel not in self.cache.kernels:
            self.cache.kernels.append(kernel)
            self.compiled.append(kernel)


class RuntimeCache:
    HEADER = "kernels:"

    def __init__(self) -> None:
        self.kernels: list[str] = []

    def serialize(self) -> bytes | None:
        """As a buffer, if there is anything in it."""
        if not self.kernels:
            return None
        return (self.HEADER + ";".join(self.kernels)).encode()

    def deserialize(self, content: bytes) -> bool:
        text = content.decode(errors="replace")
        if not text.startswith(self.HEADER):
            return False
        self.kernels = [kernel for kernel in text.removeprefix(self.HEADER).split(";") if kernel]
        return True


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._device = engine.trt.device
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self.profiler: Any = None
        self._intermediate: dict[str, NDArray[np.float32]] | None = None
        self._warm: tuple[tuple[str, tuple[int, ...]], ...] | None = None
        self.enqueued: list[tuple[int, int]] = []
        """Of every run the stream, and how many images it had."""
        self.captures = 0
        """How often a run was put into a stream that was being captured."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if "set_input_shape" in self._engine.trt.fails:
            self._engine.log.log(Severity.ERROR, "the shape\nfailed")
            return False
        low, _, high = self._engine.tensors[name]["profile"]
        if not all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
            self._engine.log.log(Severity.ERROR, "the profile does not have this shape")
            return False
        self._shapes[name] = tuple(shape)
        return True

    @property
    def shapes_are_set(self) -> bool:
        modes = {name: self._engine.get_tensor_mode(name) for name in self._engine.tensors}
        return all(n in self._shapes for n, mode in modes.items() if mode is TensorIOMode.INPUT)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return address % ALIGNMENT == 0

    def execute_async_v3(self, stream: int) -> bool:
        device, engine = self._device, self._engine
        device.need_context()
        assert stream not in DEFAULT_STREAMS, "TensorRT synchronises the device there"
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        warm = tuple(shapes.items())
        if stream in device.recordings:
            assert self._warm == warm, "captured before a plain run of these shapes"
            self.captures += 1
            if "capture" in engine.trt.fails:
                engine.log.log(Severity.ERROR, "cannot be captured")
                return False
        if "execute" in engine.trt.fails:
            engine.log.log(Severity.ERROR, "the kernel\nfailed")
            return False
        self._warm = warm
        if engine.config is not None:
            engine.config.compile(str(sorted(shapes.items())))
        self.enqueued.append((stream, next(iter(shapes.values()))[0]))
        device.enqueue(stream, lambda: self._first(shapes, addresses))
        device.enqueue(stream, lambda: self._second(addresses))
        if self.profiler is not None:
            assert engine.config is None, "inside a recording nothing can be timed"
            device.drain(stream)
            for layer in engine.layers:
                self.profiler.report_layer_time(layer["Name"], layer["ms"])
        return True

    def _first(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        assert self._intermediate is None, "two runs of one context at once"
        inputs = {}
        for name, shape in shapes.items():
            dtype = np.dtype(self._engine.get_tensor_dtype(name))
            content = self._device.at(addresses[name], int(np.prod(shape)) * dtype.itemsize)
            inputs[name] = content.view(dtype).reshape(shape).astype(np.float32)
        self._intermediate = self._engine.compute(inputs)

    def _second(self, addresses: dict[str, int]) -> None:
        assert self._intermediate is not None, "two runs of one context at once"
        for name, value in self._intermediate.items():
            content = value.astype(self._engine.get_tensor_dtype(name))
            target = self._device.at(addresses[name], content.nbytes)
            target[:] = content.reshape(-1).view(np.uint8)
        self._intermediate = None


class Refitter:
    def __init__(self, engine: Engine, log: Any) -> None:
        self.engine, self.log = engine, log
        self.found: NDArray[np.float32] | None = None

    def refit_cuda_engine(self) -> bool:
        if "refit" in self.engine.trt.fails or self.found is None:
            self.log.log(Severity.ERROR, "weights are missing")
            return False
        self.engine.weights = self.found
        return True


class OnnxParserRefitter:
    def __init__(self, refitter: Refitter, log: Any) -> None:
        self._refitter = refitter
        self.num_errors = 0

    def refit_from_file(self, model: str) -> bool:
        graph = onnx.load(model).graph
        weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        if weights.keys() != {"weights"}:
            self.num_errors = 1
            return False
        self._refitter.found = weights["weights"]
        return True

    def get_error(self, index: int) -> Any:
        return types.SimpleNamespace(
            desc=lambda: "an initializer\nis not in the engine", node_name=lambda: "head/MatMul"
        )


def write_engine(path: Path, document: dict[str, Any]) -> None:
    """The file that `deserialize_cuda_engine` reads."""
    path.write_text(json.dumps({"magic": MAGIC, **document}))
