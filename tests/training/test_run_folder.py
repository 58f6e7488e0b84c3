"""config.json is read unchanged, or refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dsunet.errors import TrainingError
from dsunet.training.options import TrainingOptions
from dsunet.training.run_folder import RunFolder
from tests.damage import damaged
from tests.training.conftest import run_config, small_run


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.start(run_config(small_run(Path("data"), folder.path)))
    return folder


def edited(folder: RunFolder, checksum: Any = None, **changes: Any) -> RunFolder:
    document = {**json.loads(folder.config.read_text()), "checksum": checksum, **changes}
    folder.config.write_text(json.dumps(document))
    return folder


def test_any_damage_is_refused(folder: RunFolder) -> None:
    for version in damaged(folder.config.read_bytes(), 1000, seed=4, structure=200):
        folder.config.write_bytes(version)
        with pytest.raises(TrainingError) as fault:
            folder.read_config()
        assert "\n" not in str(fault.value)
        assert len(str(fault.value)) < 600


def test_an_edit_has_to_be_declared(folder: RunFolder) -> None:
    checksum = json.loads(folder.config.read_text())["checksum"]
    with pytest.raises(TrainingError, match=r"is damaged: .* or set the checksum to null"):
        edited(folder, checksum=checksum, run="other").read_config()
    assert edited(folder, run="other").read_config().run == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "is nested more than 32 levels deep"),
        ('{"version": %s}' % ("9" * 5000), "contains an integer beyond 64 bits"),
        ('{"version": NaN}', "contains NaN"),
        ('{"version": 1e999}', "contains a number too large for a float"),
        ("null", "is a NoneType, not an object"),
        ("", "is not JSON"),
        ("\x1b[31m" * 1000, "is not JSON"),
        ('{"version": 1}', "has version 1, but .* versions 2 to 6: resume the run with the d"),
        ('{"version": 9}', "has version 9, but .* versions 2 to 6: update dsunet, or resume"),
        ('{"version": "3"}', "does not describe a run: version is '3', not an integer; restore it"),
        ('{"version": true}', "does not describe a run: version is true, not an integer"),
        ('{"version": null}', "does not describe a run: version is null, not an integer"),
        ('{"version": {"a": "%s"}}' % ("b" * 5000), "version is .*, not an integer"),
        ('{}', "does not describe a run: it lacks version; restore it"),
        ('{"version": 3, "checksum": null}', "it lacks checkpoint_sha256, data, enc"),
    ],
)  # fmt: skip
def test_other_json_is_refused(folder: RunFolder, text: str, message: str) -> None:
    folder.config.write_text(text)
    with pytest.raises(TrainingError, match=message) as fault:
        folder.read_config()
    assert str(fault.value).isprintable()
    assert len(str(fault.value)) < 600


def test_a_pipe_is_refused(folder: RunFolder) -> None:
    folder.config.unlink()
    os.mkfifo(folder.config)
    with pytest.raises(TrainingError, match="is a pipe or a device"):
        folder.read_config()


def test_a_loop_of_links_is_not_damage(folder: RunFolder) -> None:
    folder.config.unlink()
    folder.config.symlink_to(folder.config.name)
    loop = folder.path / "loop"
    loop.symlink_to("loop")
    for one in (folder, RunFolder(loop)):
        with pytest.raises(TrainingError, match=r"config\.json cannot be read: Too many levels of"):
            one.read_config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2.5}, "options.epochs is 2.5, not an integer"),
        ({"epochs": True}, "options.epochs is true, not an integer"),
        ({"epochs": 10**15}, "--epochs is 1000000000000000: it must be from 1 to"),
        ({"lr": "1"}, "options.lr is '1', not a number"),
        ({"clip": "1"}, "options.clip is '1', not a number"),
        ({"save_all": 1}, "options.save_all is 1, not true or false"),
        ({"device": "tpu"}, "options.device is 'tpu', not one of auto, cpu, cuda"),
        ({"deep_supervision": [1, 1]}, r"options.deep_supervision is \[1, 1\], not a list of 3"),
        ({"datasets": "data"}, "options.datasets is 'data', not a list"),
        ({"datasets": ["data", None]}, r"options.datasets\[1\] is null, not a path"),
        ({"images": 3}, "options.images is 3, not a path"),
        ({"images": {"bytes": "xyz"}}, 'options.images is {"bytes": "xyz"}, not a path'),
        ({"dinov2": {"bytes": 1}}, 'options.dinov2 is {"bytes": 1}, not text'),
        ({"config": [1]}, r"options.config is \[1\], not an object"),
        ({"colour": 1}, "options has unknown fields: colour"),
        ({"config": {"injection": "last"}}, "options.config lacks attention_channels, decoder"),
        ({"images": "i"}, "--dataset replaces --images and --masks"),
    ],
)
def test_options_of_other_types_are_refused(
    folder: RunFolder, changes: dict[str, Any], message: str
) -> None:
    values = {**json.loads(folder.config.read_text())["options"], **changes}
    with pytest.raises(
        TrainingError, match=rf"config\.json does not describe a run: {message}.*; "
    ):
        edited(folder, options=values).read_config()


def test_options_that_are_missing(folder: RunFolder) -> None:
    """A missing option must not get its default: that would be another run."""
    values = json.loads(folder.config.read_text())["options"]
    del values["clip"]
    with pytest.raises(TrainingError, match="options lacks clip; restore it, or resume the run w"):
        edited(folder, options=values).read_config()


def test_paths_that_are_no_utf8_survive(folder: RunFolder) -> None:
    name = os.fsdecode(b"caf\xe9")
    options = TrainingOptions(
        output=folder.path, datasets=(Path(name),), dinov2=f"/{name}", cache=Path(name)
    )
    folder.write_config(run_config(options))
    assert folder.read_config().options == options
