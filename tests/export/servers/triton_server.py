"""A stand-in for Triton: it reads a model repository by Triton's rules and computes its models.

The rules are those of Triton's documentation (docs/user_guide/model_repository.md and
model_configuration.md in triton-inference-server/server) and of the checks in its sources:
`ValidateModelConfig`, `GenerateWarmupData` in triton-inference-server/core, `CompareDimsSupported`
in the repositories of the backends.  Requests arrive by HTTP as in the protocol of KServe with
Triton's extension for binary data, or by gRPC.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup
from tritonclient.utils import triton_to_np_dtype

from dsunet_runtime.backends import openvino
from tests.export.helpers import session

Tensors = Mapping[str, NDArray[Any]]

PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan", "openvino": ""}
DEFAULT_FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan", "openvino": "model.xml"}


class RefusedError(Exception):
    """Triton would not load the model, or answer the request."""


def refuse_unless(condition: object, reason: str) -> None:
    if not condition:
        raise RefusedError(reason)


class Model:
    """The folder of a model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = text_format.Parse((folder / "config.pbtxt").read_text("utf-8"), ModelConfig())
        self._check()
        names = (path.name for path in folder.iterdir() if path.is_dir())
        numbers = sorted(int(name) for name in names if re.fullmatch("[1-9][0-9]*", name))
        refuse_unless(numbers, "no version")
        if self.config.version_policy.HasField("latest"):
            numbers = numbers[-self.config.version_policy.latest.num_versions :]
        self.versions = {number: self._open(number) for number in numbers}

    @property
    def batched(self) -> bool:
        return self.config.max_batch_size > 0

    def infer(self, version: int | None, inputs: Tensors) -> Tensors:
        """Compute a request; by default, by the last version."""
        number = max(self.versions) if version is None else version
        refuse_unless(number in self.versions, f"unknown version {version}")
        specs = {spec.name: spec for spec in self.config.input}
        refuse_unless(inputs.keys() == specs.keys(), f"unexpected inputs {[*inputs]}")
        for name, tensor in inputs.items():
            shape = tensor.shape
            if self.batched:
                refuse_unless(1 <= shape[0] <= self.config.max_batch_size, "batch-size")
                shape = shape[1:]
            fits = len(shape) == len(specs[name].dims) and all(
                wanted in (-1, size) for wanted, size in zip(specs[name].dims, shape, strict=True)
            )
            refuse_unless(fits, f"unexpected shape for input '{name}': {tensor.shape}")
            refuse_unless(tensor.dtype == dtype_of(specs[name]), f"inference input '{name}' type")
        return self.versions[number].compute(inputs)

    def warm_up(self) -> Iterator[tuple[str, int, Tensors]]:
        """Compute the warm-up requests: yields the name, the version and the outputs."""
        for sample in self.config.model_warmup:
            requests = [
                {name: self._warmup_input(one) for name, one in sample.inputs.items()}
            ] * sample.batch_size
            joined = {name: np.concatenate([r[name] for r in requests]) for name in requests[0]}
            refuse_unless(self.batched or sample.batch_size == 1, "batch of a fixed shape")
            for number in self.versions:
                yield sample.name, number, self.infer(number, joined)

    def _warmup_input(self, one: Any) -> NDArray[Any]:
        refuse_unless(one.WhichOneof("input_data_type") == "input_data_file", "another kind")
        data = (self.folder / "warmup" / one.input_data_file).read_bytes()
        dtype, shape = dtype_of(one), tuple(one.dims)
        refuse_unless(all(size > 0 for size in shape), "variable-size dimensions")
        refuse_unless(len(data) == int(np.prod(shape)) * dtype.itemsize, "bytes")
        return np.frombuffer(data, dtype).reshape((1,) * self.batched + shape)

    def _check(self) -> None:
        config = self.config
        refuse_unless(config.name == self.folder.name, "directory name must equal model name")
        refuse_unless(config.platform == PLATFORMS[config.backend], "platform and backend")
        refuse_unless(config.max_batch_size >= 0, "max_batch_size")
        refuse_unless(config.HasField("version_policy"), "must specify version policy")
        refuse_unless(config.input and config.output, "inputs and outputs")
        for spec in (*config.input, *config.output):
            refuse_unless(spec.name and spec.data_type and spec.dims, "name, data_type and dims")
            refuse_unless(all(size >= 1 or size == -1 for size in spec.dims), "dims")
        if config.HasField("dynamic_batching"):
            preferred = config.dynamic_batching.preferred_batch_size
            refuse_unless(all(0 < size <= config.max_batch_size for size in preferred), "preferred")
        for group in config.instance_group:
            refuse_unless(group.count >= 1, "count")
            gpu = group.kind in (ModelInstanceGroup.KIND_GPU, ModelInstanceGroup.KIND_AUTO)
            refuse_unless(gpu or config.backend != "tensorrt", "TensorRT needs a GPU")

    def _open(self, number: int) -> Session:
        path = self.folder / str(number) / self.config.default_model_filename
        if path.is_dir():  # only ONNX Runtime's backend looks into it
            refuse_unless(self.config.backend == "onnxruntime", "a folder")
            path /= "model.onnx"
        opened = (OpenVinoSession if self.config.backend == "openvino" else OnnxSession)(path)
        for spec in (*self.config.input, *self.config.output):
            dtype, shape = opened.tensors[spec.name]
            refuse_unless(dtype == dtype_of(spec), f"{spec.name}: data_type")
            wanted = [-1] * self.batched + list(spec.dims)
            refuse_unless(shape == wanted, f"{spec.name}: the model expects {shape}, not {wanted}")
        return opened


