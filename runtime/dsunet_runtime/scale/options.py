"""Options of `dsunet-run predict` for several processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.commands.options import MAX_WORKERS, integer
from dsunet_runtime.message_text import quote
from dsunet_runtime.provider import MAX_THREADS, Provider

_PANEL = "Several processes"
GPUS = "gpus"
LOCAL = "local"


def _workers(text: str) -> str:
    is_number = text.isascii() and text.isdecimal() and len(text) < 5
    if text != GPUS and not (is_number and 1 <= int(text) <= MAX_WORKERS):
        raise typer.BadParameter(
            f"{quote(text)} is neither an integer from 1 to {MAX_WORKERS} nor {GPUS}"
        )
    return text


def _address(text: str) -> str:
    host, _, port = text.removeprefix("ray://").rpartition(":")
    if text not in (LOCAL, "auto") and not (host and port.isascii() and port.isdecimal()):
        raise typer.BadParameter(
            f"{quote(text)} is no address of a Ray cluster: use HOST:PORT, ray://HOST:PORT, auto "
            f"or {LOCAL}"
        )
    return text


Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        parser=_workers,
        metavar=f"N|{GPUS}",
        help="Number of processes, among which the GPUs or the cores are divided; gpus: one for "
        "each GPU.  With --ray: number of workers (default: as many as fit).  "
        f"[1 to {MAX_WORKERS}]",
        rich_help_panel=_PANEL,
    ),
]
ThreadsPerWorker = Annotated[
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
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        parser=_address,
        metavar=f"ADDRESS|{LOCAL}",
        help="Ray cluster whose workers compute the masks: HOST:PORT, auto, or local for a cluster "
        "of this machine alone, for the time of the run.  Images, artifact and masks must be on "
        "storage that all machines mount under the same path.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where masks are computed; by default in this process."""

    workers: str | None
    """A number, or `GPUS`."""
    threads: int | None
    ray: str | None

    @property
    def count(self) -> int | None:
        """Number of workers; None if the number of GPUs or of machines decides."""
        return None if self.workers in (None, GPUS) else int(self.workers)

    @property
    def is_this_process(self) -> bool:
        """Whether there are no workers."""
        return self.workers is None and self.ray is None


def check_placement(
    placement: Placement, artifact: Path, provider: Provider | None, output: Path
) -> None:
    """Raise typer.BadParameter if these options do not fit the others or each other."""
    if not placement.is_this_process and str(output) == "-":
        raise typer.BadParameter(
            "workers write files, and --output - is standard output: omit --workers and --ray"
        )
    if placement.threads is not None and placement.is_this_process:
        raise typer.BadParameter("--threads-per-worker needs --workers or --ray")
    if placement.threads is not None and is_engine(artifact):
        raise typer.BadParameter(
            f"--threads-per-worker applies to ONNX files only, and {artifact} is an engine"
        )
    if placement.workers == GPUS and placement.ray is not None:
        raise typer.BadParameter(
            f"--workers {GPUS} does not apply to --ray, which uses all GPUs of the cluster: name a "
            f"number, or omit it"
        )
    if placement.workers == GPUS and not needs_gpu(artifact, provider):
        raise typer.BadParameter(
            f"--workers {GPUS} needs an engine, or a --provider on a GPU: name a number"
        )


def check_one_process(placement: Placement) -> None:
    """Raise typer.BadParameter if there are workers, for a video."""
    if not placement.is_this_process:
        raise typer.BadParameter(
            "--workers and --ray apply to images, and a video needs one process: omit them"
        )


def needs_gpu(artifact: Path, provider: Provider | None) -> bool:
    """Whether an artifact is computed on a GPU."""
    return is_engine(artifact) or (provider is not None and provider.on_gpu)
