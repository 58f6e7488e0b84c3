"""`write_scenes` and `dsunet generate`: a dataset that all commands accept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dsunet.cli import app
from dsunet.data.checks import check_pairs
from dsunet.data.image_files import read_mask
from dsunet.data.layouts import UNFINISHED, Split, find_dataset_folders
from dsunet.data.pairs import find_pairs
from dsunet.errors import DataError
from dsunet.scenes import write_scenes
from dsunet_runtime.errors import OutputError

COUNT = 6
runner = CliRunner()

WITHOUT_EXTRAS = """
import sys
for name in ("torch", "scipy", "cv2", "py_sod_metrics", "sklearn", "matplotlib"):
    sys.modules[name] = None
from dsunet.cli import app
app(prog_name="dsunet")
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small scenes; only for reading."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, COUNT, 5, camouflaged=1 / 3, size=64, workers=2)
    return folder


@pytest.mark.parametrize("split", list(Split))
def test_is_a_dataset(dataset: Path, split: Split) -> None:
    pairs = find_pairs(*find_dataset_folders(dataset, split)).pairs
    assert [pair.stem for pair in pairs] == ["0000", "0001", "0002", "0003", "0004", "0005"]
    check_pairs(pairs)
    for pair in pairs:
        assert {*np.unique(read_mask(pair.mask))} == {0, 255}


def test_sizes(dataset: Path) -> None:
    """About 64² pixels each, in proportions of up to 3:2; sides are rounded."""
    sizes = {Image.open(path).size for path in (dataset / "Image").iterdir()}
    assert len(sizes) > 1
    for width, height in sizes:
        assert width * height == pytest.approx(64**2, rel=0.02)
        assert 0.64 < width / height < 1.56


def test_summary(dataset: Path) -> None:
    assert {path.name for path in dataset.iterdir()} == {"Image", "Mask", "scenes.json"}
    summary = json.loads((dataset / "scenes.json").read_text())
    kinds = summary.pop("kinds")
    assert summary == {
        "generator": 1, "count": COUNT, "seed": 5, "camouflaged": pytest.approx(1 / 3), "empty": 0,
        "size": 64, "binary": False,
    }  # fmt: skip
    assert [*kinds] == sorted(path.stem for path in (dataset / "Image").iterdir())
    assert [*kinds.values()].count("camouflaged") == COUNT / 3


def test_same_files_from_other_processes_and_for_another_count(
    dataset: Path, tmp_path: Path
) -> None:
    write_scenes(tmp_path, 4, 5, camouflaged=1 / 3, size=64, workers=1)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("*/*"))
    assert len(written) == 8
    for path in written:
        assert (tmp_path / path).read_bytes() == (dataset / path).read_bytes()


def test_another_seed_makes_other_scenes(dataset: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, 6, camouflaged=1 / 3, size=64, workers=1)
    for path in tmp_path.glob("*/*"):
        assert path.read_bytes() != (dataset / path.relative_to(tmp_path)).read_bytes()


@pytest.mark.parametrize("name", ["Image", "Mask"])
def test_nothing_is_mixed_with_what_was_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "0001.png").write_bytes(b"mine")
    with pytest.raises(DataError, match=rf"{name}: is not empty: give another folder, or empty"):
        write_scenes(tmp_path, 2)
    assert [path.name for path in tmp_path.rglob("*")] == [name, "0001.png"]


def test_an_interrupted_dataset_is_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "Image").mkdir()
    (tmp_path / "Image" / "0001.jpg").touch()
    (tmp_path / UNFINISHED).touch()
    match = f"^{tmp_path}: dsunet generate was interrupted there: remove {tmp_path}, or give anot"
    with pytest.raises(DataError, match=match):
        write_scenes(tmp_path, 2)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    with pytest.raises(OutputError, match="x"):
        write_scenes(tmp_path / "x", 2)


@pytest.mark.parametrize(
    ("count", "options", "reason"),
    [
        (0, {}, "the number of scenes is 0"),
        (1, {"seed": -3}, "the seed is -3: it must be 0 or more"),
        (
            1,
            {"camouflaged": 1.5},
            "the fraction of camouflaged scenes is 1.5: it must be from 0 to 1",
        ),
        (1, {"empty": -0.1}, "the fraction of empty scenes is -0.1: it must be from 0 to 1"),
        (1, {"size": 63}, "the size is 63: it must be from 64 to 2048 pixels"),
    ],
)
def test_arguments_out_of_range(
    tmp_path: Path, count: int, options: dict[str, float], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        write_scenes(tmp_path / "x", count, **options)  # type: ignore[arg-type]
    assert not [*tmp_path.iterdir()]


def test_command(tmp_path: Path) -> None:
    """In an environment with NumPy and Pillow only."""
    arguments = ["generate", "-o", str(tmp_path), "--count", "3", "--seed", "2", "--size", "64"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *arguments, "--camouflaged", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path}: 3 scenes, ")
    assert len(find_pairs(*find_dataset_folders(tmp_path, Split.TRAIN)).pairs) == 3
    summary = json.loads((tmp_path / "scenes.json").read_text())
    assert (summary["seed"], summary["size"]) == (2, 64)
    assert {*summary["kinds"].values()} == {"camouflaged"}


def test_command_refuses_in_one_line(dataset: Path) -> None:
    done = runner.invoke(app, ["generate", "-o", str(dataset)])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("dsunet: ")
    assert "Image: is not empty" in done.stderr


@pytest.mark.parametrize(
    "wrong", [["--count", "0"], ["--camouflaged", "2"], ["--size", "10"], ["--seed", "-1"]]
)
def test_wrong_usage(tmp_path: Path, wrong: list[str]) -> None:
    done = runner.invoke(app, ["generate", "-o", str(tmp_path / "x"), *wrong])
    assert done.exit_code == 2
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["INT", "TERM", "KILL"],
)
def test_interruption_leaves_no_half_file(tmp_path: Path, number: int, code: int) -> None:
    """No worker process continues."""
    arguments = ["generate", "-o", str(tmp_path), "--count", "5000", "--size", "64"]
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT_EXTRAS, *arguments, "--workers", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        while len([*tmp_path.glob("Mask/*.png")]) < 3:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        # The end of stderr: its worker has it open too, so neither is left.
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    if number != signal.SIGKILL:  # Python's own resource tracker reports that one
        line = f"{tmp_path} is incomplete: remove it and generate it again"
        assert said == (f"dsunet: interrupted: {line}\n" if number == signal.SIGINT else "")
    for path in tmp_path.glob("*/[!.]*"):  # what a dataset's reader sees
        with Image.open(path) as image:
            image.load()
    assert not (tmp_path / "scenes.json").exists()
    with pytest.raises(DataError, match="is incomplete because dsunet generate was int"):
        find_dataset_folders(tmp_path, Split.TRAIN)
