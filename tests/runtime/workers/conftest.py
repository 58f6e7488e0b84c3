"""Worker processes in which files of certain names are deadly: who opens one is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import dsunet_runtime.cli
from dsunet_runtime import files

ALWAYS, ONCE = "deadly", "once"
"""Beginnings of the names of files that kill each process that opens them, and the first one."""

_SITE = f"""
import os, signal
from pathlib import Path

def deadly_open(path, *arguments, plain=os.open, **options):
    file = Path(os.fsdecode(path))
    if file.name.startswith("{ONCE}"):
        try:
            plain(file.with_suffix(".killed"), os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    if file.name.startswith("{ALWAYS}") and file.suffix in (".onnx", ".png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(path, *arguments, **options)

os.open = deadly_open
"""


@pytest.fixture(scope="module")
def deadly_names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Python processes started meanwhile find deadly files; this one does not."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(_SITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True)
def _this_process_clears_leftovers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a test in which it is a worker."""
    monkeypatch.setattr(files, "_keeps_leftovers", False)


def make_images(folder: Path, count: int, size: int = 24) -> Path:
    """Images of three shapes in turn, with names in their order."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        shape = (size + index % 3, size, 3)
        Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(
            folder / f"{index:03}.png"
        )
    return folder


@contextmanager
def killed_on_the_way(masks: Path, find: Callable[[], int]) -> Iterator[list[int]]:
    """Kill a process, which `find` names, once ten masks exist; give how many they are then."""
    counts: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        while len(list(masks.glob("*.png"))) < 10:
            if ended.wait(0.002):
                return
        os.kill(find(), signal.SIGKILL)
        counts.append(len(list(masks.glob("*.png"))))

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield counts
    finally:
        ended.set()
        killer.join()


def contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder and its subfolders, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def predict(artifact: Path, images: Path, output: Path, *options: str) -> Result:
    arguments = ["predict", artifact, images, "-o", output, *options]
    return CliRunner().invoke(dsunet_runtime.cli.app, [*map(str, arguments)])


def summary(result: Result) -> str:
    """The last line of standard output without its times."""
    return result.stdout.splitlines()[-1].rsplit(" s, ", 1)[0].rsplit(", ", 1)[0]
