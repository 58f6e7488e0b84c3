"""Options of `dsunet-run predict` for several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.commands.options import MAX_WORKERS, integer
from dsunet_runtime.message_text import quote
from dsunet_runtime.provider import MAX_THREADS, Provider
from dsunet_runtime.workers.parallelism import LOCAL, ONE_PER_GPU, Parallelism, needs_gpu

_PANEL = "Several processes"


def _workers(text: str) -> str:
    is_number = text.isascii() and text.isdecimal() and len(text) < 5
    if text != ONE_PER_GPU and not (is_number and 1 <= int(text) <= MAX_WORKERS):
        raise typer.BadParameter(
            f"{quote(text)} is neither an integer from 1 to {MAX_WORKERS} nor {ONE_PER_GPU}"
        )
    return text


def _address(text: str) -> str:
    host, _, port = text.removeprefix("ray://").rpartition(":")
    if text not in (LOCAL, "auto") and not (host and port.isascii() and port.isdecimal()):
        raise typer.BadParameter(
            f"{quote(text)} is not the address of a Ray cluster: use HOST:PORT, ray://HOST:PORT, "
            f"auto or {LOCAL}"
        )
    return text


WorkersOption = Annotated[
    str | None,
    typer.Option(
        "--workers",
        parser=_workers,
        metavar=f"N|{ONE_PER_GPU}",
        help="Number of worker processes, among which the GPUs or CPU cores are divided, or gpus "
        f"for one per GPU.  [1 to {MAX_WORKERS}]  [default: no workers; with --ray: as many as "
        "fit]",
        rich_help_panel=_PANEL,
    ),
]
ThreadsPerWorkerOption = Annotated[
    int | None,
    integer(
        "--threads-per-worker",
        low=1,
        high=MAX_THREADS,
        help="CPU threads of each worker; not for engines.  [default: the cores divided by the "
        "number of workers; with --ray 4, or all cores of the smallest machine]",
        rich_help_panel=_PANEL,
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        parser=_address,
        metavar=f"ADDRESS|{LOCAL}",
        help="Address of the Ray cluster that computes the masks: HOST:PORT, auto, or local for a "
        "temporary cluster on this machine.  Artifact, images and masks must be on storage that "
        "all machines mount under the same path.",
        rich_help_panel=_PANEL,
    ),
]


def check_parallelism(
    parallelism: Parallelism, artifact: Path, provider: Provider | None, output: Path
) -> None:
    """Raise typer.BadParameter if these options do not fit the others or each other."""
    if not parallelism.is_this_process and str(output) == "-":
        raise typer.BadParameter(
            "--output - needs one process, and workers write files: omit --workers and --ray"
        )
    if parallelism.threads is not None and parallelism.is_this_process:
        raise typer.BadParameter("--threads-per-worker needs --workers or --ray")
    if parallelism.threads is not None and is_engine(artifact):
        raise typer.BadParameter(
            f"--threads-per-worker applies to ONNX files only, and {artifact} is an engine"
        )
    if parallelism.workers == ONE_PER_GPU and parallelism.ray is not None:
        raise typer.BadParameter(
            f"--workers {ONE_PER_GPU} does not apply to --ray, which uses all GPUs of the cluster: "
            f"name a number, or omit it"
        )
    if parallelism.workers == ONE_PER_GPU and not needs_gpu(artifact, provider):
        raise typer.BadParameter(
            f"--workers {ONE_PER_GPU} needs an engine, or a --provider on a GPU: name a number"
        )


def check_one_process(parallelism: Parallelism) -> None:
    """Raise typer.BadParameter if there are workers, for a video."""
    if not parallelism.is_this_process:
        raise typer.BadParameter(
            "--workers and --ray apply to images, and this is a video: omit them"
        )
