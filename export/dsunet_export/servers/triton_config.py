"""The configuration of a model in Triton, config.pbtxt.

The fields are those of `ModelConfig` in
https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsunet_export.servers.protobuf_text import Symbol, TextField, render
from dsunet_export.servers.triton_options import (
    DEFAULT_DELAY,
    ServedVersions,
    TritonBackend,
    TritonOptions,
)
from dsunet_runtime.artifact.manifest import Manifest, TensorSpec

if TYPE_CHECKING:
    from dsunet_export.servers.triton_model import Batching
    from dsunet_export.servers.triton_warmup import Sample

_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


def make_config(
    manifest: Manifest, options: TritonOptions, batching: Batching, samples: Sequence[Sample]
) -> str:
    """Return the text of the file, for all versions of a model.

    Args:
        manifest: The manifest of any version.
        options: Options of the model.
        batching: Dynamic batching of requests.
        samples: Warm-up requests; `warmup_file` names the files of their inputs.
    """
    backend = options.backend
    message: list[TextField] = [("name", options.name)]
    if backend.platform is not None:
        message.append(("platform", backend.platform))
    message += [
        ("backend", backend.value),
        ("default_model_filename", backend.file),
        ("max_batch_size", batching.largest),
        *(("input", _tensor(spec, batching)) for spec in manifest.inputs),
        *(("output", _tensor(spec, batching)) for spec in manifest.outputs),
        ("version_policy", _version_policy(options.versions)),
        (
            "instance_group",
            [("count", options.instances), ("kind", Symbol(options.place.kind))],
        ),
    ]
    if batching.largest > 1:
        delay = DEFAULT_DELAY if options.delay is None else options.delay
        message.append(
            (
                "dynamic_batching",
                [
                    ("preferred_batch_size", batching.preferred),
                    ("max_queue_delay_microseconds", delay),
                ],
            )
        )
    message += [_parameter(key, str(value)) for key, value in _execution(options).items()]
    message.append(_parameter("dsunet_input", manifest.input_form.value))
    message.append(_parameter("dsunet_mask", manifest.mask_form.value))
    message += [("model_warmup", _warmup(sample, n)) for sample in samples for n in sample.batches]
    return render(message)


def _execution(options: TritonOptions) -> dict[str, int]:
    """Return the backend's parameters for instances that run at the same time, and threads.

    OpenVINO's backend compiles a model once, and its instances share the streams and threads of the
    compiled model.  By default that has one stream, in which requests wait for each other.
    """
    threads, count = options.threads, options.instances
    if options.backend is not TritonBackend.OPENVINO:
        return {} if threads is None else {"intra_op_thread_count": threads}
    streams = {} if count == 1 else {"NUM_STREAMS": count}
    return streams if threads is None else {**streams, "INFERENCE_NUM_THREADS": count * threads}


def describe_version(number: int, manifest: Manifest) -> str:
    """Return the lines that describe a version, to be appended to the file.

    Triton returns them at /v2/models/NAME/config.
    """
    graph = manifest.graph if manifest.engine is None else manifest.engine.file
    text = f"{manifest.weights_origin}, {manifest.precision.element_type}, sha256 {graph.sha256}"
    return render([_parameter(f"dsunet_version_{number}", text)])


def warmup_file(sample: Sample, tensor: str) -> str:
    """Return the name of the file with one input of a sample, in the folder `warmup`."""
    return f"{sample.name}.{tensor}"


def _tensor(spec: TensorSpec, batching: Batching) -> list[TextField]:
    shape = spec.shape[1:] if batching.largest else spec.shape
    dims = tuple(size if isinstance(size, int) else -1 for size in shape)
    return [("name", spec.name), ("data_type", Symbol(_TYPES[spec.dtype])), ("dims", dims)]


def _version_policy(versions: ServedVersions) -> list[TextField]:
    if versions is ServedVersions.ALL:
        return [("all", [])]
    return [("latest", [("num_versions", 1)])]


def _parameter(key: str, value: str) -> TextField:
    return "parameters", [("key", key), ("value", [("string_value", value)])]


def _warmup(sample: Sample, batch: int) -> list[TextField]:
    message: list[TextField] = [("name", f"{sample.name}, batch {batch}"), ("batch_size", batch)]
    for name, tensor in sample.inputs.items():
        value: list[TextField] = [
            ("data_type", Symbol(_TYPES[tensor.dtype.name])),
            ("dims", tensor.shape),
            ("input_data_file", warmup_file(sample, name)),
        ]
        message.append(("inputs", [("key", name), ("value", value)]))
    return message
