"""The built examples, and the masks that they write."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


class Examples:
    """The built programs."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "DSUNET_ONNXRUNTIME_LIBRARY": str(library)}

    def __call__(
        self,
        name: str,
        *arguments: Path | str,
        before: Sequence[str] = (),
        output: int | IO[str] = subprocess.PIPE,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        program = self._folder / name
        if not program.exists():
            pytest.skip(f"{name} is not built: its library was not found")
        return subprocess.run(
            [*before, program, *map(str, arguments)],
            env={**self._environment, **variables},
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )

    def succeed(self, name: str, *arguments: Path | str) -> str:
        done = self(name, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


def read_mask(mask: Path) -> NDArray[np.uint8]:
    """The levels of a mask file, H×W."""
    with Image.open(mask) as image:
        assert image.mode == "L"
        return np.asarray(image)
