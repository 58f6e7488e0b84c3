"""Options of a Triton model, checked without NumPy."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dsunet_export.errors import ExportError
from dsunet_export.servers.model_folder import check_model_name
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest import FLOAT8, Manifest

DEFAULT_BATCH = 8
"""Largest batch of an ONNX file that takes any."""
DEFAULT_DELAY = 1000
"""Microseconds; short beside the network's own time."""
LARGEST_DELAY = 10_000_000
MOST_INSTANCES = 64
LARGEST_BATCH = 1024


class TritonBackend(enum.StrEnum):
    """Triton's backends that serve artifacts; the values are its names for them."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"

    @property
    def platform(self) -> str | None:
        """Triton's name for the file format; None for OpenVINO's backend."""
        return {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}.get(self)

    @property
    def file(self) -> str:
        """Name of the file, or of the folder of its files, in the folder of a version."""
        return "model.plan" if self is TritonBackend.TENSORRT else "model.onnx"


class TritonDevice(enum.StrEnum):
    """Values of `--device`: where instances of the model run."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"

    @property
    def kind(self) -> str:
        """Triton's name of the device."""
        return f"KIND_{self.upper()}"


class ServedVersions(enum.StrEnum):
    """Values of `--versions`: the versions of a model that Triton serves."""

    ALL = "all"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """Options of one model.  Raises ExportError if they do not fit together."""

    name: str
    backend: TritonBackend
    device: TritonDevice | None = None
    """None for the GPU with TensorRT, the CPU with OpenVINO, and Triton's choice otherwise."""
    max_batch: int | None = None
    """None for the largest batch of an engine, and `DEFAULT_BATCH` for an ONNX file."""
    instances: int = 1
    """Number of instances on each device."""
    threads: int | None = None
    """CPU threads of each instance; None for one per core."""
    delay: int | None = None
    """Microseconds that a request waits for others to form a batch; None for `DEFAULT_DELAY`."""
    versions: ServedVersions = ServedVersions.ALL

    def __post_init__(self) -> None:
        check_model_name(self.name)
        fixed = {TritonBackend.TENSORRT: TritonDevice.GPU, TritonBackend.OPENVINO: TritonDevice.CPU}
        only = fixed.get(self.backend)
        if self.device is not None and only not in (None, self.device):
            raise ExportError(
                f"--device {self.device}: Triton's {self.backend} backend runs on the "
                f"{only.upper()}: omit it"
            )
        if self.threads is not None and self.place is TritonDevice.GPU:
            raise ExportError("--threads is for the CPU, and this model runs on the GPU: omit it")
        if self.max_batch is not None and self.backend is TritonBackend.OPENVINO:
            raise ExportError(
                "--max-batch: Triton's openvino backend pads every batch to the largest, so "
                "requests are not joined: omit it"
            )

    @property
    def place(self) -> TritonDevice:
        """Device on which instances run."""
        if self.device is not None:
            return self.device
        return {
            TritonBackend.TENSORRT: TritonDevice.GPU,
            TritonBackend.OPENVINO: TritonDevice.CPU,
            TritonBackend.ONNXRUNTIME: TritonDevice.AUTO,
        }[self.backend]


def check_backend(file: str, manifest: Manifest, options: TritonOptions) -> None:
    """Raise ExportError if a backend cannot serve an artifact, or not in its precision."""
    problem = _problem(manifest, options)
    if problem is not None:
        raise ExportError(f"{file}: {problem}")


def _problem(manifest: Manifest, options: TritonOptions) -> str | None:
    precision = manifest.precision.element_type
    if manifest.engine is not None:
        if manifest.engine.flavor is not Flavor.TENSORRT:
            return (
                "Triton's backend is classic TensorRT, and this is an engine of TensorRT for RTX: "
                "build one with `dsunet-export trt --flavor tensorrt` on the target GPU, or serve "
                "the ONNX file"
            )
        if manifest.engine.weights_stripped:
            return (
                "the engine has no weights, and Triton reads no other file: build it without "
                "--strip-weights"
            )
        return None
    match options.backend, precision:
        case _, value if value == FLOAT8:
            return (
                "Triton's backends for ONNX files cannot run fp8: build an engine with "
                "`dsunet-export trt --flavor tensorrt`"
            )
        case TritonBackend.ONNXRUNTIME, "bfloat16":
            return (
                "ONNX Runtime does not support all operators in bf16: add --backend openvino, or "
                "export it with --precision fp16"
            )
        case TritonBackend.OPENVINO, "float16":
            return (
                "OpenVINO may compute fp16 in bfloat16, outside the artifact's tolerance, and its "
                "backend in Triton has no option to prevent that: export it with --precision fp32 "
                "or bf16"
            )
    return None
