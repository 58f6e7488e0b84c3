"""The model that the options of `dsunet-export onnx` select."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dsunet.errors import ConfigError
from dsunet.network.config import Decoder, DSUNetConfig, Injection, describe_sizes
from dsunet_export.commands.options import notice
from dsunet_export.options import WeightsOrigin
from dsunet_runtime.commands.options import as_wrong_usage
from dsunet_runtime.message_text import readable

if TYPE_CHECKING:
    from dsunet import DSUNet


@dataclass(frozen=True, slots=True)
class SelectedModel:
    """The options of the panel `Model`, and the checkpoint; None where one is not given."""

    checkpoint: Path | None
    preset: str | None
    injection: Injection | None
    decoder: Decoder | None
    random_weights: bool
    seed: int | None
    sam2: Path | None
    dinov2: str | None
    weights: str | None
    hiera_size: int | None
    dino_size: int | None


def load_selected_model(options: SelectedModel) -> tuple[DSUNet, WeightsOrigin]:
    """Load or create the model that the options select, with the origin of its weights.

    Prints other input sizes than the network's own, and how they change the multiply-adds.  Raises
    typer.BadParameter if the options do not fit together, and the exceptions of `load_model`.
    """
    config = _config(options)
    if options.random_weights:
        return _create_random(options, config)
    return _load_checkpoint(options, config)


def _config(options: SelectedModel) -> DSUNetConfig | None:
    """Build the configuration that the options select; None to read it from the checkpoint."""
    given = {"injection": options.injection, "decoder": options.decoder}
    parts = {name: part for name, part in given.items() if part is not None}
    if options.preset is None:
        if parts:
            raise typer.BadParameter(f"--{next(iter(parts))} goes with --preset")
        return None
    with as_wrong_usage(ConfigError):
        return DSUNetConfig.preset(options.preset).replace(**parts)


def _create_random(
    options: SelectedModel, config: DSUNetConfig | None
) -> tuple[DSUNet, WeightsOrigin]:
    from dsunet import random_model

    if config is None or options.checkpoint or options.sam2 or options.dinov2 or options.weights:
        raise typer.BadParameter(
            "--random-weights goes with --preset NAME, and without CHECKPOINT, --sam2, --dinov2 "
            "and --weights"
        )
    with as_wrong_usage(ConfigError):
        resized = config.resized(hiera_size=options.hiera_size, dino_size=options.dino_size)
    _print_change(config, resized)
    seed = options.seed or 0
    return random_model(resized, seed), WeightsOrigin.random(seed)


def _load_checkpoint(
    options: SelectedModel, config: DSUNetConfig | None
) -> tuple[DSUNet, WeightsOrigin]:
    from dsunet import checkpoint_sha256, load_model
    from dsunet.checkpoints.open_checkpoint import open_checkpoint
    from dsunet.checkpoints.run_checkpoint import find_checkpoint

    if options.checkpoint is None:
        raise typer.BadParameter("name a CHECKPOINT, or use --preset NAME --random-weights")
    if options.seed is not None:
        raise typer.BadParameter("--seed goes with --random-weights, not with a CHECKPOINT")
    file = find_checkpoint(options.checkpoint, notice)
    with as_wrong_usage(ConfigError):
        model = load_model(
            file,
            config=config,
            sam2=options.sam2,
            dinov2=options.dinov2,
            weights=options.weights,
            hiera_size=options.hiera_size,
            dino_size=options.dino_size,
            notice=notice,
        )
    if options.hiera_size is not None or options.dino_size is not None:
        own = open_checkpoint(file, config=config, weights=options.weights).model.config
        _print_change(own, model.config)
    return model, WeightsOrigin(readable(file.name), checkpoint_sha256(file))


def _print_change(own: DSUNetConfig, resized: DSUNetConfig) -> None:
    """Print other input sizes and the multiply-adds before and after, if the sizes differ."""
    from dsunet.network.model import build_empty
    from dsunet_export.macs import count_macs

    if resized == own:
        return
    before, after = (count_macs(build_empty(config)) for config in (own, resized))
    old, new = (describe_sizes(config.input_sizes) for config in (own, resized))
    print(
        f"inputs of {new} pixels instead of {old}: {before / 1e9:,.3f} G multiply-adds -> "
        f"{after / 1e9:,.3f} G before the rewrites"
    )
