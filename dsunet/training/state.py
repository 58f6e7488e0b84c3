"""All that a run needs to go on as if it had not been interrupted, in one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from dsunet.errors import TrainingError
from dsunet.model import DSUNet
from dsunet.training.folder import Row
from dsunet.training.model import trained_state
from dsunet_runtime.errors import OutputError
from dsunet_runtime.writing import write_whole

STATE_VERSION = 1


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
    path: Path, model: DSUNet, optimizer: Optimizer, fabric: Fabric, position: Position
) -> None:
    """Write the state, whole or not at all.  Raises TrainingError if it cannot be written."""
    state = {
        "version": STATE_VERSION,
        "position": dataclasses.asdict(position),
        "model": trained_state(model),
        "optimizer": optimizer.state_dict(),
        "scaler": fabric.strategy.precision.state_dict(),
        "random": _random_state(),
    }
    try:
        write_whole(path, lambda file: torch.save(state, file))
    except OutputError as error:
        raise TrainingError(f"{error}; free some space, then --resume") from error


def load_state(path: Path, model: DSUNet, optimizer: Optimizer, fabric: Fabric) -> Position:
    """Put a saved state into a run that was set up in the same way, and say how far it was.

    Raises TrainingError if the file is damaged or is not this run's.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["version"] != STATE_VERSION:
            raise ValueError(f"its version is {state['version']}, not {STATE_VERSION}")
        _fill(trained_state(model), state["model"])
        optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["scaler"])
        _set_random_state(state["random"])
        return Position(**state["position"])
    except Exception as error:  # the unpickler raises whatever a damaged stream leads it to
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrainingError(
            f"{path} cannot be gone on with ({reason}): start the run again in another folder, "
            "with --checkpoint to keep what it learned"
        ) from error


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
