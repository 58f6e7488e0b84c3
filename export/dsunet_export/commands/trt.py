"""The command `dsunet-export trt`.

It imports TensorRT when it runs.  It needs no PyTorch, and ONNX only to convert a float32 graph and
for `--refit`.
"""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from dsunet_export.commands.options import PRECISION, ChosenAttention
from dsunet_export.errors import ExportError
from dsunet_export.options import LARGEST_BATCH, LARGEST_SIDE, Attention
from dsunet_export.stopwatch import print_step
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import (
    OUTPUT,
    as_wrong_usage,
    integer,
    output_file,
    text_to_write,
)


class FlavorOption(enum.StrEnum):
    """Values of --flavor."""

    AUTO = "auto"
    RTX = Flavor.RTX
    TENSORRT = Flavor.TENSORRT


def _print_gpus(names: list[str]) -> list[str]:
    if "list" in names:
        from dsunet_export.tensorrt.gpu_list import list_gpus

        print(list_gpus())
        raise typer.Exit
    return names


_TARGET, _SHAPES, _BUILDER = "Target", "Shapes", "TensorRT"
"""Panels of options in the help."""
EXAMPLES = examples(
    "dsunet-export trt dsunet.onnx -o dsunet.engine --gpu rtx4090",
    "dsunet-export trt dsunet.onnx -o dsunet.engine --gpu rtx5090 --batch 1:4:8",
    "dsunet-export trt dsunet.onnx -o dsunet.plan --flavor tensorrt",
    "dsunet-export trt --gpu list",
)


def trt(
    graph: Annotated[
        Path, typer.Argument(metavar="ONNX", help="ONNX file that `dsunet-export onnx` wrote.")
    ],
    output: Annotated[Path, output_file("Engine file to write, NAME.engine or NAME.plan.")],
    gpu: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            callback=_print_gpus,
            is_eager=True,
            help="GPU to build for, for example rtx4090; `list` prints all names.  Repeatable.  "
            "[default: the GPU of this machine]",
            rich_help_panel=_TARGET,
        ),
    ] = [],  # noqa: B006 - Typer copies it
    compute_capability: Annotated[
        list[str],
        typer.Option(
            metavar="X.Y",
            help="Compute capability to build for, for example 8.9.  Repeatable.",
            rich_help_panel=_TARGET,
        ),
    ] = [],  # noqa: B006
    flavor: Annotated[
        FlavorOption,
        typer.Option(
            help="rtx: TensorRT for RTX, which builds on any machine.  tensorrt: classic TensorRT, "
            "which builds on the target GPU itself.  auto: the first of the two that is installed "
            "and supports the target.",
            rich_help_panel=_TARGET,
        ),
    ] = FlavorOption.AUTO,
    precision: Annotated[
        Compute | None,
        typer.Option(
            help="Precision of the engine.  A float32 graph is converted first.  [default: the "
            "graph's, or fp16 for a float32 graph]",
            show_default=False,
            rich_help_panel=PRECISION,
        ),
    ] = None,
    attention: ChosenAttention = Attention.FUSED,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N|MIN:OPT:MAX",
            help=f"Batch sizes, 1 to {LARGEST_BATCH}.  Device memory is allocated for MAX, kernels "
            "are tuned for OPT.  [default: the graph's, or 1]",
            rich_help_panel=_SHAPES,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW|MIN:OPT:MAX",
            help=f"Image sizes of a frames graph, HEIGHTxWIDTH with sides from 1 to {LARGEST_SIDE}."
            "  [default: the graph's, or 64x64:720x1280:1920x1920]",
            rich_help_panel=_SHAPES,
        ),
    ] = None,
    workspace: Annotated[
        int | None,
        integer(
            low=1,
            high=1 << 20,
            metavar="MiB",
            help="Device memory available to each layer for temporary data.  [default: TensorRT's]",
            rich_help_panel=_BUILDER,
        ),
    ] = None,
    opt_level: Annotated[
        int | None,
        integer(
            low=0,
            high=5,
            help="Builder optimization level; higher levels take longer to build.  [default: "
            "TensorRT's, 3]",
            rich_help_panel=_BUILDER,
        ),
    ] = None,
    strip_weights: Annotated[
        bool,
        typer.Option(
            "--strip-weights",
            help="Leave the weights in the ONNX file, which then must stay beside OUTPUT.  With "
            "TensorRT for RTX this needs a GPU and one compute capability; not yet tested on a "
            "GPU.",
            rich_help_panel=_BUILDER,
        ),
    ] = False,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="Let `dsunet-run predict --domain` exchange the trained weights for those of "
            "another export with the same --shared-weights.  With TensorRT for RTX this needs a "
            "GPU and one compute capability; not yet tested on a GPU.",
            rich_help_panel=_BUILDER,
        ),
    ] = False,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=text_to_write,
            help="Timing cache to read and update, which speeds up later builds; classic TensorRT "
            "only.",
            rich_help_panel=_BUILDER,
        ),
    ] = None,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="Print TensorRT's log; -vv includes its verbose messages.",
            rich_help_panel=OUTPUT,
        ),
    ] = 0,
) -> None:
    """Build a TensorRT engine from an ONNX file.

    Writes OUTPUT and its manifest OUTPUT.json; keep both in one folder.  Checks in which precision
    TensorRT reads the weights and layers, and writes nothing if less than 95 % have the requested
    one.
    """
    from dsunet_export.artifact import check_engine_output
    from dsunet_export.manifest_text import verified_in_words
    from dsunet_export.tensorrt.builder import build_engine, read_graph_manifest
    from dsunet_export.tensorrt.configuration import EngineOptions
    from dsunet_export.tensorrt.engine_text import describe_engine
    from dsunet_export.tensorrt.flavors import flavor_title
    from dsunet_export.tensorrt.profiles import Ranges, parse_batch, parse_size
    from dsunet_export.tensorrt.targets import parse_hardware, select_target

    if strip_weights and refit:
        raise typer.BadParameter(
            "--strip-weights and --refit exclude each other: an engine without weights reads them "
            "from the ONNX file that it was built from"
        )
    with as_wrong_usage(ExportError):
        check_engine_output(output)
        hardware = parse_hardware(gpu, compute_capability)
        ranges = Ranges(
            None if batch is None else parse_batch(batch),
            None if size is None else parse_size(size),
        )
    options = EngineOptions(
        precision=precision,
        attention=attention,
        ranges=ranges,
        workspace=workspace,
        optimization_level=opt_level,
        strip_weights=strip_weights,
        refit=refit,
        timing_cache=timing_cache,
        verbosity=verbose,
    )
    before = read_graph_manifest(graph)  # fails before TensorRT is loaded
    only = None if flavor is FlavorOption.AUTO else Flavor(flavor.value)
    target = select_target(only, hardware, options)
    numbers = ", ".join(target.compute_capabilities)
    print(f"{flavor_title(target.flavor)} ({target.reason}), for {numbers}", file=sys.stderr)
    manifest = build_engine(graph, output, target, options, print_step)
    if manifest.verification != before.verification:  # the graph was converted
        for line in verified_in_words(manifest):
            print(line)
    print(describe_engine(output, manifest, ranges))
