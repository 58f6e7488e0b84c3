"""Write synthetic scenes as a dataset, in several processes."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from dsunet.data.image_files import LAST_OUTSIDE
from dsunet.data.layouts import UNFINISHED
from dsunet.errors import DataError
from dsunet.process_pool import open_pool
from dsunet.scenes.image_sources import Sources, find_sources
from dsunet.scenes.scene import GENERATOR, Scene, SceneKind, check_seed, make_scene
from dsunet_runtime.files import make_folder, write_whole
from dsunet_runtime.prediction.ordered_map import map_ready
from dsunet_runtime.prediction.output_files import write_mask
from dsunet_runtime.progress import Progress

IMAGES, MASKS, SUMMARY = "Image", "Mask", "scenes.json"
_ASPECTS = (1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3)
_LEAST_SIZE, _LARGEST_SIZE = 64, 2048
_NOTE = "dsunet generate has not finished: scenes are missing.  Remove this folder.\n"
_AHEAD = 4
"""Number of scenes queued per process."""


@dataclass(frozen=True, slots=True)
class DatasetParameters:
    """Parameters of a generated dataset; scene `index` does not depend on `count`."""

    count: int
    seed: int
    camouflaged: float
    empty: float
    size: int
    binary: bool
    sources: Sources

    def scene(self, index: int) -> Scene:
        """Generate scene `index`, from 0, with about size² pixels in one of five aspect ratios."""
        rng = np.random.default_rng([self.seed, index])
        aspect = rng.choice(_ASPECTS)
        shape = (round(self.size / aspect**0.5), round(self.size * aspect**0.5))
        return make_scene(int(rng.integers(2**63)), shape, self.kind(index), self.sources)

    def kind(self, index: int) -> SceneKind:
        """The kind of scene `index`; empty and camouflaged ones are evenly distributed."""
        before = int(index * self.empty)
        if int((index + 1) * self.empty) > before:
            return SceneKind.EMPTY
        index -= before
        hidden = int((index + 1) * self.camouflaged) > int(index * self.camouflaged)
        return SceneKind.CAMOUFLAGED if hidden else SceneKind.SALIENT

    def stem(self, index: int) -> str:
        """Stem of the file names of scene `index`."""
        return f"{index:0{max(4, len(str(self.count - 1)))}}"


def write_scenes(
    folder: Path,
    count: int,
    seed: int = 0,
    *,
    foregrounds: Path | None = None,
    backgrounds: Path | None = None,
    camouflaged: float = 0.25,
    empty: float = 0.0,
    size: int = 320,
    binary: bool = False,
    workers: int | None = None,
) -> None:
    """Write `count` scenes as FOLDER/Image/NNNN.jpg and FOLDER/Mask/NNNN.png.

    FOLDER/scenes.json is written last: the arguments, the generator's version, and the kind and
    source images of each scene.  Until then the folder contains unfinished.txt, and no command
    accepts it as a dataset.  Processes are spawned, so a script must call this under
    `if __name__ == "__main__":`.

    Args:
        folder: Folder of the dataset; created if needed.
        count: Number of scenes, 1 or more.
        seed: Random seed, 0 or more.
        foregrounds: Folder of cut-outs: images with an alpha channel, which become the objects.
            By default, objects are drawn.
        backgrounds: Folder of opaque images without a salient object.  By default, backgrounds are
            drawn.
        camouflaged: Fraction of scenes with a camouflaged object, 0 to 1, among those with one.
        empty: Fraction of scenes without an object, 0 to 1.
        size: Images have about size² pixels, 64 to 2048.
        binary: Whether masks of cut-outs are 0 and 255 only; by default they have the opacity of
            the cut-out, 0 to 255.  Masks of drawn objects always have 0 and 255 only.
        workers: Number of processes; None for one per core.

    Raises:
        DataError: An argument is out of range, the folder already has images or masks, or some of
            the foregrounds or backgrounds cannot be used.
        OutputError: The folder cannot be written to.

    Example:
        >>> write_scenes(Path("scenes"), 1000, seed=1)
    """
    _check(count, seed, camouflaged, empty, size)
    _check_empty(folder)
    sources = find_sources(foregrounds, backgrounds)
    parameters = DatasetParameters(count, seed, camouflaged, empty, size, binary, sources)
    make_folder(folder / IMAGES)
    make_folder(folder / MASKS)
    write_whole(folder / UNFINISHED, lambda file: file.write(_NOTE.encode()))
    processes = min(workers or os.cpu_count() or 1, count)
    pool = open_pool(processes)
    used: list[dict[str, list[str]]] = []
    try:
        with Progress(count, sys.stderr) as progress:
            write = partial(_write, folder, parameters)
            for files in map_ready(pool, write, range(count), _AHEAD * processes):
                used.append(files)
                progress.advance()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was killed, probably for lack of memory: use fewer workers"
        ) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{folder} is incomplete: remove it and generate it again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    _summarize(folder, parameters, used)
    (folder / UNFINISHED).unlink()


def _write(folder: Path, parameters: DatasetParameters, index: int) -> dict[str, list[str]]:
    """Write a scene; returns the names of its foregrounds and backgrounds."""
    scene, stem = parameters.scene(index), parameters.stem(index)
    image = Image.fromarray(scene.image)
    write_whole(folder / IMAGES / f"{stem}.jpg", lambda file: image.save(file, "JPEG", quality=92))
    mask = scene.mask
    if parameters.binary:
        mask = np.where(mask > LAST_OUTSIDE, 255, 0).astype(np.uint8)
    write_mask(mask, folder / MASKS / f"{stem}.png")
    return {
        "foregrounds": [path.name for path in scene.foregrounds],
        "backgrounds": [path.name for path in scene.backgrounds],
    }


def _summarize(
    folder: Path, parameters: DatasetParameters, used: list[dict[str, list[str]]]
) -> None:
    stems = [parameters.stem(index) for index in range(parameters.count)]
    document: dict[str, object] = {
        "generator": GENERATOR,
        "count": parameters.count,
        "seed": parameters.seed,
        **{name: os.fspath(path) for name, path in parameters.sources.folders.items()},
        "camouflaged": parameters.camouflaged,
        "empty": parameters.empty,
        "size": parameters.size,
        "binary": parameters.binary,
        "kinds": {stem: parameters.kind(index) for index, stem in enumerate(stems)},
    }
    if parameters.sources.folders:
        document["sources"] = dict(zip(stems, used, strict=True))
    text = json.dumps(document, indent=2) + "\n"
    write_whole(folder / SUMMARY, lambda file: file.write(text.encode()))


def _check(count: int, seed: int, camouflaged: float, empty: float, size: int) -> None:
    if count < 1:
        raise DataError(f"the number of scenes is {count}: it must be 1 or more")
    check_seed(seed)
    for kind, fraction in (("camouflaged", camouflaged), ("empty", empty)):
        if not 0 <= fraction <= 1:
            raise DataError(f"the fraction of {kind} scenes is {fraction}: it must be from 0 to 1")
    if not _LEAST_SIZE <= size <= _LARGEST_SIZE:
        raise DataError(
            f"the size is {size}: it must be from {_LEAST_SIZE} to {_LARGEST_SIZE} pixels"
        )


def _check_empty(folder: Path) -> None:
    """Raise DataError if there are files that scenes would overwrite or be paired with."""
    for name in (IMAGES, MASKS):
        inside = folder / name
        if inside.is_dir() and any(inside.iterdir()):
            if (folder / UNFINISHED).exists():
                raise DataError(
                    f"{folder}: dsunet generate was interrupted there: remove {folder}, or give "
                    "another"
                )
            raise DataError(f"{inside}: is not empty: give another folder, or empty this one")
