"""The command `dsunet-export deepstream`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from dsunet_export.errors import ExportError
from dsunet_export.options import LARGEST_BATCH, LARGEST_SIDE
from dsunet_export.servers.checked_artifact import CheckedArtifact
from dsunet_export.servers.model_folder import check_model_name
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import OUTPUT, as_wrong_usage, integer, output_folder
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.message_text import quote, readable

_STREAMS = "Streams"
"""Panel of options in the help."""
EXAMPLES = examples(
    "dsunet-export deepstream dsunet.onnx --size 720x1280 -o config",
    "dsunet-export deepstream dsunet16.onnx --size 720x1280 --batch 4 -o config",
)


def deepstream(
    artifact: Annotated[
        Path,
        typer.Argument(metavar="ARTIFACT", help="ONNX file of the frames form, in fp32 or fp16."),
    ],
    output: Annotated[
        Path,
        output_folder("Folder for the configuration and the graph.  Created if missing."),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the model, which is part of the names of both files.  [default: the name "
            "of the artifact's file without its suffix]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Height and width of the masks, to which nvinfer scales the frames, 1 to "
            f"{LARGEST_SIDE} each.  [default: the artifact's, if its size is fixed]",
            rich_help_panel=_STREAMS,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        integer(
            low=1,
            high=LARGEST_BATCH,
            help="Number of streams whose frames form a batch.  [default: the artifact's batch, "
            "or 1]",
            rich_help_panel=_STREAMS,
        ),
    ] = None,
) -> None:
    """Write a configuration for DeepStream's nvinfer.

    Writes config_infer_NAME.txt with an example pipeline, and NAME_nvinfer.onnx: the graph with the
    float32 input and output that nvinfer requires, verified to compute the same masks.  Not tested
    with DeepStream yet.
    """
    with as_wrong_usage(ExportError):
        if name is None:
            name = artifact.stem
        check_model_name(name)
        height_width = None if size is None else _parse_size(size)
    with needs_extra("export"):
        from dsunet_export.servers.deepstream import DeepStreamOptions, write_deepstream

    options = DeepStreamOptions(name, height_width, batch)
    for path in write_deepstream(output, CheckedArtifact.read(artifact), options):
        print(readable(path))


def _parse_size(text: str) -> tuple[int, int]:
    """Return one height and width.  Raises ExportError."""
    from dsunet_export.tensorrt.profiles import parse_size

    with suppress(ExportError):
        low, _, high = parse_size(text)
        if low == high:
            return low
    raise ExportError(
        f"--size {quote(text)}: give HEIGHTxWIDTH with sides from 1 to {LARGEST_SIDE}, for "
        f"example 720x1280"
    )
