"""The command `dsunet-export onnx`."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.commands.checkpoint_options import DinoSize, Dinov2File, HieraSize, Sam2File, WeightsKey
from dsunet.commands.help_panels import MODEL
from dsunet.network.config import PRESETS, Decoder, Injection
from dsunet_export.artifact import check_onnx_output
from dsunet_export.commands.onnx_model import SelectedModel, load_selected_model
from dsunet_export.commands.options import (
    PRECISION,
    VERIFICATION,
    ChosenAttention,
    Verbose,
    notice,
)
from dsunet_export.errors import ExportError
from dsunet_export.options import (
    DEFAULT_OPSET,
    IMAGES_COMPARED,
    LARGEST_BATCH,
    LARGEST_SIDE,
    OPSETS,
    Attention,
    ExportOptions,
    ExportPrecision,
    read_patterns,
)
from dsunet_export.stopwatch import print_step
from dsunet_runtime.artifact.manifest import InputForm, MaskForm
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import MAX_SEED, OUTPUT, as_wrong_usage, integer, output_file
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.message_text import quote, readable

if TYPE_CHECKING:
    from dsunet_runtime.artifact.manifest import Manifest

DYNAMIC = "dynamic"

_GRAPH = "Graph"
"""Panel of options in the help."""
EXAMPLES = examples(
    "dsunet-export onnx model.pth -o dsunet.onnx",
    "dsunet-export onnx runs/sod -o dsunet16.onnx --precision fp16",
    "dsunet-export onnx model.pth -o dsunet8.onnx --precision int8 --images photos",
    "dsunet-export onnx model.pth -o dsunet266.onnx --dino-size 266",
    "dsunet-export onnx --preset nano --random-weights -o nano.onnx",
)


def onnx(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Checkpoint file, or a run folder of `dsunet train`.  Omit it with "
            "--random-weights.",
        ),
    ] = None,
    *,
    output: Annotated[Path, output_file("ONNX file to write, NAME.onnx.")],
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Model preset: {', '.join(PRESETS)}.  [default: read from CHECKPOINT]",
            rich_help_panel=MODEL,
        ),
    ] = None,
    injection: Annotated[
        Injection | None,
        typer.Option(
            help="Hiera maps that receive DINOv2 maps; needs --preset.  last: the last map only, "
            "the paper's model.  none, levels, all: its ablations A, B and C.  [default: last]",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    decoder: Annotated[
        Decoder | None,
        typer.Option(
            help="Decoder; needs --preset.  sff: the paper's, with attention; unet: SAM2-UNet's, "
            "which has --injection none.  [default: sff]",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Export randomly initialised weights instead of a CHECKPOINT; needs --preset.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    seed: Annotated[
        int | None,
        integer(
            low=0,
            high=MAX_SEED,
            help="Seed of --random-weights.  [default: 0]",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
    hiera_size: HieraSize = None,
    dino_size: DinoSize = None,
    input_form: Annotated[
        InputForm,
        typer.Option(
            "--input",
            help="Inputs and outputs of the graph.  frames: 8-bit images in, 8-bit masks out, with "
            "preprocessing and postprocessing in the graph.  tensors: normalised float32 in, "
            "logits out.",
            rich_help_panel=_GRAPH,
        ),
    ] = InputForm.FRAMES,
    mask: Annotated[
        MaskForm,
        typer.Option(
            help="How probabilities become an 8-bit mask.  probability: probability × 255, "
            "rounded.  stretched: min-max normalised to 0 to 255, as in the paper and for "
            "comparison with it; this amplifies noise in images without an object.",
            rich_help_panel=_GRAPH,
        ),
    ] = MaskForm.PROBABILITY,
    batch: Annotated[
        str,
        typer.Option(
            metavar="N|dynamic",
            help=f"Batch size, 1 to {LARGEST_BATCH}; dynamic accepts any.",
            rich_help_panel=_GRAPH,
        ),
    ] = DYNAMIC,
    size: Annotated[
        str,
        typer.Option(
            metavar="HxW|dynamic",
            help=f"Height and width of the images for --input frames, 1 to {LARGEST_SIDE} each; "
            "dynamic accepts any.",
            rich_help_panel=_GRAPH,
        ),
    ] = DYNAMIC,
    opset: Annotated[
        int,
        integer(low=OPSETS[0], high=OPSETS[-1], help="ONNX opset version.", rich_help_panel=_GRAPH),
    ] = DEFAULT_OPSET,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="Skip the exact rewrites of the network, for comparison.",
            rich_help_panel=_GRAPH,
        ),
    ] = False,
    precision: Annotated[
        ExportPrecision,
        typer.Option(
            help="Data type of weights and matrix multiplications; inputs and outputs keep "
            "theirs.  fp16: strongly typed float16.  bf16: bfloat16, for networks whose "
            "activations exceed the float16 range; needs a GPU of compute capability 8.0 or "
            "later, and raises --opset to at least 22.  int8: 8-bit integers in the encoders' "
            "linear layers, calibrated on --images; the rest stays float32.  fp8: the same with "
            "8-bit floats, for engines of compute capability 8.9 or later.",
            rich_help_panel=PRECISION,
        ),
    ] = ExportPrecision.FP32,
    keep_fp32: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN|@FILE",
            help="Nodes to keep in float32, such as 'sff.2*' or '*/Softmax*'; @FILE holds one "
            "pattern per line.  Repeatable.",
            rich_help_panel=PRECISION,
        ),
    ] = None,
    attention: ChosenAttention = Attention.FUSED,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Sample images for a --precision other than fp32.  All are used to detect float16 "
            f"overflow and to calibrate int8 and fp8; the first {IMAGES_COMPARED} are also used to "
            "verify the result, together with random pixels and a photograph.",
            rich_help_panel=PRECISION,
        ),
    ] = None,
    shared_weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="File for the weights of the frozen encoders, beside OUTPUT, for example "
            "backbone.data; a hash of its content is added to the name.  An export that finds the "
            "same content there reuses it, so that exports of one backbone share it.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    no_verify: Annotated[
        bool,
        typer.Option(
            "--no-verify",
            help="Skip the comparison with PyTorch, which takes most of the time.",
            rich_help_panel=VERIFICATION,
        ),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Export a checkpoint to ONNX and verify it.

    Compares the artifact with PyTorch and writes nothing if a difference is outside the tolerance.
    Weights of more than 1.9 GB go to a second file, OUTPUT.data; keep both in one folder.
    """
    patterns = read_patterns(keep_fp32 or [])
    with as_wrong_usage(ExportError):
        check_onnx_output(output)
        options = ExportOptions(
            input_form=input_form,
            mask_form=mask,
            batch=_parse_batch(batch),
            size=_parse_size(size),
            opset=opset,
            rewrite=not plain,
            verify=not no_verify,
            precision=precision,
            keep_fp32=tuple(patterns),
            attention=attention,
            images=images,
            shared_weights=shared_weights,
        )
    with needs_extra("export"):
        from dsunet_export.onnx import export_onnx
        from dsunet_export.probes import unused_in_words

    for line in unused_in_words(images) if images else []:  # fails before anything is loaded
        notice(line)
    model, origin = load_selected_model(
        SelectedModel(
            checkpoint,
            preset,
            injection,
            decoder,
            random_weights,
            seed,
            sam2,
            dinov2,
            weights,
            hiera_size,
            dino_size,
        )
    )
    earlier = {file.name for file in output.parent.glob("*")} if shared_weights else set()
    manifest = export_onnx(model, origin, output, options, print_step)
    _print_result(output, manifest, earlier, verbose)


