"""The command `dsunet-export verify`, which compares two models on images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.commands.checkpoint_options import Dinov2File, Sam2File, WeightsKey
from dsunet.commands.help_panels import COMPUTATION
from dsunet.torch_device import TorchDevice
from dsunet_export.commands.options import notice
from dsunet_export.errors import VerificationError
from dsunet_export.verification.tolerances import MASK_LEVELS, MASK_LEVELS_OF_8_BITS
from dsunet_runtime.artifact.file_kinds import is_onnx
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.artifact_options import check_fallback_applies, cpu_fallback_option
from dsunet_runtime.commands.options import OUTPUT, number, output_folder, text_to_write
from dsunet_runtime.errors import BackendError
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.message_text import readable
from dsunet_runtime.provider import Provider

if TYPE_CHECKING:
    from dsunet_export.probes import Probe

_COMPARISON, _LAYERS = "Comparison", "Layers"
"""Panels of options in the help."""
_REMEDY = (
    "find the layers to keep in float32 with --bisect keep.txt, which compares two ONNX files, or "
    "raise --tolerance"
)
_REMEDY_FOUND = "keep the layers that --bisect found in float32, or raise --tolerance"
_REMEDY_NOT_FOUND = (
    "--bisect found no layers whose rounding explains it: compare with --layers, or raise "
    "--tolerance"
)
EXAMPLES = examples(
    "dsunet-export verify model.pth dsunet16.onnx --images photos -o report",
    "dsunet-export verify dsunet.onnx dsunet.engine --tolerance 0.5",
    "dsunet-export verify dsunet.onnx dsunet16.onnx --layers",
    "dsunet-export verify dsunet.onnx dsunet8.onnx --images photos --bisect keep.txt",
)


def verify(
    a: Annotated[
        Path,
        typer.Argument(metavar="A", help="Reference: checkpoint, run folder, ONNX file or engine."),
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="Model to compare with A, of the same kinds.")
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images to compare on.  [default: random pixels and a photograph]",
            rich_help_panel=_COMPARISON,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        number(
            low=0,
            high=255,
            help="Largest mean difference of a mask on any image, in levels of 0 to 255.  "
            f"[default: {MASK_LEVELS:g}; {MASK_LEVELS_OF_8_BITS:g} if A or B is int8 or fp8]",
            rich_help_panel=_COMPARISON,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the results as JSON.", rich_help_panel=OUTPUT),
    ] = False,
    output: Annotated[
        Path | None,
        output_folder("Folder for verify.html, verify.json and worst.png.  [default: print only]"),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="Print all measures over the images, and with --layers the largest errors.  "
            "[default: the worst image]",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers",
            help="Compare two ONNX files tensor by tensor on the first four images, and name the "
            "first layer with an unusually large error.  Takes 3 GB of memory beside the weights "
            "for `large`.",
            rich_help_panel=_LAYERS,
        ),
    ] = False,
    bisect: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=text_to_write,
            help="Search for the smallest set of layers that B must keep in float32 to be within "
            "the tolerance and within the limits of `dsunet-export onnx`, and write them "
            "for its --keep-fp32 @FILE.  A must be the float32 ONNX file and B the same model in "
            "another precision, exported with --no-verify if necessary.  Uses the first four "
            "images, the worst one, random pixels and a photograph.",
            rich_help_panel=_LAYERS,
        ),
    ] = None,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
    device: Annotated[
        TorchDevice,
        typer.Option(
            help="Device on which PyTorch runs a checkpoint.", rich_help_panel=COMPUTATION
        ),
    ] = TorchDevice.AUTO,
    provider: Annotated[
        Provider | None,
        typer.Option(
            help="ONNX Runtime's execution provider, or OpenVINO, for ONNX files.  [default: cpu]",
            rich_help_panel=COMPUTATION,
        ),
    ] = None,
    allow_cpu_fallback: Annotated[bool, cpu_fallback_option(COMPUTATION)] = False,
) -> None:
    """Compare outputs and masks of two models.

    A and B are checkpoints, ONNX files or engines of the same model.  For outputs that both have:
    largest and mean absolute and relative difference, and cosine similarity.  For masks: mean
    difference, IoU at threshold 0.5, pixels that cross the threshold near it and elsewhere, and the
    S-measure of B with A as ground truth, both binarised at 0.5.

    The exit code is 1 if a mask is outside the tolerance.
    """
    with needs_extra("evaluate,export"):
        from dsunet_export.bisection.layers_to_keep import check_precisions
        from dsunet_export.comparison.compare import compare, few_probes, probes_for
        from dsunet_export.comparison.comparison_report import (
            comparison_document,
            format_comparison,
            write_comparison,
        )
        from dsunet_export.comparison.layers import compare_graphs
        from dsunet_export.comparison.model_pair import is_artifact, is_quantized, open_pair
        from dsunet_export.comparison.summary import summarize_comparison
        from dsunet_export.probes import unused_in_words
    from dsunet_runtime.prediction.jobs import results_folder

    if (layers or bisect) and not (is_onnx(a) and is_onnx(b)):
        raise typer.BadParameter("--layers and --bisect compare graphs: give two ONNX files")
    if provider is not None and not (is_onnx(a) or is_onnx(b)):
        raise typer.BadParameter("--provider is for ONNX files, and neither A nor B is one")
    check_fallback_applies([provider], allow_cpu_fallback)
    for_checkpoints = sam2 or dinov2 or weights or device is not TorchDevice.AUTO
    if is_artifact(a) and is_artifact(b) and for_checkpoints:
        raise typer.BadParameter(
            "--sam2, --dinov2, --weights and --device are for checkpoints, and neither A nor B is "
            "one"
        )
    if bisect is not None:
        check_precisions(a, b)
    if tolerance is None:
        eight_bits = is_quantized(a) or is_quantized(b)
        tolerance = MASK_LEVELS_OF_8_BITS if eight_bits else MASK_LEVELS
    probes = probes_for(a, b, images)
    for line in unused_in_words(images) if images else []:
        notice(line)
    with results_folder(output):
        try:
            with open_pair(
                a,
                b,
                sam2=sam2,
                dinov2=dinov2,
                weights=weights,
                device=device,
                provider=provider,
                allow_cpu_fallback=allow_cpu_fallback,
                notice=notice,
            ) as (first, second):
                comparison = summarize_comparison(
                    readable(a), readable(b), compare(first, second, probes)
                )
        except BackendError:
            # ONNX Runtime does not run a bfloat16 graph or one that overflows; bisection can.
            if bisect is not None:
                _bisect(a, b, few_probes(a, b, images), tolerance, bisect)
            raise
        if layers:
            comparison = replace(comparison, graphs=compare_graphs(a, b, images))
        if as_json:
            print(json.dumps(comparison_document(comparison), indent=2))
        else:
            print(format_comparison(comparison, tolerance, all_measures=verbose))
        if output is not None:
            write_comparison(comparison, output)
    worst, remedy = comparison.worst, _REMEDY
    if bisect is not None:
        was_found = _bisect(a, b, few_probes(a, b, images, also=worst.label), tolerance, bisect)
        remedy = _REMEDY_FOUND if was_found else _REMEDY_NOT_FOUND
    if not worst.mask.mean <= tolerance:
        raise VerificationError(
            f"on {worst.label} the masks differ by {worst.mask.mean:.3g} levels on average, "
            f"tolerance {tolerance:g}: {remedy}"
        )


def _bisect(a: Path, b: Path, probes: Sequence[Probe], tolerance: float, output: Path) -> bool:
    """Search, write the patterns and print them; return whether there are any."""
    from dsunet_export.bisection.layers_to_keep import find_layers_to_keep, write_patterns
    from dsunet_runtime.progress import StatusLine

    with StatusLine(sys.stderr) as status:
        found = find_layers_to_keep(a, b, probes, tolerance, status.show)
    if not found.groups:
        print(
            "no further layer has to stay in float32: with B's rounding emulated on every "
            f"tensor, the largest difference is {found.before:.3g} of the tolerance; "
            f"{readable(output)} was not written",
            file=sys.stderr,
        )
        return False
    write_patterns(found, output)
    print(
        f"layers to keep in float32, found in {found.trials} trials: "
        f"{', '.join(found.patterns)} (largest difference {found.before:.3g} -> "
        f"{found.after:.3g} of the tolerance); export with {found.export_options} "
        f"--keep-fp32 @{readable(output)}",
        file=sys.stderr,
    )
    return True
