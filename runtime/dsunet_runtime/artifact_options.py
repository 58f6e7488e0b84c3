"""Argument and option shared by the commands that run one artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.file_kinds import is_engine
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.schedule import SelfTestPolicy

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
        help="ONNX Runtime's execution provider, or OpenVINO on the CPU; not for engines.  "
        "[default: cpu]",
        rich_help_panel="Inference",
    ),
]
SELFTEST_HELP = (
    "When to check that this machine computes what the artifact should.  auto: the first time that "
    "an engine, or a provider other than cpu, meets this device, driver and library."
)
ChosenSelfTest = Annotated[
    SelfTestPolicy,
    typer.Option("--selftest", help=SELFTEST_HELP, rich_help_panel="Inference"),
]
CPU_FALLBACK_HELP = (
    "Continue if a provider on a GPU leaves matrix multiplications or convolutions to the CPU.  "
    "[default: stop]"
)
CpuFallback = Annotated[
    bool,
    typer.Option("--allow-cpu-fallback", help=CPU_FALLBACK_HELP, rich_help_panel="Inference"),
]


def check_provider_applies(
    provider: Provider | None, artifact: Path, allow_cpu_fallback: bool
) -> None:
    """Raise typer.BadParameter if these options do not fit the artifact or each other."""
    if provider is not None and is_engine(artifact):
        raise typer.BadParameter(
            f"--provider applies to ONNX files only, and {artifact} is an engine"
        )
    check_fallback_applies([provider] if provider else [], allow_cpu_fallback)


def check_fallback_applies(providers: Sequence[Provider], allow_cpu_fallback: bool) -> None:
    """Raise typer.BadParameter if a fallback is allowed where no provider is on a GPU."""
    if allow_cpu_fallback and not any(provider.on_gpu for provider in providers):
        raise typer.BadParameter(
            f"--allow-cpu-fallback needs --provider {' or '.join(p for p in Provider if p.on_gpu)}"
        )
