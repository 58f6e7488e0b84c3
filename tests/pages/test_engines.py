from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.commands import run_page

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")


def test_commands_in_their_order(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run_page("docs/engines.md", folder, tmp_path_factory)
