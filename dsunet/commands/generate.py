"""The command `dsunet generate`.  It imports NumPy and Pillow late, and needs no PyTorch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dsunet.commands.help_panels import COMPUTATION, DATA
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import (
    MAX_COUNT,
    MAX_SEED,
    MAX_WORKERS,
    OUTPUT,
    integer,
    number,
    output_folder,
)
from dsunet_runtime.message_text import readable

EXAMPLES = examples(
    "dsunet generate -o scenes --count 1000 --seed 1",
    "dsunet generate -o scenes --camouflaged 0.5 --size 512",
    "dsunet generate -o composites --foregrounds cutouts/ --backgrounds photographs/ --empty 0.03",
)


def generate(
    output: Annotated[
        Path,
        output_folder("Folder for the dataset; created if needed."),
    ],
    count: Annotated[
        int, integer(low=1, high=MAX_COUNT, help="Number of scenes.", rich_help_panel=DATA)
    ] = 200,
    seed: Annotated[
        int,
        integer(
            low=0,
            high=MAX_SEED,
            help="Random seed; the same seed and options give the same scenes.",
            rich_help_panel=DATA,
        ),
    ] = 0,
    foregrounds: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of cut-outs, images with an alpha channel, to use as objects.  [default: "
            "drawn objects]",
            rich_help_panel=DATA,
        ),
    ] = None,
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of images without a salient object to use as backgrounds.  [default: "
            "drawn backgrounds]",
            rich_help_panel=DATA,
        ),
    ] = None,
    camouflaged: Annotated[
        float,
        number(
            low=0,
            high=1,
            metavar="FRACTION",
            help="Fraction of scenes whose object is camouflaged, among those with an object.",
            rich_help_panel=DATA,
        ),
    ] = 0.25,
    empty: Annotated[
        float,
        number(
            low=0,
            high=1,
            metavar="FRACTION",
            help="Fraction of scenes without an object.",
            rich_help_panel=DATA,
        ),
    ] = 0.0,
    size: Annotated[
        int,
        integer(
            low=64,
            high=2048,
            help="Image size: about N² pixels, in varying aspect ratios.",
            rich_help_panel=DATA,
        ),
    ] = 320,
    binary: Annotated[
        bool,
        typer.Option(
            "--binary",
            help="Write 0 and 255 instead of the opacity of cut-outs.  Masks of drawn objects "
            "always have 0 and 255 only.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    workers: Annotated[
        int | None,
        integer(
            low=1,
            high=MAX_WORKERS,
            help="Number of worker processes.  [default: one per core]",
            rich_help_panel=COMPUTATION,
        ),
    ] = None,
) -> None:
    """Generate a dataset of synthetic scenes with exact masks.

    Objects and backgrounds are drawn, or composed of your images: cut-outs are scaled, rotated,
    lit and matched to their background, partly hidden, or given its texture (camouflaged).

    Writes DIR/Image/NNNN.jpg and DIR/Mask/NNNN.png, which every command accepts as a dataset, and
    finally DIR/scenes.json with the arguments, and the kind (salient, camouflaged or empty) and the
    source images of each scene.  A mask is 255 where an object is visible and 0 elsewhere, also
    where an occluder hides it; cut-outs have their opacity at soft edges.
    """
    if binary and foregrounds is None:
        raise typer.BadParameter(
            "--binary is for --foregrounds: masks of drawn objects have 0 and 255 only"
        )
    from dsunet.scenes import write_scenes
    from dsunet_runtime.message_text import counted

    start = time.perf_counter()
    write_scenes(
        output,
        count,
        seed,
        foregrounds=foregrounds,
        backgrounds=backgrounds,
        camouflaged=camouflaged,
        empty=empty,
        size=size,
        binary=binary,
        workers=workers,
    )
    seconds = time.perf_counter() - start
    scenes = counted(count, "scene")
    print(f"{readable(output)}: {scenes}, {seconds:.1f} s, {count / seconds:.1f} scenes/s")
