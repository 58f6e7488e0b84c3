"""The pages of the manual whose commands leave nothing that other tests do not look at."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.pages.commands import ROOT, run_page, shell_lines

PAGES = (
    "checkpoints", "distillation", "engines", "evaluation", "export", "measuring", "networks",
    "operating-points", "training",
)  # fmt: skip
ELSEWHERE = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
"""Pages with a module of their own."""


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_their_order(
    page: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if page == "engines" and not importlib.util.find_spec("tensorrt_rtx"):
        pytest.skip("TensorRT for RTX is not installed")
    run_page(f"docs/{page}.md", folder, tmp_path_factory)


def test_every_page_with_commands_is_tested() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        tested = page.stem in {*PAGES, *ELSEWHERE}
        assert tested == bool(shell_lines(page.read_text())), page
