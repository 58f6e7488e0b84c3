"""The argument and the options of commands that run one artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.policy import SelfTestPolicy

_INFERENCE = "Inference"
"""Panel of these options in the help."""

ArtifactArgument = Annotated[
    Path,
    typer.Argument(
        metavar="ARTIFACT",
        help="ONNX file or TensorRT engine (.engine, .plan) written by dsunet-export.",
    ),
]
ProviderOption = Annotated[
    Provider | None,
    typer.Option(
        help="ONNX Runtime's execution provider, or OpenVINO on the CPU; not for engines.  "
        "[default: cpu]",
        rich_help_panel=_INFERENCE,
    ),
]


DomainOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="ONNX file whose trained weights replace those of an engine built with --refit; both "
        "exported with the same --shared-weights.",
        rich_help_panel=_INFERENCE,
    ),
]


def selftest_option(panel: str) -> Any:
    """Create the option `--selftest` in a panel of the help."""
    return typer.Option(
        "--selftest",
        help="When to compare this machine's outputs with the references in the artifact.  auto: "
        "the first time that an engine, or a provider other than cpu, runs with this device, "
        "driver and library.",
        rich_help_panel=panel,
    )


def cpu_fallback_option(panel: str) -> Any:
    """Create the option `--allow-cpu-fallback` in a panel of the help."""
    return typer.Option(
        "--allow-cpu-fallback",
        help="Continue if a provider on a GPU leaves matrix multiplications or convolutions to the "
        "CPU.  [default: an error]",
        rich_help_panel=panel,
    )


SelfTestOption = Annotated[SelfTestPolicy, selftest_option(_INFERENCE)]
CpuFallbackOption = Annotated[bool, cpu_fallback_option(_INFERENCE)]


def check_provider_applies(
    provider: Provider | None, artifact: Path, allow_cpu_fallback: bool, domain: Path | None
) -> None:
    """Raise typer.BadParameter if these options do not fit the artifact or each other."""
    if domain is not None and not is_engine(artifact):
        raise typer.BadParameter(
            f"--domain applies to engines, and {artifact} is an ONNX file: omit "
            f"--domain, and run the ONNX file of the domain itself"
        )
    if provider is not None and is_engine(artifact):
        raise typer.BadParameter(
            f"--provider applies to ONNX files only, and {artifact} is an engine"
        )
    check_fallback_applies([provider], allow_cpu_fallback)


def check_fallback_applies(providers: Sequence[Provider | None], allow_cpu_fallback: bool) -> None:
    """Raise typer.BadParameter if a CPU fallback is allowed but no provider is on a GPU."""
    if allow_cpu_fallback and not any(provider and provider.on_gpu for provider in providers):
        raise typer.BadParameter(
            f"--allow-cpu-fallback needs --provider {' or '.join(p for p in Provider if p.on_gpu)}"
        )
