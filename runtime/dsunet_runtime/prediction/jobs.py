"""Jobs of a prediction: images to read and files to write, checked before the work starts."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Self

from dsunet_runtime.errors import ImageError, OutputError
from dsunet_runtime.files import make_folder, resolved
from dsunet_runtime.images.decode import ImageLike
from dsunet_runtime.images.folder import ImageFolder
from dsunet_runtime.images.patterns import is_pattern, matching, root
from dsunet_runtime.masks.renderings import Mask, Rendering
from dsunet_runtime.message_text import reason
from dsunet_runtime.standard_streams import STANDARD_STREAM, read_standard_input


@dataclass(frozen=True, slots=True)
class OutputKind:
    """A rendering, and the suffix of its files, which determines their format."""

    rendering: Rendering
    suffix: str

    def file_name(self, stem: str) -> str:
        """Return the name of the file for an image; that of the mask has the name of the image."""
        name = self.rendering.name
        return f"{stem}{self.suffix}" if self.is_mask else f"{stem}_{name}{self.suffix}"

    @property
    def is_mask(self) -> bool:
        """Whether it is the mask, as computed or binary."""
        return self.rendering.name in ("mask", "binary")


@dataclass(frozen=True, slots=True)
class Destination:
    """Destination and kinds of the results.

    Attributes:
        folder: A folder; None for standard output.
        kinds: Kinds of output for each image.
        name: Name of the one file, for a single image.
    """

    folder: Path | None
    kinds: tuple[OutputKind, ...]
    name: str | None = None

    def outputs(self, image: Path, subfolder: Path = Path()) -> tuple[Output, ...]:
        """Return the outputs of an image."""
        if self.folder is None:
            return tuple(Output(kind, STANDARD_STREAM) for kind in self.kinds)
        folder = self.folder / subfolder
        names = [self.name or kind.file_name(image.stem) for kind in self.kinds]
        return tuple(Output(k, folder / name) for k, name in zip(self.kinds, names, strict=True))


@dataclass(frozen=True, slots=True)
class Output:
    """A rendering and the file to write it to."""

    kind: OutputKind
    path: Path
    """`STANDARD_STREAM` is standard output."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image and the files to write for it."""

    image: Path
    outputs: tuple[Output, ...]
    content: bytes | None = None
    """Bytes of an image that is not a file; `image` is then a name for messages."""

    @classmethod
    def of_mask(cls, image: Path, mask: Path) -> Self:
        """Create the job that writes the mask of an image as a PNG file."""
        return cls(image, (Output(OutputKind(Mask(), ".png"), mask),))

    @property
    def source(self) -> ImageLike:
        """The image for a segmenter."""
        return self.image if self.content is None else self.content

    @property
    def is_done(self) -> bool:
        """Whether all files of the job exist."""
        return all(output.path.is_file() for output in self.outputs)


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a command."""

    jobs: list[Job]
    skipped: list[Job]
    """Jobs whose files exist already and are kept."""
    left_out: list[str]
    """One line for each folder with entries other than images, with their counts."""
    folder: Path | None
    """Folder of the destination; None for standard output."""


def plan(
    sources: Sequence[Path],
    destination: Destination,
    *,
    recursive: bool = False,
    skip_existing: bool = False,
) -> Plan:
    """Create one job per image, in the given order; duplicates are removed.

    Args:
        sources: Image files with any suffix; folders and patterns, of which all files with the
            suffix of an image are used, sorted by name, without hidden ones; `STANDARD_STREAM`,
            from which one image is read.
        destination: Destination and kinds of the results.
        recursive: Whether to use the images in subfolders, too.
        skip_existing: Whether to skip images whose result files all exist.

    The results of images in subfolders of a folder or of a pattern's first folder go into
    subfolders of the same names.  The folder for the results is not searched for images if it is
    inside one that is.

    Raises:
        ImageError: A source does not exist, or has no images.
        OutputError: Two images have the same destination, or a result would overwrite an image.
    """
    entry = _entries()
    images: dict[Path, _Image] = {}
    left_out = []
    for source in sources:
        found, others = _search(source, destination.folder, recursive=recursive)
        left_out += others
        for image in found:
            images.setdefault(entry(image.path), image)
    jobs = [_job(image, destination) for image in images.values()]
    _check_collisions(jobs)
    skipped = [skip_existing and job.is_done for job in jobs]
    waiting = [not is_skipped for is_skipped in skipped]
    return Plan(
        [*compress(jobs, waiting)], [*compress(jobs, skipped)], left_out, destination.folder
    )


@contextmanager
def results_folder(folder: Path | None) -> Iterator[None]:
    """Create the folder for the results, unless it is None, before the work starts.

    A new folder that is empty at the end is removed.  Raises OutputError like `make_folder`.
    """
    if folder is None:
        yield
        return
    is_new = not folder.exists()
    make_folder(folder)
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):  # it contains results
                folder.rmdir()


def images_at(source: Path) -> list[Path]:
    """Return a file itself, or the sorted images of a folder; ImageError if there are none."""
    return [image.path for image in _search(source, None, recursive=False)[0]]


def left_out(sources: Sequence[Path]) -> list[str]:
    """Return one line for each folder with entries other than images, with their counts."""
    folders = [ImageFolder.read(source) for source in sources if source.is_dir()]
    return [line for folder in folders if (line := folder.left_out)]


@dataclass(frozen=True, slots=True)
class _Image:
    path: Path
    subfolder: Path = Path()
    """Below the folder that was searched."""


def _search(
    source: Path, results: Path | None, *, recursive: bool
) -> tuple[list[_Image], list[str]]:
    """Return the images of a source, and a line about its other entries, if there are any."""
    if source == STANDARD_STREAM:
        return [_Image(source)], []
    try:
        if source.is_dir():
            folder = ImageFolder.read(source, recursive=recursive, results=results)
            if not folder.images:
                raise ImageError(folder.no_images)
            return _below(source, folder.images), [line] if (line := folder.left_out) else []
        if not is_pattern(source):
            source.lstat()  # reading reports a broken link
            return [_Image(source)], []
        images = matching(source, results)
    except OSError as error:
        raise ImageError(f"{error.filename or source}: {reason(error)}") from error
    if not images:
        raise ImageError(f"{source}: no such file, and no image's name matches it as a pattern")
    return _below(root(source), images), []


def _below(folder: Path, images: Sequence[Path]) -> list[_Image]:
    return [_Image(path, path.parent.relative_to(folder)) for path in images]


def _job(image: _Image, destination: Destination) -> Job:
    if image.path != STANDARD_STREAM:
        return Job(image.path, destination.outputs(image.path, image.subfolder))
    name = Path("stdin")
    return Job(name, destination.outputs(name), read_standard_input())


def _check_collisions(jobs: Sequence[Job]) -> None:
    entry = _entries()
    # Links must not be overwritten, nor their targets.
    files = [job.image for job in jobs if job.content is None]
    images = {entry(path): path for path in files}
    images |= {resolved(path): path for path in files if path.is_symlink()}
    written: dict[str, Job] = {}
    for job in jobs:
        for output in job.outputs:
            if output.path == STANDARD_STREAM:
                continue
            key = entry(output.path)
            if key in images:
                raise OutputError(
                    f"{output.path}: would overwrite the image {images[key]}: "
                    f"use another folder for the masks"
                )
            same = _composed(key)  # on file systems that normalise names, these are the same file
            if same in written:
                raise OutputError(
                    f"{output.path}: would be written for both {written[same].image} and "
                    f"{job.image}: rename one of them, or use two output folders"
                )
            written[same] = job


def _entries() -> Callable[[Path], Path]:
    """Return a function that resolves links in the folders of a path, but not the path itself."""
    folder = cache(resolved)
    return lambda path: folder(path.parent) / path.name


def _composed(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path))
