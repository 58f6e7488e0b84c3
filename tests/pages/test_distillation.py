from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.commands import run_page


def test_commands_in_their_order(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run_page("docs/distillation.md", folder, tmp_path_factory)