class Session:
    """A model file, with types and shapes of its tensors."""

    tensors: dict[str, tuple[np.dtype[Any], list[int]]]

    def compute(self, inputs: Tensors) -> Tensors:
        raise NotImplementedError


class OnnxSession(Session):
    def __init__(self, path: Path) -> None:
        self._session = session(path)
        found = [*self._session.get_inputs(), *self._session.get_outputs()]
        types = {"tensor(uint8)": np.dtype(np.uint8), "tensor(float)": np.dtype(np.float32)}
        self.tensors = {
            one.name: (types[one.type], [n if isinstance(n, int) else -1 for n in one.shape])
            for one in found
        }

    def compute(self, inputs: Tensors) -> Tensors:
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))


class OpenVinoSession(Session):
    def __init__(self, path: Path) -> None:
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
        core, _ = openvino.start()
        self._model = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        self.tensors = {
            one.any_name: (
                np.dtype(one.element_type.to_dtype()),
                [n.get_length() if n.is_static else -1 for n in one.partial_shape],
            )
            for one in (*self._model.inputs, *self._model.outputs)
        }

    def compute(self, inputs: Tensors) -> Tensors:
        results = self._model(dict(inputs))
        return {output.any_name: results[output] for output in self._model.outputs}


def dtype_of(spec: Any) -> np.dtype[Any]:
    """The NumPy type of an input or output of a configuration."""
    name = {"TYPE_UINT8": "UINT8", "TYPE_FP32": "FP32"}[type_name(spec)]
    return np.dtype(triton_to_np_dtype(name))


def type_name(spec: Any) -> str:
    field = spec.DESCRIPTOR.fields_by_name["data_type"]
    return str(field.enum_type.values_by_number[spec.data_type].name)


def metadata(model: Model) -> dict[str, Any]:
    """What `/v2/models/NAME` returns."""
    batch = [-1] * model.batched

    def tensors(specs: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": spec.name,
                "datatype": type_name(spec).removeprefix("TYPE_"),
                "shape": [*batch, *spec.dims],
            }
            for spec in specs
        ]

    return {
        "name": model.config.name,
        "versions": [str(number) for number in model.versions],
        "platform": model.config.platform,
        "inputs": tensors(model.config.input),
        "outputs": tensors(model.config.output),
    }


def load_repository(folder: Path) -> dict[str, Model]:
    return {path.name: Model(path) for path in folder.iterdir() if path.is_dir()}


@contextlib.contextmanager
def serve(repository: Mapping[str, Model]) -> Iterator[str]:
    """Serve models by HTTP at the address that is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            try:
                length = int(self.headers.get("Inference-Header-Content-Length", len(body)))
                head, content = respond(repository, self.path, body[:length], body[length:])
                status = 200
            except RefusedError as error:
                head, content, status = {"error": str(error)}, b"", 400
            text = json.dumps(head).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text) + len(content)))
            self.send_header("Inference-Header-Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text + content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def respond(
    repository: Mapping[str, Model], path: str, text: bytes, binary: bytes
) -> tuple[dict[str, Any], bytes]:
    """The answer to a request by HTTP: JSON, and the bytes of tensors."""
    if path == "/v2/health/ready":
        return {}, b""
    match = re.fullmatch(r"/v2/models/([^/]+)(?:/versions/(\d+))?(?:/(config|infer))?", path)
    refuse_unless(match and match[1] in repository, f"unknown model: {path}")
    assert match
    model, version = repository[match[1]], int(match[2]) if match[2] else None
    if match[3] is None:
        return metadata(model), b""
    if match[3] == "config":
        return MessageToDict(model.config, preserving_proto_field_name=True), b""
    request, inputs = json.loads(text), {}
    for one in request["inputs"]:
        size = one["parameters"]["binary_data_size"]
        array = np.frombuffer(binary[:size], triton_to_np_dtype(one["datatype"]))
        inputs[one["name"]], binary = array.reshape(one["shape"]), binary[size:]
    outputs = model.infer(version, inputs)
    wanted = [one["name"] for one in request.get("outputs", [])] or [*outputs]
    described = [
        {
            "name": name,
            "datatype": {"uint8": "UINT8", "float32": "FP32"}[outputs[name].dtype.name],
            "shape": outputs[name].shape,
            "parameters": {"binary_data_size": outputs[name].nbytes},
        }
        for name in wanted
    ]
    head = {"model_name": match[1], "outputs": described}
    return head, b"".join(outputs[name].tobytes() for name in wanted)


@contextlib.contextmanager
def serve_grpc(repository: Mapping[str, Model]) -> Iterator[str]:
    """Serve models by gRPC at the address that is given."""

    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            return service_pb2.ModelMetadataResponse(**metadata(repository[request.name]))

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            inputs = {
                one.name: np.frombuffer(raw, triton_to_np_dtype(one.datatype)).reshape(one.shape)
                for one, raw in zip(request.inputs, request.raw_input_contents, strict=True)
            }
            version = int(request.model_version) if request.model_version else None
            try:
                outputs = repository[request.model_name].infer(version, inputs)
            except RefusedError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            answer = service_pb2.ModelInferResponse(model_name=request.model_name)
            for name, tensor in outputs.items():
                datatype = {"uint8": "UINT8", "float32": "FP32"}[tensor.dtype.name]
                answer.outputs.add(name=name, datatype=datatype, shape=tensor.shape)
                answer.raw_output_contents.append(tensor.tobytes())
            return answer

    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
