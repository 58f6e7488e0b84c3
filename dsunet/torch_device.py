"""The PyTorch device of a command.  Importing this module does not import PyTorch."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from dsunet.errors import ConfigError

if TYPE_CHECKING:
    import torch


class TorchDevice(enum.StrEnum):
    """The device that PyTorch runs on."""

    AUTO = "auto"
    """The current CUDA GPU if available, else the CPU."""
    CPU = "cpu"
    CUDA = "cuda"

    def resolve(self) -> torch.device:
        """The `torch.device`.  Raises ConfigError if it is CUDA and no GPU is available."""
        import torch

        available = torch.cuda.is_available()
        if self is TorchDevice.CUDA and not available:
            raise ConfigError("PyTorch finds no CUDA GPU on this machine: use --device cpu")
        if self is TorchDevice.AUTO:
            return torch.device("cuda" if available else "cpu")
        return torch.device(self.value)
