"""Read all images and masks of a dataset once, before training or evaluation starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, TypeVar

from dsunet.data.alignment import Alignment, align
from dsunet.data.defects import Defect, DefectKind, raise_defects
from dsunet.data.image_files import decode_file, decoded_mask
from dsunet.data.pairs import Pair
from dsunet.errors import DataError
from dsunet_runtime.images.decode import ImageHeader, first_frames, is_sideways
from dsunet_runtime.progress import Progress

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(slots=True)
class _PairCheck:
    """The result of the check of one pair."""

    defects: list[Defect] = field(default_factory=list)
    multi_frame: list[Path] = field(default_factory=list)
    """Files with more than one frame."""
    is_close: bool = False
    """Whether the size of the mask differs by a few pixels."""


def check_pairs(
    pairs: Sequence[Pair],
    stream: TextIO | None = None,
    *,
    unlabelled: Sequence[Path] = (),
    defects: Sequence[Defect] = (),
    notes: Sequence[str] = (),
) -> None:
    """Decode all files on all cores, with a progress bar if `stream` is a terminal.

    Args:
        pairs: Pairs of image and mask.
        stream: Stream for progress and notes; stderr by default.
        unlabelled: Images without a mask.
        defects: Defects found before, which are reported together with those found here.
        notes: Lines to print, beside those on ignored frames and on masks whose size differs by a
            few pixels.

    Raises:
        DataError: Lists all defects: unreadable or truncated files, files that are not masks, and
            pairs whose upright image and mask differ in size.  An empty mask is valid.
    """
    files = [*((pair.image, pair.mask) for pair in pairs), *((image, None) for image in unlabelled)]
    if not files and not defects:
        raise DataError("no images were found: give a folder of images")
    with Progress(max(len(files), 1), stream or sys.stderr) as progress:
        checks = check_each(_check, files, progress)
        for note in (*notes, *_notes(checks, len(pairs))):
            progress.say(note)
    all_defects = [*defects, *(defect for check in checks for defect in check.defects)]
    raise_defects("the images and masks cannot be used", all_defects)


def check_each(
    check: Callable[[_Item], _Result], items: Sequence[_Item], progress: Progress
) -> list[_Result]:
    """Return the result of a check of each item, in order, computed on all cores."""
    results = []
    threads = ThreadPoolExecutor(os.cpu_count())  # Pillow releases the GIL while it decodes
    try:
        for result in threads.map(check, items):
            results.append(result)
            progress.advance()
    finally:
        threads.shutdown(cancel_futures=True)
    return results


def read_defect(path: Path, error: DataError) -> Defect:
    """The defect of a file, from the error with which it could not be read."""
    if path.is_symlink() and not path.exists():
        return Defect(DefectKind.ABSENT, str(path))
    return Defect(DefectKind.UNREADABLE, str(error))


def alignment_defect(
    path: Path, image: ImageHeader, other: str, mask: ImageHeader
) -> Defect | None:
    """The defect in the sizes and orientations of two files that belong together; None if they fit.

    They are an image and its mask, or a prediction and its ground truth.  `other` is the name of
    the second one in messages.
    """
    match align(image, mask):
        case Alignment.DIFFERENT:
            return Defect(DefectKind.DIFFERENT_SIZE, _sizes(path, image, other, mask))
        case Alignment.ROTATED:
            names = ("image", other) if is_sideways(image.orientation) else (other, "image")
            line = "EXIF rotates the {} but not the {}".format(*names)
            return Defect(DefectKind.ROTATED, f"{_sizes(path, image, other, mask)}: {line}")
        case Alignment.UNCLEAR:
            tags = f"orientation {image.orientation}, of its {other} {mask.orientation}"
            return Defect(DefectKind.UNCLEAR, f"{path}: {tags}")
    return None


def _sizes(path: Path, image: ImageHeader, other: str, mask: ImageHeader) -> str:
    (height, width), (mask_height, mask_width) = image.shape, mask.shape
    return f"{path}: is {width}×{height} pixels, its {other} {mask_width}×{mask_height}"


def _check(files: tuple[Path, Path | None]) -> _PairCheck:
    """Check an image and its mask, if it has one."""
    result = _PairCheck()
    headers = []
    image, mask = files
    for path, is_mask in ((image, False), (mask, True)):
        if path is None:
            continue
        try:
            decoded = decode_file(path)
            if is_mask:
                decoded_mask(path, decoded)
        except DataError as error:
            result.defects.append(read_defect(path, error))
            continue
        headers.append(decoded.header)
        if decoded.header.is_first_of_several:
            result.multi_frame.append(path)
    if len(headers) == 2:
        defect = alignment_defect(image, headers[0], "mask", headers[1])
        result.defects += [defect] if defect else []
        result.is_close = align(*headers) is Alignment.CLOSE
    return result


def _notes(checks: Sequence[_PairCheck], masks: int) -> list[str]:
    notes = []
    if paths := [path for check in checks for path in check.multi_frame]:
        notes.append(first_frames(paths))
    if count := sum(check.is_close for check in checks):
        notes.append(
            f"{count} of {masks} masks are slightly larger or smaller than their images; they are "
            "taken to cover the same area"
        )
    return notes
