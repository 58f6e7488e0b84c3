"""Which images to read and which files to write, settled before any work starts."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.errors import ImageError, OutputError
from dsunet_runtime.files import resolved
from dsunet_runtime.image_folder import ImageFolder
from dsunet_runtime.message_text import reason


@dataclass(frozen=True, slots=True)
class Job:
    """One image to read and the files to write for it."""

    image: Path
    mask: Path
    overlay: Path | None

    @property
    def outputs(self) -> list[Path]:
        """The files this job writes."""
        return [self.mask] if self.overlay is None else [self.mask, self.overlay]


def plan(
    sources: Sequence[Path], folder: Path, *, overlays: bool, name: str | None = None
) -> list[Job]:
    """One job for each image, in the order given; an image named twice is taken once.

    A file is taken as it is; of a folder, the files with a known suffix, sorted by name, hidden
    ones and subfolders left out (see `left_out`).  `NAME.jpg` becomes `NAME.png`, and
    `NAME_overlay.jpg`.  `name` is another name for the mask of one image.

    Raises ImageError if a source does not exist or a folder has no images, and OutputError if two
    images would be written to one file, or a result over an image.
    """
    images = {_entry(path): path for source in sources for path in images_at(source)}
    jobs = [_job(path, folder, name, overlays=overlays) for path in images.values()]
    _check_collisions(jobs)
    return jobs


def make_folder(folder: Path) -> None:
    """Create the folder for the results.  Raises OutputError if it is none that can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder}: is a file: name a folder") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {reason(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written to: name another folder")


@contextmanager
def results_folder(folder: Path | None) -> Iterator[None]:
    """Create the folder, if there is to be one, before the work whose results it is for.

    If the work fails and leaves the new folder empty, it is removed again.  Raises OutputError as
    `make_folder`.
    """
    if folder is None:
        yield
        return
    is_new = not folder.exists()
    make_folder(folder)
    try:
        yield
    except BaseException:  # an interruption too
        if is_new:
            with suppress(OSError):  # it holds results
                folder.rmdir()
        raise


def images_at(source: Path) -> list[Path]:
    """A file as it is; of a folder its images, sorted by name, or ImageError if it has none."""
    try:
        if not source.is_dir():
            source.lstat()  # a link that leads nowhere is left to who reads it
            return [source]
        folder = ImageFolder.read(source)
    except OSError as error:
        raise ImageError(f"{source}: {reason(error)}") from error
    if not folder.images:
        raise ImageError(folder.no_images)
    return list(folder.images)


def left_out(sources: Sequence[Path]) -> list[str]:
    """For each source that is a folder with other things than images a line that counts them."""
    folders = [ImageFolder.read(source) for source in sources if source.is_dir()]
    return [line for folder in folders if (line := folder.left_out)]


def _job(image: Path, folder: Path, name: str | None, *, overlays: bool) -> Job:
    mask = folder / (name or f"{image.stem}.png")
    return Job(image, mask, mask.with_name(f"{mask.stem}_overlay.jpg") if overlays else None)


def _check_collisions(jobs: Sequence[Job]) -> None:
    # What a link points to is an image to keep, as much as the link itself.
    images = {key: job.image for job in jobs for key in (_entry(job.image), resolved(job.image))}
    written: dict[str, Job] = {}
    for job in jobs:
        for output in job.outputs:
            key = _entry(output)
            if key in images:
                raise OutputError(
                    f"{output}: would be written over the image {images[key]}: "
                    f"name another folder for the masks"
                )
            same = _composed(key)  # where file systems compose names, these are one file
            if same in written:
                raise OutputError(
                    f"{output}: would be written for {written[same].image} and for {job.image}: "
                    f"rename one, or run them into two folders"
                )
            written[same] = job


def _entry(path: Path) -> Path:
    """The entry of its folder that a path names: links among the folders resolved, itself not."""
    return resolved(path.parent) / path.name


def _composed(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path))
