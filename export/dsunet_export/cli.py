"""The command `dsunet-export`.  PyTorch and ONNX are imported inside commands."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.cli_checkpoint import Dinov2File, Sam2File, WeightsKey
from dsunet.config import PRESETS, DSUNetConfig, Injection
from dsunet.errors import ConfigError, DSUNetError
from dsunet_export.artifact import check_onnx_output
from dsunet_export.cli_doctor import doctor
from dsunet_export.cli_trt import trt
from dsunet_export.cli_verify import verify
from dsunet_export.errors import ExportError, MissingExtraError, missing_package
from dsunet_export.options import (
    DEFAULT_OPSET,
    IMAGES_COMPARED,
    LARGEST_BATCH,
    LARGEST_SIDE,
    OPSETS,
    ExportOptions,
    ExportPrecision,
    WeightsOrigin,
    read_patterns,
)
from dsunet_export.stopwatch import print_step
from dsunet_runtime.command import complain, make_app
from dsunet_runtime.command_options import MAX_SEED, as_wrong_usage, file_to_write, integer
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.manifest import InputForm, MaskForm
from dsunet_runtime.message_text import quote, readable

if TYPE_CHECKING:
    from dsunet import DSUNet

DYNAMIC = "dynamic"

Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Print every comparison, not only the worst."),
]

app = make_app(
    "dsunet-export",
    "From a DSU-Net checkpoint to a verified artifact.",
    ExportError,
    DSUNetError,
    RuntimeFault,
)


@app.command()
def onnx(
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", callback=file_to_write, help="The file to write, NAME.onnx."
        ),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="The weights, a file or the folder of a run; not with --random-weights.",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"{', '.join(PRESETS)}.  [default: read from CHECKPOINT]")
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Numbers that mean nothing, of a --preset.")
    ] = False,
    seed: Annotated[
        int | None,
        integer(
            low=0,
            high=MAX_SEED,
            help="Of --random-weights.  [default: 0]",
            show_default=False,
        ),
    ] = None,
    injection: Annotated[
        Injection | None,
        typer.Option(
            help="Of a --preset: last is the paper's; none, levels and all are its ablations A, B "
            "and C.  [default: last]",
            show_default=False,
        ),
    ] = None,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
    input_form: Annotated[
        InputForm,
        typer.Option(
            "--input",
            help="frames: 8-bit images in, 8-bit masks out, all image arithmetic in the graph.  "
            "tensors: normalised floats in, logits out.",
        ),
    ] = InputForm.FRAMES,
    mask: Annotated[
        MaskForm,
        typer.Option(
            help="stretched: the paper's mask, each one stretched to span 0 to 255; in a scene "
            "without an object that makes an object of noise.  probability: times 255."
        ),
    ] = MaskForm.STRETCHED,
    batch: Annotated[str, typer.Option(metavar="N|dynamic", help="Images at once.")] = DYNAMIC,
    size: Annotated[
        str, typer.Option(metavar="HxW|dynamic", help="Frame size, for --input frames.")
    ] = DYNAMIC,
    opset: Annotated[
        int, integer(low=OPSETS[0], high=OPSETS[-1], help="ONNX operator set.")
    ] = DEFAULT_OPSET,
    plain: Annotated[
        bool, typer.Option("--plain", help="Without the exact rewrites, for comparison.")
    ] = False,
    precision: Annotated[
        ExportPrecision,
        typer.Option(
            help="Of weights and matrix products.  fp16: strongly typed float16, inputs and "
            "outputs as before.  bf16: bfloat16, for networks whose activations overflow; needs a "
            "GPU of compute capability 8.0 and makes --opset at least 22.  int8: 8-bit integers "
            "in the encoders' products, calibrated on --images, the rest in float32.  fp8: the "
            "same with 8-bit floats, for engines of compute capability 8.9 and later."
        ),
    ] = ExportPrecision.FP32,
    keep_fp32: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN|@FILE",
            help="Nodes that stay in float32, such as 'sff.2*' or '*/Softmax*'; @FILE has one "
            "pattern a line.  May be given several times.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images for --precision other than fp32: overflow is looked for and 8 bits' "
            f"ranges are measured on all, the first {IMAGES_COMPARED} are compared on, besides "
            "random pixels and a photograph.",
        ),
    ] = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not compare the artifact with PyTorch.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Export a checkpoint to ONNX, and verify it against PyTorch.

    Nothing is written if the artifact does not compute what the model computes.  Weights of more
    than 1.9 GB go into a second file, OUTPUT.data, which belongs beside the first.
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
            images=images,
        )
    try:
        from dsunet_export.inspection import headroom_in_words, kept_in_words, verified_in_words
        from dsunet_export.onnx import export_onnx
        from dsunet_export.probes import notes_on
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{missing_package(error)} is not installed: pip install 'dsunet[export]'"
        ) from error

    if images is not None:
        for line in notes_on(images):  # fails before anything is loaded
            complain("dsunet-export", line)
    model, origin = _load(
        checkpoint, preset, injection, random_weights, seed, sam2, dinov2, weights
    )
    manifest = export_onnx(model, origin, output, options, print_step)
    for line in kept_in_words(manifest.precision):
        print(f"in float32: {line}", file=sys.stderr)
    for line in headroom_in_words(manifest.precision):
        print(line)
    for line in verified_in_words(manifest, verbose):
        print(line)
    files = [output, *(output.with_name(file.name) for file in manifest.files)]
    print(", ".join(f"{file} {file.stat().st_size / 1e6:,.1f} MB" for file in files))


app.command()(trt)
app.command()(verify)


@app.command()
def inspect(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="An exported ONNX file, or an engine.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="The manifest as JSON.")] = False,
    verbose: Verbose = False,
) -> None:
    """Say what an artifact is, then check that the files beside it are the ones it needs."""
    from dsunet_export.inspection import describe
    from dsunet_runtime.artifact import (
        check_hashes,
        check_sizes,
        check_weights_files,
        read_manifest,
    )

    manifest = read_manifest(artifact)
    print(manifest.to_json(indent=2) if as_json else describe(manifest, verbose))
    check_sizes(artifact, manifest)
    check_hashes(artifact, manifest)
    if manifest.engine is None:
        check_weights_files(artifact, manifest)


app.command()(doctor)


def _load(
    checkpoint: Path | None,
    preset: str | None,
    injection: Injection | None,
    random_weights: bool,
    seed: int | None,
    sam2: Path | None,
    dinov2: str | None,
    weights: str | None,
) -> tuple[DSUNet, WeightsOrigin]:
    """The model that the options ask for, and where its weights come from."""
    from dsunet import checkpoint_sha256, load_model, random_model
    from dsunet.run_checkpoint import find_checkpoint

    config = _config(preset, injection)
    if random_weights:
        if config is None or checkpoint or sam2 or dinov2 or weights:
            raise typer.BadParameter(
                "--random-weights goes with --preset NAME, and without a CHECKPOINT or encoders"
            )
        return random_model(config, seed or 0), WeightsOrigin.random(seed or 0)
    if checkpoint is None:
        raise typer.BadParameter("name a CHECKPOINT, or give --preset NAME --random-weights")
    if seed is not None:
        raise typer.BadParameter("--seed goes with --random-weights, not with a CHECKPOINT")
    notice = functools.partial(complain, "dsunet-export")
    file = find_checkpoint(checkpoint, notice)
    model = load_model(
        file, config=config, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice
    )
    return model, WeightsOrigin(readable(file.name), checkpoint_sha256(file))


def _config(preset: str | None, injection: Injection | None) -> DSUNetConfig | None:
    """The configuration that the options name; None where the checkpoint is to say it."""
    if preset is None:
        if injection is not None:
            raise typer.BadParameter("--injection goes with --preset")
        return None
    with as_wrong_usage(ConfigError):
        return DSUNetConfig.preset(preset).replace(injection=injection or Injection.LAST)


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
