from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dsunet import training
from dsunet.cli import app
from dsunet.commands.training_options.command_line import options_from
from dsunet.network.config import Decoder, DSUNetConfig, Injection
from dsunet.training.options import TrainingOptions
from dsunet_runtime.extras import install_command


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.mark.slow
def test_trains_and_goes_on(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run(
        "--images", dataset / "Image", "--masks", dataset / "Mask", "-o", out, "--epochs", 1,
        "--preset", "nano", "--train-encoders", "--workers", 1, "--injection", "all",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "epoch 1/1" in result.stderr
    assert (out / "checkpoint.safetensors").exists()

    again = run("--resume", out)
    assert again.exit_code == 0
    assert "is finished" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--dataset", "nowhere", "-o", "run"], 1, "nowhere: is not a folder"),
        (["-o", "run"], 2, "give either --images and --masks, or --dataset"),
        (["--dataset", "d"], 2, "give a new run folder with -o DIR"),
        (["--resume", "nowhere"], 1, "config.json is missing"),
        (["--resume", "run", "--lr", "1", "--epochs", "9"], 2, "omit --lr"),
        (
            ["--resume", "run", "--dataset", "d"],
            2,
            "omit --dataset; if the images or masks have moved, restore them at their path, "
            "or change the path in run/config.json and set its checksum to null",
        ),
        (["-o", "run", "--dataset", "d", "--preset", "huge"], 2, "there is no preset 'huge'"),
        (
            ["-o", "run", "--dataset", "d", "--preset", "nano", "--dino-size", "270"],
            2,
            "must be a multiple of 14, such as 266 or 280",
        ),
        (
            ["-o", "r", "--dataset", "d", "--checkpoint", "c", "--injection", "all"],
            2,
            "determines the injection",
        ),
        (
            ["-o", "r", "--dataset", "d", "--checkpoint", "c", "--decoder", "unet"],
            2,
            "determines the decoder: omit --decoder",
        ),
        (["-o", "r", "--dataset", "d", "--cache", "c", "--train-encoders"], 2, "one of them"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["lightning_fabric", "matplotlib"])
def test_a_missing_extra_is_named_before_the_first_step(package: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from dsunet.cli import app\napp(prog_name='dsunet')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "train", "--dataset", "nowhere", "-o", "run"],
        check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    name = package.replace("_", "-")
    assert done.returncode == 1
    assert done.stderr == f"dsunet: {name} is not installed: {install_command('train')}\n"


def test_injection_and_decoder_belong_to_a_preset() -> None:
    parts = {"injection": Injection.NONE, "decoder": Decoder.UNET}
    given = {"output": Path("o"), "datasets": [Path("d")], **parts}
    large = DSUNetConfig().replace(**parts)
    expected = TrainingOptions(output=Path("o"), datasets=(Path("d"),), config=large)
    assert options_from(given) == expected


@pytest.mark.parametrize("begun", [True, False])
def test_an_interruption_names_the_command_that_resumes(
    begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(options: TrainingOptions) -> None:
        if begun:
            options.output.mkdir()
            (options.output / "config.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    result = run("-o", tmp_path / "run", "--dataset", "d")
    hint = f": resume with dsunet train --resume {tmp_path / 'run'}" if begun else ""
    assert result.exit_code == 130
    assert result.stderr == f"dsunet: interrupted{hint}\n"


def test_a_run_goes_on_longer_or_with_other_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(training, "resume", lambda *args, **changes: calls.append((args, changes)))
    for arguments in ([], ["--epochs", 9], ["--workers", 0, "--epochs", 9]):
        assert run("--resume", "run", *arguments).exit_code == 0
    assert calls == [
        ((Path("run"),), {}),
        ((Path("run"),), {"epochs": 9}),
        ((Path("run"),), {"epochs": 9, "workers": 0}),
    ]
