from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages.commands import ROOT, run_page

README = (ROOT / "README.md").read_text()


def test_commands_in_their_order(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    run_page("README.md", folder, tmp_path_factory)
    assert (folder / "masks/astronaut_overlay.jpg").is_file()


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_fits_its_limit() -> None:
    assert len(README.splitlines()) <= 160


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
