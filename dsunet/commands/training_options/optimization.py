"""Options of the loss, the optimizer and the learning rate schedule."""

from __future__ import annotations

from typing import Annotated

import typer

from dsunet.commands.help_panels import OPTIMIZATION
from dsunet.commands.training_options.defaults import DEFAULT, MAX_RATE
from dsunet_runtime.commands.options import MAX_BATCH, MAX_COUNT, MAX_SEED, integer, number

_MAX_NORM = 1e9
"""The largest limit of the gradient norm."""


class OptimizationOptions:
    """The options of the loss, the optimizer and the learning rate schedule."""

    epochs: Annotated[
        int,
        integer(
            low=1,
            high=MAX_COUNT,
            help="Number of epochs.  With --resume, a larger number lengthens the run, and the "
            "learning rate follows the cosine schedule of that length.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.epochs
    batch: Annotated[
        int,
        integer(
            low=1,
            high=MAX_BATCH,
            help="Batch size of one optimizer step, over all devices and accumulation steps.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.batch
    lr: Annotated[
        float,
        number(
            low=0,
            high=MAX_RATE,
            exclusive=True,
            help="Initial learning rate.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.lr
    min_lr: Annotated[
        float,
        number(
            low=0,
            high=MAX_RATE,
            help="Final learning rate of the cosine schedule.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.min_lr
    warmup: Annotated[
        float,
        number(
            low=0,
            high=MAX_COUNT,
            help="Epochs of linear learning-rate warm-up.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.warmup
    weight_decay: Annotated[
        float,
        number(low=0, high=MAX_RATE, help="Weight decay of AdamW.", rich_help_panel=OPTIMIZATION),
    ] = DEFAULT.weight_decay
    clip: Annotated[
        float | None,
        number(
            low=0,
            high=_MAX_NORM,
            exclusive=True,
            help="Maximum gradient norm; larger gradients are clipped.  [default: no clipping]",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = None
    deep_supervision: Annotated[
        tuple[float, float, float],
        number(
            low=0,
            high=MAX_RATE,
            metavar="COARSE MIDDLE FINE",
            help="Loss weights of the three decoder outputs.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.deep_supervision
    weighted_bce: Annotated[
        bool,
        typer.Option(
            "--weighted-bce",
            help="Weight the pixels of the cross-entropy too, unlike the published code.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = False
    dino_loss: Annotated[
        float,
        number(
            low=0,
            high=MAX_RATE,
            help="Loss weight of an auxiliary head on DINOv2's map, with --train-encoders.  "
            "The head is not saved in checkpoints.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.dino_loss
    blend_hiera: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Probability, per image, of blending Hiera's input with another image, so that "
            "only DINOv2's input shows which of them to segment.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.blend_hiera
    mismatch: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Probability, per image, of replacing the map of one encoder by zeros or by that "
            "of another image, with an empty mask as the target, so that the network depends on "
            "both encoders.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.mismatch
    seed: Annotated[
        int,
        integer(
            low=0,
            high=MAX_SEED,
            help="Random seed of new weights, sample order and flips.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = DEFAULT.seed
