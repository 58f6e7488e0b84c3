"""`dsunet generate`.  NumPy and Pillow are imported inside it; PyTorch is not needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer


def generate(
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Folder for the dataset; made if needed."
        ),
    ],
    count: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 200,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed and options make the same scenes.")
    ] = 0,
    camouflaged: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Share of camouflaged objects.")
    ] = 0.25,
    size: Annotated[
        int,
        typer.Option(min=64, max=2048, help="An image has about SIZE² pixels; proportions vary."),
    ] = 320,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes.  [default: one a core]")
    ] = None,
) -> None:
    """Make a dataset of drawn scenes with exact masks, to try things out or to train on.

    Writes DIR/Image/NNNN.jpg and DIR/Mask/NNNN.png, which every command takes as a dataset,
    and last DIR/scenes.json, which says how they were made and which are camouflaged.  A mask is
    255 where the object is seen: not where a stem, a bar or a leaf passes in front of it.

    Exit codes: 0 all is written, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    from dsunet.scenes import write_scenes

    start = time.perf_counter()
    write_scenes(output, count, seed, camouflaged=camouflaged, size=size, workers=workers)
    seconds = time.perf_counter() - start
    scenes = f"{count} scene{'' if count == 1 else 's'}"
    print(f"{output}: {scenes}, {seconds:.1f} s, {count / seconds:.1f} scenes/s")
