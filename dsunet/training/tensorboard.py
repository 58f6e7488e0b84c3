"""Logging to TensorBoard, which needs an extra package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dsunet.errors import TrainingError
from dsunet.training.run_folder import LogRow
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import OutputError
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.files import is_unicode
from dsunet_runtime.message_text import reason

_T = TypeVar("_T")


def require_tensorboard() -> None:
    """Raise MissingExtraError if the package is not installed."""
    with needs_extra("tensorboard"):
        import torch.utils.tensorboard  # noqa: F401


def check_tensorboard_folder(folder: Path) -> None:
    """Raise TrainingError if TensorBoard cannot write to a folder of this name."""
    if not is_unicode(folder):
        raise TrainingError(
            f"{folder}: the path is not valid UTF-8, which TensorBoard requires: rename the "
            "folder, or train without --tensorboard"
        )


class TensorBoardLog(Closeable):
    """Logs the scalars of every step under `step/`, and of every epoch under `epoch/`.

    `step` is the first step of this process; entries of an interrupted run from there on are
    hidden.  All methods raise OutputError if the folder cannot be written to.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        self._writer = self._write(SummaryWriter, str(folder), purge_step=step)

    def step(self, number: int, loss: float, losses: Mapping[str, float], rate: float) -> None:
        """Log a step: total loss, loss of each output, and learning rate."""
        values = {"loss": loss, "lr": rate}
        values |= {f"loss_{name}": one for name, one in losses.items()}
        self._add("step", values, number)

    def epoch(self, row: LogRow) -> None:
        """Log a row of log.csv, and flush."""
        self._add("epoch", row, int(row["step"]))
        self._write(self._writer.flush)

    def close(self) -> None:
        """Flush, and end the writer's thread."""
        self._write(self._writer.close)

    def _add(self, group: str, values: LogRow, step: int) -> None:
        for name, value in values.items():
            self._write(self._writer.add_scalar, f"{group}/{name}", value, step)

    def _write(self, function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        try:
            return function(*arguments, **options)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be written: {reason(error)}") from error
