"""The training state in one file, from which a run resumes with identical results.

The file is that of `torch.save`, followed by a checksum of the whole file
(`dsunet.checkpoints.checksum`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from dsunet.checkpoints.checksum import PLACEHOLDER, Checksum, verify_checksum, write_with_checksum
from dsunet.errors import TrainingError
from dsunet.training.initial_model import trainable_state
from dsunet.training.run_folder import LogRow
from dsunet.training.training_network import TrainingNetwork
from dsunet_runtime.message_text import printable, reason

STATE_VERSION = 2


@dataclass(slots=True)
class Position:
    """The position of a run, and its log."""

    epoch: int = 0
    """Number of finished epochs."""
    step: int = 0
    """Number of finished steps of the current epoch."""
    losses: list[float] = field(default_factory=list)
    """Sums of the loss of each output over the steps of the current epoch."""
    counted: int = 0
    """Number of steps in these sums."""
    seconds: float = 0.0
    """Seconds spent on the current epoch."""
    best: float = 0.0
    """The highest S-measure of the validation so far."""
    log: list[LogRow] = field(default_factory=list)
    """One row per finished epoch."""

    def add(self, losses: Sequence[float]) -> None:
        """Add the losses of one step."""
        before = self.losses or [0.0] * len(losses)
        self.losses = [total + loss for total, loss in zip(before, losses, strict=True)]
        self.counted += 1

    def mean_losses(self) -> list[float]:
        """Mean loss of each output in the current epoch."""
        return [total / max(self.counted, 1) for total in self.losses]

    def finish_epoch(self, row: LogRow) -> None:
        """Append a row to the log and go to the next epoch."""
        self.log.append(row)
        self.epoch += 1
        self.step, self.losses, self.counted, self.seconds = 0, [], 0, 0.0


def save_state(
    path: Path,
    run: str,
    network: TrainingNetwork,
    optimizer: Optimizer,
    fabric: Fabric,
    position: Position,
) -> None:
    """Write the state of the run with the id `run` atomically.

    Raises OutputError if the file cannot be written.
    """
    state = {
        "version": STATE_VERSION,
        "run": run,
        "position": dataclasses.asdict(position),
        "model": _tensors(network),
        "optimizer": optimizer.state_dict(),
        "scaler": fabric.strategy.precision.state_dict(),
        "random": _random_state(),
    }

    def write(beside: Path) -> None:
        with beside.open("wb") as file:  # with a path, PyTorch hides the reason of a failure
            torch.save(state, file)
            file.write(PLACEHOLDER.encode())

    write_with_checksum(path, write)


def load_state(
    path: Path, run: str, network: TrainingNetwork, optimizer: Optimizer, fabric: Fabric
) -> Position:
    """Load a saved state into the model and optimizer of its run, and return its position.

    Raises TrainingError if the file is damaged or belongs to another run.
    """
    with _with_remedy(path):
        state = _read(path, run)
        _fill(_tensors(network), state["model"])
        optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["scaler"])
        _set_random_state(state["random"])
        return Position(**state["position"])


def saved_position(path: Path, run: str) -> Position:
    """Read the position of a saved state.  Raises TrainingError as `load_state` does."""
    with _with_remedy(path):
        return Position(**_read(path, run)["position"])


@contextlib.contextmanager
def _with_remedy(path: Path) -> Iterator[None]:
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:  # the unpickler raises any type for an unknown stream
        raise TrainingError(
            f"{path} cannot be resumed ({reason(error)}): restore it, or start a new run from the "
            "last checkpoint with --checkpoint"
        ) from error


def _read(path: Path, run: str) -> dict[str, Any]:
    if verify_checksum(path) is not Checksum.MATCHES:
        raise ValueError("it is damaged: its content does not match its checksum")
    with path.open("rb") as file:  # PyTorch accepts only UTF-8 paths
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    version = state["version"]
    if version != STATE_VERSION:
        update = "update dsunet, or " if version > STATE_VERSION else ""
        raise TrainingError(
            f"{path} has version {printable(version, 20)}, but this dsunet resumes version "
            f"{STATE_VERSION}: {update}resume with the version that wrote it"
        )
    if state["run"] != run:
        raise ValueError("it belongs to another run")
    return state


def _tensors(network: TrainingNetwork) -> dict[str, Tensor]:
    """The tensors that training changes, also those that checkpoints do not contain."""
    return trainable_state(network.model) | network.extra_state()


def _fill(tensors: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    if tensors.keys() != saved.keys():
        raise ValueError("it belongs to another network")
    with torch.no_grad():
        for key, tensor in tensors.items():
            tensor.copy_(saved[key])


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
