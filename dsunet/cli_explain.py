"""`dsunet explain`: the paper's Figs. 1 and 2 for one's own image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.cli_checkpoint import WeightsKey, notice
from dsunet.config import PRESETS, DSUNetConfig
from dsunet.errors import ConfigError, DataError, MissingExtraError
from dsunet_runtime.command import complain
from dsunet_runtime.command_options import (
    MAX_COUNT,
    MAX_SEED,
    as_wrong_usage,
    file_to_write,
    integer,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dsunet.explain.maps import FeatureMap, Weights
    from dsunet.explain.picture import Colouring
    from dsunet.model import DSUNet
    from dsunet_runtime.images import Header

POINTS = 600


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            callback=file_to_write,
            help="The picture, NAME.png.",
        ),
    ],
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The model; or give a --preset.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(PRESETS)}: the encoders alone, from --sam2 and --dinov2, or random."
        ),
    ] = None,
    sam2: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="SAM2's file, for a --preset or a bare --checkpoint."),
    ] = None,
    dinov2: Annotated[
        str | None, typer.Option(metavar="FILE", help="DINOv2's file, or timm:NAME, for the same.")
    ] = None,
    weights: WeightsKey = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Colours t-SNE's points.  [default: the checkpoint's own, or the position]",
        ),
    ] = None,
    points: Annotated[
        int, integer(low=4, high=MAX_COUNT, help="Points that t-SNE draws of a map, at most.")
    ] = POINTS,
    seed: Annotated[
        int, integer(low=0, high=MAX_SEED, help="Of t-SNE and of its choice of points.")
    ] = 0,
) -> None:
    """Draw what Hiera and DINOv2 see in an image, level by level.

    Of each map, the first three principal components as colours, and its positions in the plane by
    t-SNE.  The paper's Figs. 1 and 2 show the plain encoders: --preset large with --sam2 and
    --dinov2.

    Exit codes: 0 drawn, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    if (checkpoint is None) == (preset is None):
        raise typer.BadParameter("give either --checkpoint or --preset")
    if checkpoint is None and weights is not None:
        raise typer.BadParameter("--weights is for --checkpoint")
    if output.suffix.lower() != ".png":
        raise typer.BadParameter(f"{output} is no name of a picture: give NAME.png")
    if preset is not None:
        with as_wrong_usage(ConfigError):
            DSUNetConfig.preset(preset)
    try:
        from dsunet.checkpoint import load_model
        from dsunet.explain.maps import Weights, feature_maps, open_encoders
        from dsunet.explain.picture import Level, write_picture
        from dsunet.explain.projections import embed, principal_colours
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error, "train") from error
    from dsunet.data.files import decode_file
    from dsunet_runtime.jobs import make_folder
    from dsunet_runtime.progress import StatusLine

    decoded = decode_file(image)
    rgb, truth = decoded.rgb, _truth(mask, image, decoded.header)
    if checkpoint is not None:
        model = load_model(checkpoint, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice)
        meaning = Weights.TRAINED
    else:
        model, meaning = open_encoders(preset or "", sam2=sam2, dinov2=dinov2, notice=notice)
    _warn_if_random(meaning)
    with StatusLine(sys.stderr) as status:

        def project(one: FeatureMap) -> Level:
            status.show(f"{one.name}, {one.shape_in_words}")
            colours = principal_colours(one.values)
            return Level(one, colours, embed(one.values, points, seed))

        maps = feature_maps(model, rgb)
        encoders = {encoder: [project(one) for one in levels] for encoder, levels in maps.items()}
        make_folder(output.parent)
        write_picture(output, rgb, _colouring(model, meaning, rgb, truth), encoders)
    print(output)


def _truth(mask: Path | None, image: Path, header: Header) -> NDArray[np.uint8] | None:
    if mask is None:
        return None
    from dsunet.data.checks import alignment_fault
    from dsunet.data.files import decode_file, mask_of

    decoded = decode_file(mask)
    if fault := alignment_fault(image, header, "mask", decoded.header):
        raise DataError(f"{fault.line}: give the mask of this image, turned as it is")
    return mask_of(mask, decoded)


def _warn_if_random(weights: Weights) -> None:
    from dsunet.explain.maps import Weights

    if weights is Weights.RANDOM:
        complain("dsunet", "the encoders are random and show nothing: give --sam2 and --dinov2")


def _colouring(
    model: DSUNet, weights: Weights, rgb: NDArray[np.uint8], truth: NDArray[np.uint8] | None
) -> Colouring:
    from dsunet.evaluation.predictors import TorchPredictor
    from dsunet.explain.maps import Weights
    from dsunet.explain.picture import Colouring

    if truth is not None:
        return Colouring.of_mask("the given mask", truth)
    if weights is Weights.TRAINED:
        with TorchPredictor(model) as predictor:
            return Colouring.of_mask("the predicted mask", predictor(rgb))
    return Colouring.of_position(*rgb.shape[:2])
