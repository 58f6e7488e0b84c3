"""The command `dsunet`.  PyTorch is imported inside the commands, so `--help` is instant."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.cli_ablate import SETTINGS, ablate
from dsunet.cli_checkpoint import Dinov2File, Sam2File, WeightsKey, notice
from dsunet.cli_evaluate import evaluate
from dsunet.cli_explain import explain
from dsunet.cli_generate import generate
from dsunet.cli_predict import predict
from dsunet.cli_train import train
from dsunet.errors import DSUNetError
from dsunet_runtime.command import make_app
from dsunet_runtime.command_options import file_to_write
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.message_text import shorten

if TYPE_CHECKING:
    from dsunet.inspection import CheckpointInfo

app = make_app(
    "dsunet",
    "DSU-Net in PyTorch: train it, judge it, look into it; its checkpoints and their conversion.",
    DSUNetError,
    RuntimeFault,
)

_CheckpointToWrite = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT.safetensors",
        callback=file_to_write,
        help="Where to write.",
    ),
]


@app.command()
def inspect(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", show_default=False)],
    weights: WeightsKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Say what a checkpoint holds: of whose format, which preset, how many parameters, which
    encoders.
    """
    from dsunet import inspect_checkpoint

    info = inspect_checkpoint(checkpoint, weights=weights, notice=notice)
    print(json.dumps(dataclasses.asdict(info), indent=2) if as_json else _in_words(info))


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", show_default=False)],
    output: _CheckpointToWrite,
    only_trained: Annotated[
        bool, typer.Option("--only-trained", help="Leave the frozen encoders out.")
    ] = False,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
) -> None:
    """Write a checkpoint in dsunet's own format: safetensors, with its configuration."""
    from dsunet import load_model, save_model
    from dsunet_runtime.jobs import make_folder

    model = load_model(checkpoint, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice)
    make_folder(output.parent)
    save_model(model, output, only_trained=only_trained)
    print(f"{output}: {output.stat().st_size / 1e6:,.1f} MB")


@app.command()
def demonstration(
    output: _CheckpointToWrite,
) -> None:
    """Write the checkpoint that ships with this package: a small network, trained on scenes of
    `dsunet generate`.
    """
    from dsunet import demonstration_checkpoint
    from dsunet_runtime.jobs import make_folder
    from dsunet_runtime.output_files import write_whole

    make_folder(output.parent)
    content = demonstration_checkpoint().read_bytes()
    write_whole(output, lambda file: file.write(content))
    print(f"{output}: {len(content) / 1e6:,.1f} MB")


app.command()(train)
app.command()(predict)
app.command()(evaluate)
app.command(context_settings=SETTINGS)(ablate)
app.command()(explain)
app.command()(generate)


def _in_words(info: CheckpointInfo) -> str:
    layout = {"dsunet": "dsunet", "public": "the paper's published code"}[info.layout]
    content = {"whole": "whole model", "trained": "only what was trained"}[info.content]
    share = info.trained_parameters / info.parameters
    several = len(info.choices) > 1
    broken = f"NaN or infinity in {shorten(info.not_finite)}" if info.not_finite else "all finite"
    lines = {
        "file": info.path,
        **({"weights": f"{info.weights}, of {shorten(info.choices, 8)}"} if several else {}),
        "format": f"{layout}, {content}",
        "preset": info.preset or "none",
        "injection": info.injection,
        "parameters": f"{info.parameters:,}, trained {info.trained_parameters:,} ({share:.2%})",
        "dtype": info.dtype,
        "values": broken,
        **{f"{encoder} sha256": digest for encoder, digest in info.encoders.items()},
        "checksum": "matches" if info.is_verified else "none in this file",
        "file sha256": info.sha256,
        "file size": f"{info.size / 1e6:,.1f} MB",
    }
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in lines.items())
