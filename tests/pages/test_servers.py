from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.servers.triton_server import load_repository
from tests.pages.commands import run_page


def test_commands_in_their_order(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run_page("docs/servers.md", folder, tmp_path_factory)
    models = load_repository(folder / "models")
    assert {name: [*model.versions] for name, model in models.items()} == {
        "nano": [1, 2],
        "nano-cpu": [1],
    }
    assert (folder / "config/config_infer_nano.txt").is_file()
