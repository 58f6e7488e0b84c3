"""`dsunet-export trt`.  TensorRT is imported inside it; PyTorch and ONNX are not needed."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from dsunet_export.errors import ExportError
from dsunet_export.stopwatch import print_step
from dsunet_runtime.command_options import as_wrong_usage, file_to_write, integer
from dsunet_runtime.compute import Compute
from dsunet_runtime.flavor import Flavor


class FlavorOption(enum.StrEnum):
    """What --flavor takes."""

    AUTO = "auto"
    RTX = Flavor.RTX
    TENSORRT = Flavor.TENSORRT


def _print_gpus(names: list[str]) -> list[str]:
    if "list" in names:
        from dsunet_export.tensorrt.gpu_list import list_gpus

        print(list_gpus())
        raise typer.Exit
    return names


def trt(
    graph: Annotated[Path, typer.Argument(metavar="ONNX", help="What `dsunet-export onnx` wrote.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", callback=file_to_write, help="The file to write, NAME.engine."
        ),
    ],
    gpu: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            callback=_print_gpus,
            is_eager=True,
            help="A GPU to build for, for example rtx4090; may be given several times.  `list` "
            "prints all.  [default: the one here]",
        ),
    ] = [],  # noqa: B006 - Typer copies it
    compute_capability: Annotated[
        list[str],
        typer.Option(metavar="X.Y", help="The same by number, for example 8.9.  May be repeated."),
    ] = [],  # noqa: B006
    flavor: Annotated[
        FlavorOption,
        typer.Option(
            help="rtx: TensorRT for RTX, on any machine.  tensorrt: classic TensorRT, on the GPU "
            "that the engine is for.  auto: the first of these that is installed and can."
        ),
    ] = FlavorOption.AUTO,
    precision: Annotated[
        Compute | None,
        typer.Option(
            help="[default: the graph's, or fp16 if that is fp32, which is then converted]",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="N|MIN:OPT:MAX", help="Images at once.  [default: the graph's, or 1]"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW|MIN:OPT:MAX",
            help="Size of frames.  [default: the graph's, or 64x64:720x1280:1920x1920]",
        ),
    ] = None,
    workspace: Annotated[
        int | None,
        integer(
            low=1,
            high=1 << 20,
            metavar="MiB",
            help="Device memory that a layer may use for itself.",
        ),
    ] = None,
    opt_level: Annotated[
        int | None,
        integer(low=0, high=5, help="More takes longer to build.  [default: TensorRT's, 3]"),
    ] = None,
    strip_weights: Annotated[
        bool,
        typer.Option(
            "--strip-weights",
            help="Leave the weights in ONNX, which then belongs beside OUTPUT.  Not yet tried on a "
            "GPU, which TensorRT for RTX needs for it.",
        ),
    ] = False,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=file_to_write,
            help="Read and written; makes later builds quicker.",
        ),
    ] = None,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="TensorRT's log; -vv: all of it.",
        ),
    ] = 0,
) -> None:
    """Build a TensorRT engine of an exported ONNX file, and prove its precision.

    Writes OUTPUT and OUTPUT.json, which belong together.  Nothing is written unless the engine has
    the precision that it is asked to have.
    """
    from dsunet_export.artifact import check_engine_output
    from dsunet_export.tensorrt.builder import build_engine, read_graph_manifest
    from dsunet_export.tensorrt.configuration import EngineOptions
    from dsunet_export.tensorrt.description import summarise
    from dsunet_export.tensorrt.profiles import Ranges, parse_batch, parse_size
    from dsunet_export.tensorrt.targets import choose, parse_wanted

    with as_wrong_usage(ExportError):
        check_engine_output(output)
        wanted = parse_wanted(gpu, compute_capability)
        ranges = Ranges(
            None if batch is None else parse_batch(batch),
            None if size is None else parse_size(size),
        )
    options = EngineOptions(
        precision=precision,
        ranges=ranges,
        workspace=workspace,
        optimization_level=opt_level,
        strip_weights=strip_weights,
        timing_cache=timing_cache,
        verbosity=verbose,
    )
    read_graph_manifest(graph)  # fails before TensorRT is loaded
    asked = None if flavor is FlavorOption.AUTO else Flavor(flavor.value)
    choice = choose(asked, wanted, options)
    targets = ", ".join(choice.target.compute_capabilities)
    print(f"{choice.kit.title} ({choice.reason}), for {targets}", file=sys.stderr)
    manifest = build_engine(graph, output, choice, options, print_step)
    print(summarise(output, manifest, ranges))
