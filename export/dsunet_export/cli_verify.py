"""`dsunet-export verify`: what an export costs in accuracy."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.cli_checkpoint import Dinov2File, Sam2File, WeightsKey
from dsunet.device import Device
from dsunet_export.errors import MissingExtraError, VerificationError, missing_package
from dsunet_runtime.command import complain
from dsunet_runtime.command_options import file_to_write, folder_to_write, number
from dsunet_runtime.errors import BackendError
from dsunet_runtime.file_kinds import is_onnx
from dsunet_runtime.message_text import readable
from dsunet_runtime.provider import Provider

if TYPE_CHECKING:
    from dsunet_export.probes import Probe

_TOLERANCE = 1.0
_TOLERANCE_OF_8_BITS = 3.0
"""Found with the demonstration checkpoint: int8 up to 1.8, fp8 up to 2.1, on random pixels."""


def verify(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="Checkpoint, run folder, ONNX file or engine.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another, to compare with A.")],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Images to compare on.  [default: random pixels and a photograph]"
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        number(
            low=0,
            high=255,
            help="Largest mean difference of a mask, in levels of 255, on any image.  "
            f"[default: {_TOLERANCE:g}, of 8 bits {_TOLERANCE_OF_8_BITS:g}]",
        ),
    ] = None,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers",
            help="Also compare two ONNX files tensor by tensor, on the first four images, and name "
            "what first loses too much.  Runs in pieces: for `large`, 3 GB of memory beside the "
            "weights.",
        ),
    ] = False,
    bisect: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=file_to_write,
            help="Search for the fewest layers that B must keep in float32 to be within the "
            "tolerance, and write them for `dsunet-export onnx --keep-fp32 @FILE`.  A is the "
            "float32 ONNX file, B the same in float16 or bfloat16.  The first four images judge, "
            "and the worst.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            callback=folder_to_write,
            help="Also write verify.html, verify.json, worst.png.",
        ),
    ] = None,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
    device: Annotated[Device, typer.Option(help="Of a checkpoint.")] = Device.AUTO,
    provider: Annotated[
        Provider | None,
        typer.Option(help="What ONNX Runtime computes with.  [default: cpu]"),
    ] = None,
) -> None:
    """Compare two forms of a network: their outputs, and the masks that they make.

    Differences are absolute and relative, with the cosine of the angle between the two; of masks
    also the IoU of what lies above half, the pixels that changed sides close to half and elsewhere,
    and the S-measure of B's, cut at half, as if A's were the truth.

    Exit codes: 0 within the tolerance, 1 beyond it or something failed, 2 wrong usage, 130
    interrupted.
    """
    try:
        from dsunet_export.bisection.finding import check_precisions
        from dsunet_export.comparison.comparing import compare, few_probes, probes_for
        from dsunet_export.comparison.layers import compare_graphs
        from dsunet_export.comparison.opening import is_artifact, is_quantized, open_both
        from dsunet_export.comparison.report import as_document, draw, write_report
        from dsunet_export.comparison.summary import summarize
        from dsunet_export.probes import notes_on
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{missing_package(error)} is not installed: pip install 'dsunet[evaluate,export]'"
        ) from error
    from dsunet_runtime.jobs import results_folder

    if (layers or bisect) and not (is_onnx(a) and is_onnx(b)):
        raise typer.BadParameter("--layers and --bisect read graphs: give two ONNX files")
    if provider is not None and not (is_onnx(a) or is_onnx(b)):
        raise typer.BadParameter("--provider is for ONNX files, and neither A nor B is one")
    for_checkpoints = sam2 or dinov2 or weights or device is not Device.AUTO
    if is_artifact(a) and is_artifact(b) and for_checkpoints:
        raise typer.BadParameter(
            "--sam2, --dinov2, --weights and --device are for checkpoints, and neither A nor B is "
            "one"
        )
    if bisect is not None:
        check_precisions(a, b)
    if tolerance is None:
        eight_bits = is_quantized(a) or is_quantized(b)
        tolerance = _TOLERANCE_OF_8_BITS if eight_bits else _TOLERANCE
    probes = probes_for(a, b, images)
    for line in notes_on(images) if images else []:
        complain("dsunet-export", line)
    with results_folder(output):
        try:
            with open_both(
                a,
                b,
                sam2=sam2,
                dinov2=dinov2,
                weights=weights,
                device=device,
                provider=provider,
            ) as (first, second):
                comparison = summarize(readable(a), readable(b), compare(first, second, probes))
        except BackendError:
            # A graph that overflows, or of bfloat16, does not run by itself: its layers are found.
            if bisect is not None:
                _bisect(a, b, few_probes(a, b, images), tolerance, bisect)
            raise
        if layers:
            comparison = replace(comparison, graphs=compare_graphs(a, b, images))
        print(json.dumps(as_document(comparison), indent=2) if as_json else draw(comparison))
        if output is not None:
            write_report(comparison, output)
    worst = comparison.worst
    if bisect is not None:
        _bisect(a, b, few_probes(a, b, images, also=worst.label), tolerance, bisect)
    if not worst.mask.mean <= tolerance:
        raise VerificationError(
            f"on {worst.label} the masks differ by {worst.mask.mean:.3g} levels on average, and "
            f"{tolerance:g} is allowed: keep more in float32 (`dsunet-export onnx --keep-fp32`), "
            "or allow more with --tolerance"
        )


def _bisect(a: Path, b: Path, probes: Sequence[Probe], tolerance: float, output: Path) -> None:
    """Search, write the patterns, and say them."""
    from dsunet_export.bisection.finding import find_layers_to_keep, write_patterns
    from dsunet_runtime.progress import StatusLine

    with StatusLine(sys.stderr) as status:
        finding = find_layers_to_keep(a, b, probes, tolerance, status.show)
    if not finding.groups:
        print(
            f"nothing more has to stay in float32: with every tensor rounded masks differ by "
            f"{finding.before:.3g} levels at most; {output} was not written",
            file=sys.stderr,
        )
        return
    write_patterns(finding, output)
    print(
        f"to keep in float32, found in {finding.trials} trials: {', '.join(finding.patterns)} "
        f"({finding.before:.3g} levels become {finding.after:.3g}); written to {output}",
        file=sys.stderr,
    )
