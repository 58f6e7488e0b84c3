"""`dsunet generate`.  NumPy and Pillow are imported inside it; PyTorch is not needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.command_options import (
    MAX_COUNT,
    MAX_SEED,
    MAX_WORKERS,
    folder_to_write,
    integer,
    number,
)


def generate(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            callback=folder_to_write,
            help="Folder for the dataset; made if needed.",
        ),
    ],
    count: Annotated[int, integer(low=1, high=MAX_COUNT, help="How many scenes.")] = 200,
    seed: Annotated[
        int,
        integer(low=0, high=MAX_SEED, help="The same seed and options make the same scenes."),
    ] = 0,
    camouflaged: Annotated[
        float, number(low=0, high=1, metavar="SHARE", help="Share of camouflaged objects.")
    ] = 0.25,
    size: Annotated[
        int,
        integer(low=64, high=2048, help="An image has about SIZE² pixels; proportions vary."),
    ] = 320,
    workers: Annotated[
        int | None,
        integer(low=1, high=MAX_WORKERS, help="Processes.  [default: one a core]"),
    ] = None,
) -> None:
    """Make a dataset of drawn scenes with exact masks, to try things out or to train on.

    Writes DIR/Image/NNNN.jpg and DIR/Mask/NNNN.png, which every command takes as a dataset,
    and last DIR/scenes.json, which says how they were made and which are camouflaged.  A mask is
    255 where the object is seen: not where a stem, a bar or a leaf passes in front of it.

    Exit codes: 0 all is written, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    from dsunet.scenes import write_scenes
    from dsunet_runtime.image_folder import counted

    start = time.perf_counter()
    write_scenes(output, count, seed, camouflaged=camouflaged, size=size, workers=workers)
    seconds = time.perf_counter() - start
    print(f"{output}: {counted(count, 'scene')}, {seconds:.1f} s, {count / seconds:.1f} scenes/s")
