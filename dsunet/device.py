"""Where PyTorch computes.  Importing this module does not import PyTorch."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from dsunet.errors import ConfigError

if TYPE_CHECKING:
    import torch


class Device(enum.StrEnum):
    """Where PyTorch computes."""

    AUTO = "auto"
    """CUDA's current GPU if there is one, else the CPU."""
    CPU = "cpu"
    CUDA = "cuda"

    def resolve(self) -> torch.device:
        """PyTorch's name of it.  Raises ConfigError if CUDA is asked for and not there."""
        import torch

        available = torch.cuda.is_available()
        if self is Device.CUDA and not available:
            raise ConfigError("PyTorch finds no CUDA GPU here: use --device cpu")
        if self is Device.AUTO:
            return torch.device("cuda" if available else "cpu")
        return torch.device(self.value)
