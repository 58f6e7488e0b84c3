"""The commands themselves, with their options and invalid values.

Steps that take minutes are replaced: exports, builds and epochs end at once, and work of other
processes is done in this one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from dsunet import random_model, save_model
from dsunet_runtime import RuntimeFault
from dsunet_runtime.masks.foreground import check_installed
from tests.fuzz.commands.arguments import VALID, declared_options, draw_arguments
from tests.fuzz.commands.execution import APPS, check, run
from tests.fuzz.harness import FuzzFault, Outcome
from tests.runtime import artifacts, engines
from tests.runtime.selftests import cases_for, give_selftest
from tests.runtime.video import clips
from tests.training.conftest import SMALL, write_dataset


class CommandLines:
    """Random command lines of all three programs, run in this process."""

    name = "commands"

    def prepare(self, folder: Path) -> None:
        """Write the files that command lines name, and read the options of the commands."""
        import matplotlib.font_manager  # noqa: F401 - its first import writes to the home folder

        check_installed()  # which writes compiled code
        self._templates = folder / "templates"
        _write_files(self._templates)
        self._options = {
            f"{program} {name}": options
            for program, app in APPS.items()
            for name, options in declared_options(app)
        }

    def run(self, seed: int, number: int, folder: Path) -> Outcome:
        """Run one command line.  Raises FuzzFault with it."""
        random = Random(f"{seed} {self.name} {number}")
        name = random.choice(sorted(VALID))
        program, command = name.split()
        arguments = [command, *draw_arguments(random, VALID[name], self._options[name])]
        folder.mkdir()
        (folder / "command.txt").write_text(repr([program, *arguments]))
        with tempfile.TemporaryDirectory() as parent:
            inside = Path(parent).resolve() / "inside"
            _copy(self._templates, inside)
            try:
                code, error = run(program, arguments, inside)
                (folder / "stderr.txt").write_text(error)
                check(program, code, error, arguments)
            except FuzzFault as fault:
                line = f"{program} {' '.join(arguments)}"
                raise FuzzFault(f"{fault}: {line[:300]!r}") from fault.__cause__
        return Outcome.SAME if code == 0 else Outcome.REFUSED


def commands(folder: Path, patch: pytest.MonkeyPatch) -> CommandLines:
    """Command lines, with slow steps replaced."""

    def stop(*arguments: Any, **options: Any) -> Any:
        raise RuntimeFault("stopped here")

    def one_thread(workers: int) -> ThreadPoolExecutor:
        if workers > 1024:
            raise FuzzFault(f"a pool of {workers} processes")
        return ThreadPoolExecutor(1)

    patch.setattr("dsunet_export.onnx.export_onnx", stop)
    patch.setattr("dsunet_export.tensorrt.builder.build_engine", stop)
    patch.setattr("dsunet_runtime.bench.benchmark.measure_cold_start", stop)
    patch.setattr("dsunet.scenes.dataset.open_pool", one_thread)
    patch.setattr("dsunet.evaluation.scorer.open_pool", one_thread)
    patch.setattr("dsunet.training.loop.TrainingLoop.run", lambda self: None)
    patch.setattr("lightning_fabric.Fabric.launch", lambda *arguments: None)
    return CommandLines()


def _write_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    save_model(random_model(SMALL, seed=1), folder / "own.safetensors")
    give_selftest(artifacts.frames(folder / "frames.onnx"), cases_for())
    engines.frames(folder / "a.engine")
    write_dataset(folder / "scenes", 2, seed=0)
    (folder / "photos").mkdir()
    for path in sorted((folder / "scenes" / "Image").iterdir()):
        Image.open(path).save(folder / "photos" / f"{path.stem}.png")
    Image.open(path).save(folder / "photo.png")
    clips.write(folder / "clip.mp4", clips.scene(3))
    (folder / "text.txt").write_text("Not what was asked for.\n")
    (folder / "empty.onnx").write_bytes(b"")
    for name in ("empty", "folder.onnx"):
        (folder / name).mkdir()


def _copy(templates: Path, folder: Path) -> None:
    """Copy the files: with hard links, a command could change those of the next case."""
    shutil.copytree(templates, folder)
    for name in ("pipe", "pipe.onnx"):
        os.mkfifo(folder / name)
    for name in ("loop", "loop.onnx"):
        (folder / name).symlink_to(name)
    for name in ("nowhere", "nowhere.png"):
        (folder / name).symlink_to("no-such-file")
