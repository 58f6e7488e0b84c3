"""The command `dsunet`: help, options, messages and exit codes."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dsunet
from dsunet import CheckpointError, DSUNet, DSUNetConfig, load_model, save_model
from dsunet.checkpoints.inspection import inspect_checkpoint
from dsunet.cli import app
from dsunet_runtime.extras import install_command

runner = CliRunner()

WITHOUT_TORCH = """
import sys
for name in ("torch", "timm", "sam2", "safetensors", "pywt", "torchvision"):
    sys.modules[name] = None
from dsunet.cli import app
app(prog_name="dsunet")
"""


@pytest.fixture
def checkpoint(nano: DSUNet, tmp_path: Path) -> Path:
    path = tmp_path / "nano.safetensors"
    save_model(nano, path)
    return path


def test_help_works_at_once_without_torch() -> None:
    """In half a second of processor time, which other processes of the machine do not change."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, "--help"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        assert done.returncode == 0, done.stderr
        assert "inspect" in done.stdout
        assert "convert" in done.stdout
    assert min(took) < 0.5


def test_missing_extra_names_the_command_that_installs_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "inspect", "x.pth"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    command = re.escape(install_command("torch"))
    assert re.fullmatch(rf"dsunet: \w+ is not installed: {command}\n", done.stderr)


def test_inspect(checkpoint: Path) -> None:
    result = runner.invoke(app, ["inspect", str(checkpoint)])
    assert result.exit_code == 0
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in result.stdout.splitlines())
    assert lines["format"] == "dsunet, whole model"
    assert lines["preset"] == "nano"
    assert lines["injection"] == "last"
    assert lines["parameters"] == "1,912,110, trained 608,718 (31.83%)"
    assert lines["dtype"] == "float32"
    assert lines["checksum"] == "matches"
    for name in ("hiera sha256", "dino sha256", "file sha256"):
        assert re.fullmatch("[0-9a-f]{64}", lines[name])


def test_inspect_a_custom_configuration(tmp_path: Path) -> None:
    path = tmp_path / "custom.safetensors"
    save_model(dsunet.random_model(DSUNetConfig.preset("nano").replace(decoder_channels=24)), path)
    result = runner.invoke(app, ["inspect", str(path)])
    assert re.search("^preset +custom$", result.stdout, re.MULTILINE), result.output


def test_the_checkpoint_that_ships_has_a_checksum(tmp_path: Path) -> None:
    output = tmp_path / "nano.safetensors"
    assert runner.invoke(app, ["demonstration", "-o", str(output)]).exit_code == 0
    content = bytearray(output.read_bytes())
    assert inspect_checkpoint(output).is_verified
    content[-5] ^= 64
    output.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        inspect_checkpoint(output)


def test_inspect_as_json(checkpoint: Path) -> None:
    result = runner.invoke(app, ["inspect", str(checkpoint), "--json"])
    assert result.exit_code == 0
    info = json.loads(result.stdout)
    assert info["preset"] == "nano"
    assert info["encoders"].keys() == {"hiera", "dino"}
    assert info["sha256"] == dsunet.checkpoint_sha256(checkpoint)


def test_convert_there_and_back(checkpoint: Path, nano: DSUNet, tmp_path: Path) -> None:
    import torch

    trained, whole = tmp_path / "trained.safetensors", tmp_path / "whole.safetensors"
    result = runner.invoke(app, ["convert", str(checkpoint), "-o", str(trained), "--only-trained"])
    assert result.exit_code == 0
    assert result.stdout == f"{trained}: 2.5 MB\n"
    assert nano.dino is not None
    sam2, dinov2 = tmp_path / "sam2.pt", tmp_path / "dinov2.pth"
    torch.save(nano.hiera.trunk.state_dict(), sam2)
    torch.save(nano.dino.vit.state_dict(), dinov2)
    encoders = ["--sam2", str(sam2), "--dinov2", str(dinov2)]
    result = runner.invoke(app, ["convert", str(trained), "-o", str(whole), *encoders])
    assert result.exit_code == 0
    again = load_model(whole).state_dict()
    assert all(torch.equal(again[key], tensor) for key, tensor in nano.state_dict().items())


def test_an_error_is_one_line_on_stderr(tmp_path: Path) -> None:
    result = runner.invoke(app, ["inspect", str(tmp_path / "none.pth")])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"dsunet: {tmp_path / 'none.pth'} cannot be read: No such file or directory\n"  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    "arguments", [["inspect"], ["convert", "x.pth"], ["train"], ["--nonsense"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


def test_all_is_exact() -> None:
    for name in dsunet.__all__:
        assert getattr(dsunet, name) is not None
    assert dsunet.__all__ == sorted(dsunet.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        dsunet.nonsense  # type: ignore[attr-defined]  # noqa: B018
