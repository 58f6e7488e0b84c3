from __future__ import annotations

from pathlib import Path

from tests.pages.commands import run_page


def test_commands_in_their_order(folder: Path) -> None:
    run_page("docs/training.md", folder)
