"""The command `dsunet-export triton`.  It needs neither PyTorch nor ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet_export.commands.options import notice
from dsunet_export.errors import ExportError
from dsunet_export.servers.checked_artifact import CheckedArtifact
from dsunet_export.servers.model_folder import check_model_name
from dsunet_export.servers.triton_options import (
    DEFAULT_BATCH,
    DEFAULT_DELAY,
    LARGEST_BATCH,
    LARGEST_DELAY,
    MOST_INSTANCES,
    ServedVersions,
    TritonBackend,
    TritonDevice,
    TritonOptions,
)
from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import OUTPUT, as_wrong_usage, integer, output_folder
from dsunet_runtime.message_text import readable
from dsunet_runtime.provider import MAX_THREADS

_EXECUTION, _BATCHES = "Execution", "Batches"
"""Panels of options in the help."""
EXAMPLES = examples(
    "dsunet-export triton dsunet.onnx -o models",
    "dsunet-export triton salient.onnx camouflaged.onnx --name dsunet -o models",
    "dsunet-export triton new.onnx --name dsunet --add -o models",
    "dsunet-export triton dsunet.plan -o models --max-batch 4 --instances 2",
    "dsunet-export triton dsunet.onnx -o models --backend openvino",
)


def triton(
    artifacts: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARTIFACT",
            help="ONNX files or engines of classic TensorRT.  Several become versions of one model "
            "in their order, for example the domains of one backbone.",
        ),
    ],
    output: Annotated[
        Path,
        output_folder("Model repository: a folder of models.  Created if missing."),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the model; required for several artifacts.  [default: the name of the "
            "artifact's file without its suffix]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    add: Annotated[
        bool,
        typer.Option(
            "--add",
            help="Add versions to a model of the repository, and keep its configuration.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    versions: Annotated[
        ServedVersions | None,
        typer.Option(
            help="Versions that Triton serves.  all: every version, as for domains.  latest: the "
            "last version only.  [default: all]",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    backend: Annotated[
        TritonBackend | None,
        typer.Option(
            help="Triton's backend for ONNX files; engines always use tensorrt.  [default: "
            "onnxruntime]",
            show_default=False,
            rich_help_panel=_EXECUTION,
        ),
    ] = None,
    device: Annotated[
        TritonDevice | None,
        typer.Option(
            help="Device that runs the model.  auto: GPUs if Triton finds any.  [default: gpu for "
            "tensorrt, cpu for openvino, auto for onnxruntime]",
            show_default=False,
            rich_help_panel=_EXECUTION,
        ),
    ] = None,
    instances: Annotated[
        int | None,
        integer(
            low=1,
            high=MOST_INSTANCES,
            help="Number of concurrent instances on each device.  [default: 1]",
            rich_help_panel=_EXECUTION,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        integer(
            low=1,
            high=MAX_THREADS,
            help="CPU threads of each instance.  [default: one per core; with OpenVINO, the cores "
            "are divided among the instances]",
            rich_help_panel=_EXECUTION,
        ),
    ] = None,
    max_batch: Annotated[
        int | None,
        integer(
            low=1,
            high=LARGEST_BATCH,
            help="Largest batch that Triton makes of single requests.  [default: the engine's "
            f"maximum; {DEFAULT_BATCH} for an ONNX file]",
            rich_help_panel=_BATCHES,
        ),
    ] = None,
    queue_delay: Annotated[
        int | None,
        integer(
            low=0,
            high=LARGEST_DELAY,
            help="Longest time in microseconds that a request waits for a batch to fill.  "
            f"[default: {DEFAULT_DELAY}]",
            rich_help_panel=_BATCHES,
        ),
    ] = None,
) -> None:
    """Write a model repository for Triton Inference Server.

    Writes DIR/NAME with config.pbtxt, the artifacts as versions 1, 2, …, and warm-up requests from
    the pictures of the artifact's self-test.  Not tested with a Triton server yet.
    """
    given = {
        "--versions": versions,
        "--backend": backend,
        "--device": device,
        "--instances": instances,
        "--threads": threads,
        "--max-batch": max_batch,
        "--queue-delay": queue_delay,
    }
    with as_wrong_usage(ExportError):
        if name is None:
            name = _name_of(artifacts)
        options = TritonOptions(
            name,
            _backend_of(artifacts, backend),
            device,
            max_batch,
            instances or 1,
            threads,
            queue_delay,
            versions or ServedVersions.ALL,
        )
        if add and (unused := [option for option, value in given.items() if value is not None]):
            raise ExportError(
                f"{unused[0]} has no effect with --add, which keeps the configuration: edit "
                f"config.pbtxt, or omit it"
            )
    from dsunet_export.servers.triton_repository import add_versions, create_model

    read = [CheckedArtifact.read(path) for path in artifacts]
    if add:
        written = add_versions(output / name, read)
    else:
        written = create_model(output, read, options, notice)
    for version in written:
        linked = f", shares {', '.join(version.linked)}" if version.linked else ""
        print(
            f"{readable(output / name / str(version.number))}: "
            f"{readable(version.artifact.path)}{linked}"
        )


def _name_of(artifacts: list[Path]) -> str:
    """Name a model after its only artifact."""
    if len(artifacts) > 1:
        raise ExportError(
            "several artifacts become versions of one model: give its name with --name, or run "
            "the command once for each artifact"
        )
    name = artifacts[0].stem
    check_model_name(name)
    return name


def _backend_of(artifacts: list[Path], backend: TritonBackend | None) -> TritonBackend:
    """Return the backend of the first artifact; all have to be of its kind."""
    if is_engine(artifacts[0]):
        if backend not in (None, TritonBackend.TENSORRT):
            raise ExportError(
                f"--backend {backend} is for ONNX files, and {artifacts[0]} is an engine: omit it"
            )
        return TritonBackend.TENSORRT
    if backend is TritonBackend.TENSORRT:
        raise ExportError(
            f"--backend tensorrt is for engines, and {artifacts[0]} is an ONNX file: build one "
            f"with `dsunet-export trt --flavor tensorrt`"
        )
    return backend or TritonBackend.ONNXRUNTIME
