from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import CliRunner, Result

import dsunet_runtime.cli

Predict: TypeAlias = Callable[..., Result]


@pytest.fixture
def predict(frames_artifact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Predict:
    """`dsunet-run predict` with an artifact of known arithmetic, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        words = ["predict", str(frames_artifact), *map(str, arguments)]
        return CliRunner().invoke(dsunet_runtime.cli.app, words)

    return run