def _print_result(output: Path, manifest: Manifest, earlier: Collection[str], each: bool) -> None:
    """Print what was exported and how it was verified, then the files and their sizes.

    `earlier` has the names of files that the export may have reused; `each` prints every pattern
    and comparison.
    """
    from dsunet_export.manifest_text import (
        headroom_in_words,
        kept_in_words,
        selftest_in_words,
        verified_in_words,
    )

    for line in kept_in_words(manifest.precision, each):
        print(f"in float32: {line}", file=sys.stderr)
    for line in selftest_in_words(manifest):
        notice(f"self-test: {line}")
    for line in [*headroom_in_words(manifest.precision), *verified_in_words(manifest, each)]:
        print(line)
    written = [f"{readable(output)} {output.stat().st_size / 1e6:,.1f} MB"]
    for file in manifest.files:
        reused = " (reused)" if file.name in earlier else ""
        written.append(f"{readable(output.with_name(file.name))} {file.size / 1e6:,.1f} MB{reused}")
    print(", ".join(written))


def _parse_batch(text: str) -> int | None:
    if text == DYNAMIC:
        return None
    if re.fullmatch(r"[1-9][0-9]{0,8}", text) is None or int(text) > LARGEST_BATCH:
        raise typer.BadParameter(
            f"--batch {quote(text)}: give a number from 1 to {LARGEST_BATCH}, or {DYNAMIC!r}"
        )
    return int(text)


def _parse_size(text: str) -> tuple[int, int] | None:
    if text == DYNAMIC:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,8})x([1-9][0-9]{0,8})", text)
    if match is None or max(map(int, match.groups())) > LARGEST_SIDE:
        raise typer.BadParameter(
            f"--size {quote(text)}: give HEIGHTxWIDTH, for example 720x1280, with sides up to "
            f"{LARGEST_SIDE}, or {DYNAMIC!r}"
        )
    return int(match[1]), int(match[2])
