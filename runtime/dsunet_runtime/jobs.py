"""Jobs of a prediction: images to read and files to write, checked before the work starts."""

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
    """One image and the files to write for it."""

    image: Path
    mask: Path
    overlay: Path | None

    @property
    def outputs(self) -> list[Path]:
        """The files that the job writes."""
        return [self.mask] if self.overlay is None else [self.mask, self.overlay]


def plan(
    sources: Sequence[Path], folder: Path, *, overlays: bool, name: str | None = None
) -> list[Job]:
    """Create one job per image, in the given order; duplicates are removed.

    Args:
        sources: Image files, which are used whatever their suffix, and folders, of which files with
            the suffix of an image are used, sorted by name, without hidden files and subfolders.
        folder: Destination.  The mask of `NAME.jpg` is `NAME.png`, its overlay `NAME_overlay.jpg`.
        overlays: Whether to write overlays.
        name: File name of the mask, for a single image.

    Raises:
        ImageError: A source does not exist, or a folder has no images.
        OutputError: Two images have the same destination, or a result would overwrite an image.
    """
    images = {_entry(path): path for source in sources for path in images_at(source)}
    jobs = [_job(path, folder, name, overlays=overlays) for path in images.values()]
    _check_collisions(jobs)
    return jobs


def make_folder(folder: Path) -> None:
    """Create the folder for the results.  Raises OutputError if it is not a writable folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder}: is a file: name a folder") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {reason(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: is not writable: name another folder")


@contextmanager
def results_folder(folder: Path | None) -> Iterator[None]:
    """Create the folder for the results, unless it is None, before the work starts.

    If the work fails and the new folder is empty, the folder is removed.  Raises OutputError like
    `make_folder`.
    """
    if folder is None:
        yield
        return
    is_new = not folder.exists()
    make_folder(folder)
    try:
        yield
    except BaseException:  # including KeyboardInterrupt
        if is_new:
            with suppress(OSError):  # it contains results
                folder.rmdir()
        raise


def images_at(source: Path) -> list[Path]:
    """Return a file itself, or the images of a folder by name; ImageError if there are none."""
    try:
        if not source.is_dir():
            source.lstat()  # reading reports a broken link
            return [source]
        folder = ImageFolder.read(source)
    except OSError as error:
        raise ImageError(f"{source}: {reason(error)}") from error
    if not folder.images:
        raise ImageError(folder.no_images)
    return list(folder.images)


def left_out(sources: Sequence[Path]) -> list[str]:
    """Return a line for each folder that contains other entries than images, with their counts."""
    folders = [ImageFolder.read(source) for source in sources if source.is_dir()]
    return [line for folder in folders if (line := folder.left_out)]


def _job(image: Path, folder: Path, name: str | None, *, overlays: bool) -> Job:
    mask = folder / (name or f"{image.stem}.png")
    return Job(image, mask, mask.with_name(f"{mask.stem}_overlay.jpg") if overlays else None)


def _check_collisions(jobs: Sequence[Job]) -> None:
    # Neither a link nor its target may be overwritten.
    images = {key: job.image for job in jobs for key in (_entry(job.image), resolved(job.image))}
    written: dict[str, Job] = {}
    for job in jobs:
        for output in job.outputs:
            key = _entry(output)
            if key in images:
                raise OutputError(
                    f"{output}: would overwrite the image {images[key]}: "
                    f"use another folder for the masks"
                )
            same = _composed(key)  # on file systems that normalise names, these are the same file
            if same in written:
                raise OutputError(
                    f"{output}: would be written for both {written[same].image} and {job.image}: "
                    f"rename one of them, or use two output folders"
                )
            written[same] = job


def _entry(path: Path) -> Path:
    """Resolve links in the folders of a path, but not the path itself."""
    return resolved(path.parent) / path.name


def _composed(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path))
