"""The frame of all commands: version, help, closed streams, too little memory."""

from __future__ import annotations

import shlex
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dsunet_runtime.commands.app import make_app
from tests.runtime.commands.runner import COMMAND, run


class TestAroundTheCommands:
    def test_version(self) -> None:
        result = run("--version")
        assert (result.exit_code, result.stdout) == (0, f"dsunet-run {version('dsunet')}\n")

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_closed_streams(
        self, frames_artifact: Path, photos: Path, tmp_path: Path, closed: str
    ) -> None:
        """As daemons have them; what is opened next must not become one of them."""
        arguments = [*COMMAND, "predict", frames_artifact, photos, "-o", tmp_path / "out"]
        line = f"{shlex.join(map(str, arguments))} {closed}"
        result = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert len(list((tmp_path / "out").iterdir())) == 3

    def test_help_on_a_full_disk(self) -> None:
        line = f"{shlex.join(COMMAND)} --help > /dev/full"
        result = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (1, "dsunet-run: No space left on device\n")

    def test_help(self) -> None:
        assert "predict" in run("--help").stdout
        assert "--overlay" in run("predict", "--help").stdout


def test_too_little_memory_is_one_line() -> None:
    small = make_app("small", "Takes more than there is.")

    @small.command()
    def take() -> None:
        raise MemoryError("2.51 TiB")

    result = CliRunner().invoke(small, ["take"])
    assert result.exit_code == 1
    assert result.stderr == "small: not enough memory: 2.51 TiB; use a smaller batch or image\n"
