"""Argument and option shared by the commands that run one artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.file_kinds import is_engine
from dsunet_runtime.provider import Provider

Artifact = Annotated[
    Path,
    typer.Argument(
        metavar="ARTIFACT",
        help="ONNX file or TensorRT engine (.engine, .plan) written by dsunet-export.",
    ),
]
ChosenProvider = Annotated[
    Provider | None,
    typer.Option(
        help="Execution provider of ONNX Runtime; not for engines.  [default: cpu]",
        rich_help_panel="Inference",
    ),
]


def check_provider_applies(provider: Provider | None, artifact: Path) -> None:
    """Raise typer.BadParameter if a provider is given for an engine."""
    if provider is not None and is_engine(artifact):
        raise typer.BadParameter(
            f"--provider applies to ONNX files only, and {artifact} is an engine"
        )
