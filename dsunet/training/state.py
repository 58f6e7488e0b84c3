"""All that a run needs to go on as if it had not been interrupted, in one file.

It is what `torch.save` writes, and behind that a checksum over the whole file (`checksum`).
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

from dsunet.checksum import PLACEHOLDER, Checksum, verify_checksum, write_with_checksum
from dsunet.errors import TrainingError
from dsunet.model import DSUNet
from dsunet.training.folder import Row
from dsunet.training.model import trained_state
from dsunet_runtime.message_text import reason

STATE_VERSION = 2


@dataclass(slots=True)
class Position:
    """How far a run has come."""

    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Finished steps of the next epoch."""
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Sums of the coarse, middle and fine loss over those steps."""
    counted: int = 0
    """Steps in those sums."""
    seconds: float = 0.0
    """Spent on those steps."""
    best: float = 0.0
    """The highest S-measure so far."""
    log: list[Row] = field(default_factory=list)
    """A row for each finished epoch."""

    def add(self, losses: Sequence[float]) -> None:
        """Count one step's losses."""
        self.losses = [total + loss for total, loss in zip(self.losses, losses, strict=True)]
        self.counted += 1

    def mean_losses(self) -> list[float]:
        """Over the counted steps of the epoch."""
        return [total / max(self.counted, 1) for total in self.losses]

    def finish_epoch(self, row: Row) -> None:
        """Go to the next epoch."""
        self.log.append(row)
        self.epoch += 1
        self.step, self.losses, self.counted, self.seconds = 0, [0.0, 0.0, 0.0], 0, 0.0


def save_state(
    path: Path, run: str, model: DSUNet, optimizer: Optimizer, fabric: Fabric, position: Position
) -> None:
    """Write the state of the run with an id, whole or not at all.

    Raises OutputError if it cannot be written.
    """
    state = {
        "version": STATE_VERSION,
        "run": run,
        "position": dataclasses.asdict(position),
        "model": trained_state(model),
        "optimizer": optimizer.state_dict(),
        "scaler": fabric.strategy.precision.state_dict(),
        "random": _random_state(),
    }

    def write(beside: Path) -> None:
        with beside.open("wb") as file:  # PyTorch would not say why it cannot write to a path
            torch.save(state, file)
            file.write(PLACEHOLDER.encode())

    write_with_checksum(path, write)


def load_state(
    path: Path, run: str, model: DSUNet, optimizer: Optimizer, fabric: Fabric
) -> Position:
    """Put a saved state into a run that was set up in the same way, and say how far it was.

    Raises TrainingError if the file is damaged or is not this run's.
    """
    with _named_faults(path):
        state = _read(path, run)
        _fill(trained_state(model), state["model"])
        optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["scaler"])
        _set_random_state(state["random"])
        return Position(**state["position"])


def saved_position(path: Path, run: str) -> Position:
    """How far a saved state is.  Raises TrainingError if it is damaged or not this run's."""
    with _named_faults(path):
        return Position(**_read(path, run)["position"])


@contextlib.contextmanager
def _named_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the unpickler raises whatever an unknown stream leads it to
        raise TrainingError(
            f"{path} cannot be gone on with ({reason(error)}): restore it, or start another run, "
            "with --checkpoint to keep what this one learned"
        ) from error


def _read(path: Path, run: str) -> dict[str, Any]:
    if verify_checksum(path) is not Checksum.MATCHES:
        raise ValueError("it is damaged: its content does not match its checksum")
    with path.open("rb") as file:  # PyTorch takes no path that is no UTF-8
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    if state["version"] != STATE_VERSION:
        raise ValueError(f"its version is {state['version']}, not {STATE_VERSION}")
    if state["run"] != run:
        raise ValueError("it is of another run")
    return state


def _fill(tensors: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    if tensors.keys() != saved.keys():
        raise ValueError("it is of another network")
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
