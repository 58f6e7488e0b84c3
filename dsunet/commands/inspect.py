"""The command `dsunet inspect`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.commands.checkpoint_options import CheckpointToRead, WeightsKey, notice
from dsunet_runtime.commands.app import examples
from dsunet_runtime.message_text import readable, shorten

if TYPE_CHECKING:
    from dsunet.checkpoints.inspection import CheckpointInfo

EXAMPLES = examples("dsunet inspect model.pth", "dsunet inspect runs/sod --json")


def inspect(
    checkpoint: CheckpointToRead,
    weights: WeightsKey = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Describe a checkpoint: format, preset, parameters.

    Also prints its dtype, tensors with NaN or infinity, the SHA-256 of its encoders and of the
    file, and whether its checksum matches.
    """
    from dsunet import inspect_checkpoint

    info = inspect_checkpoint(checkpoint, weights=weights, notice=notice)
    print(json.dumps(dataclasses.asdict(info), indent=2) if as_json else _format_info(info))


def _format_info(info: CheckpointInfo) -> str:
    layout = "dsunet" if info.layout == "dsunet" else f"the published code of {info.network}"
    content = {"whole": "whole model", "trained": "trained weights only, no encoders"}[info.content]
    fraction = info.trained_parameters / info.parameters
    values = f"NaN or infinity in {shorten(info.not_finite)}" if info.not_finite else "all finite"
    lines = {"file": readable(info.path)}
    if len(info.choices) > 1:
        lines["weights"] = f"{info.weights}, of {shorten(info.choices, 8)}"
    lines |= {
        "format": f"{layout}, {content}",
        "network": info.network or "parts of several",
        "preset": info.preset or "custom",
        "inputs": ", ".join(f"{name} {side}×{side}" for name, side in info.input_sizes.items()),
        "injection": info.injection,
        "decoder": info.decoder,
        "parameters": f"{info.parameters:,}, trained {info.trained_parameters:,} ({fraction:.2%})",
        "dtype": info.dtype,
        "values": values,
        **{f"{encoder} sha256": digest for encoder, digest in info.encoders.items()},
        "checksum": "matches" if info.is_verified else "none in this file",
        "file sha256": info.sha256,
        "file size": f"{info.size / 1e6:,.1f} MB",
    }
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in lines.items())
