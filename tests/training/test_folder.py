"""config.json is what it was when it was written, or is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dsunet.errors import TrainingError
from dsunet.training.folder import RunFolder
from dsunet.training.options import TrainingOptions
from tests.damage import damaged
from tests.training.conftest import small_run


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    options = small_run(Path("data"), folder.path)
    folder.start({"run": "a", "options": options.to_dict(), "data": {}, "versions": {}})
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
    config = folder.read_config()
    with pytest.raises(TrainingError, match=r"is damaged: .* or set the checksum to null"):
        edited(folder, checksum=config["checksum"], run="other").read_config()
    assert edited(folder, run="other").read_config()["run"] == "other"


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
        ('{"version": 1}', "has version 1, but this dsunet resumes version 2"),
        ('{"version": {"a": "%s"}}' % ("b" * 5000), "has version"),
        ('{"version": 2, "checksum": null}', "it lacks run"),
        ('{"version": 2, "checksum": null, "run": "a", "options": []}', "it lacks options"),
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
        ({"epochs": 2.5}, "'2.5' is not of type int"),
        ({"epochs": True}, "'True' is not of type int"),
        ({"epochs": 10**15}, "--epochs is 1000000000000000: it must be from 1 to"),
        ({"lr": "1"}, "'1' is not of type float"),
        ({"save_all": 1}, "'1' is not of type bool"),
        ({"device": "tpu"}, "'tpu' is not a valid Device"),
        ({"deep_supervision": [1, 1]}, "is not a list of the right length"),
        ({"datasets": "data"}, "is not a list of the right length"),
        ({"images": 3}, "'3' is not of type Path"),
        ({"images": {"bytes": "xyz"}}, "non-hexadecimal"),
        ({"config": [1]}, "not a JSON object"),
    ],
)
def test_options_of_other_types_are_refused(
    folder: RunFolder, changes: dict[str, Any], message: str
) -> None:
    values = {**folder.read_config()["options"], **changes}
    with pytest.raises(TrainingError, match=message):
        TrainingOptions.from_dict(values)


def test_paths_that_are_no_utf8_survive(folder: RunFolder) -> None:
    name = os.fsdecode(b"caf\xe9")
    options = TrainingOptions(
        output=folder.path, datasets=(Path(name),), dinov2=f"/{name}", cache=Path(name)
    )
    folder.write_config({**folder.read_config(), "options": options.to_dict()})
    assert TrainingOptions.from_dict(folder.read_config()["options"]) == options
