"""The command `dsunet`.  PyTorch is imported inside the commands to keep `--help` fast."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.commands import ablate, distill, evaluate, explain, generate, predict, train
from dsunet.commands.checkpoint_options import Dinov2File, Sam2File, WeightsKey, notice
from dsunet.errors import DSUNetError
from dsunet_runtime.commands.command import examples, make_app
from dsunet_runtime.commands.options import file_to_write
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.message_text import printable, readable, shorten

if TYPE_CHECKING:
    from dsunet.checkpoints.inspection import CheckpointInfo

app = make_app(
    "dsunet",
    "DSU-Net in PyTorch: train, predict, evaluate, explain, and convert checkpoints.",
    DSUNetError,
    RuntimeFault,
)


def _checkpoint_file(text: str | Path) -> Path:
    path = file_to_write(text)
    if path.suffix.lower() != ".safetensors":
        raise typer.BadParameter(
            f"{printable(path)}: the name of a checkpoint to write ends in .safetensors: give "
            f"{printable(path.with_suffix('.safetensors'))}"
        )
    return path


_CheckpointToRead = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", help="Checkpoint file, or a run folder.", show_default=False
    ),
]
_CheckpointToWrite = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT.safetensors",
        parser=_checkpoint_file,
        help="Checkpoint file to write.",
    ),
]


@app.command(epilog=examples("dsunet inspect model.pth", "dsunet inspect runs/sod --json"))
def inspect(
    checkpoint: _CheckpointToRead,
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
    print(json.dumps(dataclasses.asdict(info), indent=2) if as_json else _as_text(info))


@app.command(
    epilog=examples(
        "dsunet convert model.pth -o model.safetensors",
        "dsunet convert model.pth -o trained.safetensors --only-trained",
    )
)
def convert(
    checkpoint: _CheckpointToRead,
    output: _CheckpointToWrite,
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
    from dsunet_runtime.prediction.jobs import make_folder

    model = load_model(checkpoint, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice)
    make_folder(output.parent)
    save_model(model, output, only_trained=only_trained)
    print(f"{readable(output)}: {output.stat().st_size / 1e6:,.1f} MB")


@app.command(epilog=examples("dsunet demonstration -o demonstration.safetensors"))
def demonstration(
    output: _CheckpointToWrite,
) -> None:
    """Write the demonstration checkpoint that ships with dsunet.

    It is the preset nano, trained from scratch on images of `dsunet generate`.
    """
    from dsunet import demonstration_checkpoint
    from dsunet_runtime.prediction.jobs import make_folder
    from dsunet_runtime.prediction.output_files import write_whole

    make_folder(output.parent)
    content = demonstration_checkpoint().read_bytes()
    write_whole(output, lambda file: file.write(content))
    print(f"{readable(output)}: {len(content) / 1e6:,.1f} MB")


app.command(epilog=train.EXAMPLES)(train.train)
app.command(epilog=distill.EXAMPLES)(distill.distill)
app.command(epilog=predict.EXAMPLES)(predict.predict)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=ablate.EXAMPLES, context_settings=ablate.SETTINGS)(ablate.ablate)
app.command(epilog=explain.EXAMPLES)(explain.explain)
app.command(epilog=generate.EXAMPLES)(generate.generate)


def _as_text(info: CheckpointInfo) -> str:
    layout = "dsunet" if info.layout == "dsunet" else f"the published code of {info.network}"
    content = {"whole": "whole model", "trained": "trained weights only, no encoders"}[info.content]
    fraction = info.trained_parameters / info.parameters
    several = len(info.choices) > 1
    broken = f"NaN or infinity in {shorten(info.not_finite)}" if info.not_finite else "all finite"
    lines = {
        "file": readable(info.path),
        **({"weights": f"{info.weights}, of {shorten(info.choices, 8)}"} if several else {}),
        "format": f"{layout}, {content}",
        "network": info.network or "parts of several",
        "preset": info.preset or "custom",
        "inputs": ", ".join(f"{name} {side}×{side}" for name, side in info.input_sizes.items()),
        "injection": info.injection,
        "decoder": info.decoder,
        "parameters": f"{info.parameters:,}, trained {info.trained_parameters:,} ({fraction:.2%})",
        "dtype": info.dtype,
        "values": broken,
        **{f"{encoder} sha256": digest for encoder, digest in info.encoders.items()},
        "checksum": "matches" if info.is_verified else "none in this file",
        "file sha256": info.sha256,
        "file size": f"{info.size / 1e6:,.1f} MB",
    }
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in lines.items())
