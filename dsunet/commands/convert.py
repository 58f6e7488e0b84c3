"""The command `dsunet convert`."""

from __future__ import annotations

from typing import Annotated

import typer

from dsunet.commands.checkpoint_options import (
    CheckpointToRead,
    CheckpointToWrite,
    Dinov2File,
    Sam2File,
    WeightsKey,
    notice,
)
from dsunet_runtime.commands.app import examples
from dsunet_runtime.message_text import readable

EXAMPLES = examples(
    "dsunet convert model.pth -o model.safetensors",
    "dsunet convert model.pth -o trained.safetensors --only-trained",
)


def convert(
    checkpoint: CheckpointToRead,
    output: CheckpointToWrite,
    only_trained: Annotated[
        bool, typer.Option("--only-trained", help="Write without the frozen encoders.")
    ] = False,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
) -> None:
    """Convert a checkpoint to dsunet's safetensors format.

    The file holds float32 weights, the model's configuration and a checksum.
    """
    from dsunet import load_model, save_model
    from dsunet_runtime.files import make_folder

    model = load_model(checkpoint, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice)
    make_folder(output.parent)
    save_model(model, output, only_trained=only_trained)
    print(f"{readable(output)}: {output.stat().st_size / 1e6:,.1f} MB")
