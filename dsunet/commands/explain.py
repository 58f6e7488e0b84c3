"""The command `dsunet explain`: the paper's Figs. 1 and 2 for any image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.commands.checkpoint_options import WeightsKey, notice
from dsunet.commands.help_panels import COMPUTATION, MODEL
from dsunet.errors import ConfigError, DataError
from dsunet.network.config import PRESETS, DSUNetConfig
from dsunet_runtime.commands.app import complain, examples
from dsunet_runtime.commands.options import (
    MAX_COUNT,
    MAX_SEED,
    OUTPUT,
    as_wrong_usage,
    integer,
    output_file,
)
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.message_text import readable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dsunet.explain.figure import Colouring
    from dsunet.explain.maps import FeatureMap, WeightSource
    from dsunet.network.model import DSUNet
    from dsunet_runtime.images.decode import ImageHeader

_POINTS = 600

EXAMPLES = examples(
    "dsunet explain photo.jpg --checkpoint runs/sod -o maps.png",
    "dsunet explain photo.jpg --preset large --sam2 FILE --dinov2 FILE -o maps.png",
)


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file.")],
    output: Annotated[Path, output_file("Figure to write, NAME.png.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="DSU-Net checkpoint, or a run folder.  Required unless --preset is given.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Network size: {', '.join(PRESETS)}.  Shows encoders without a DSU-Net "
            "checkpoint, with the weights of --sam2 and --dinov2, or randomly initialised.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    sam2: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="SAM2 or SAM2.1 weights, for --preset or a checkpoint without the encoders.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    dinov2: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="DINOv2 weights, a file or timm:NAME, for --preset or a checkpoint without the "
            "encoders.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    weights: WeightsKey = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Mask that colours the t-SNE points.  [default: the checkpoint's prediction, or "
            "with --preset the position in the image]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    points: Annotated[
        int,
        integer(
            low=4,
            high=MAX_COUNT,
            help="Maximum number of t-SNE points per feature map.",
            rich_help_panel=COMPUTATION,
        ),
    ] = _POINTS,
    seed: Annotated[
        int,
        integer(
            low=0,
            high=MAX_SEED,
            help="Random seed of t-SNE and of its choice of points.",
            rich_help_panel=COMPUTATION,
        ),
    ] = 0,
) -> None:
    """Plot an image's encoder feature maps (PCA and t-SNE).

    Shows each level of Hiera and DINOv2: its first three principal components as colours, and a
    t-SNE embedding of its positions.  To reproduce the paper's Figs. 1 and 2, which show the
    official encoders, use --preset large with --sam2 and --dinov2.
    """
    if (checkpoint is None) == (preset is None):
        raise typer.BadParameter("give either --checkpoint or --preset")
    if checkpoint is None and weights is not None:
        raise typer.BadParameter("--weights needs --checkpoint")
    if output.suffix.lower() != ".png":
        raise typer.BadParameter(f"-o {output}: the figure is a PNG file: give NAME.png")
    if preset is not None:
        with as_wrong_usage(ConfigError):
            DSUNetConfig.preset(preset)
    with needs_extra("train"):
        from dsunet.checkpoints.load_and_save import load_model
        from dsunet.explain.figure import ProjectedMap, write_figure
        from dsunet.explain.maps import WeightSource, feature_maps, open_encoders
        from dsunet.explain.projections import embed, principal_colours
    from dsunet.data.image_files import decode_file
    from dsunet_runtime.files import make_folder
    from dsunet_runtime.progress import StatusLine

    decoded = decode_file(image)
    rgb, given_mask = decoded.rgb, _read_mask(mask, image, decoded.header)
    if checkpoint is not None:
        model = load_model(checkpoint, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice)
        source = WeightSource.TRAINED
    else:
        model, source = open_encoders(preset or "", sam2=sam2, dinov2=dinov2, notice=notice)
    _warn_if_random(source)
    with StatusLine(sys.stderr) as status:

        def project(one: FeatureMap) -> ProjectedMap:
            status.show(f"{one.name}, {one.shape_in_words}")
            colours = principal_colours(one.values)
            return ProjectedMap(one, colours, embed(one.values, points, seed))

        maps = feature_maps(model, rgb)
        encoders = {encoder: [project(one) for one in levels] for encoder, levels in maps.items()}
        make_folder(output.parent)
        write_figure(output, rgb, _colouring(model, source, rgb, given_mask), encoders)
    print(readable(output))


def _read_mask(mask: Path | None, image: Path, header: ImageHeader) -> NDArray[np.uint8] | None:
    if mask is None:
        return None
    from dsunet.data.checks import alignment_defect
    from dsunet.data.image_files import decode_file, decoded_mask

    decoded = decode_file(mask)
    if defect := alignment_defect(image, header, "mask", decoded.header):
        raise DataError(f"{defect.line}: give the mask of this image, in the same orientation")
    return decoded_mask(mask, decoded)


def _warn_if_random(source: WeightSource) -> None:
    from dsunet.explain.maps import WeightSource

    if source is WeightSource.RANDOM:
        complain(
            "dsunet",
            "the encoders are randomly initialised: their maps are meaningless; give --sam2 and "
            "--dinov2",
        )


def _colouring(
    model: DSUNet,
    source: WeightSource,
    rgb: NDArray[np.uint8],
    given_mask: NDArray[np.uint8] | None,
) -> Colouring:
    from dsunet.evaluation.predictors import TorchPredictor
    from dsunet.explain.figure import Colouring
    from dsunet.explain.maps import WeightSource

    if given_mask is not None:
        return Colouring.of_mask("the given mask", given_mask)
    if source is WeightSource.TRAINED:
        with TorchPredictor(model) as predictor:
            return Colouring.of_mask("the predicted mask", predictor(rgb))
    return Colouring.of_position(*rgb.shape[:2])
