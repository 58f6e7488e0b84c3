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
from dsunet.data.faults import Fault, FaultKind, refuse
from dsunet.data.files import decode_file, mask_of
from dsunet.data.pairs import Pair
from dsunet.errors import DataError
from dsunet_runtime.images.decode import ImageHeader, first_frames, is_sideways
from dsunet_runtime.progress import Progress

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Found:
    """The result of checking one pair."""

    faults: list[Fault] = field(default_factory=list)
    of_several: list[Path] = field(default_factory=list)
    """Files with more than one frame."""
    is_close: bool = False
    """Whether the size of the mask differs by a few pixels."""


def check_pairs(
    pairs: Sequence[Pair],
    stream: TextIO | None = None,
    *,
    unlabelled: Sequence[Path] = (),
    faults: Sequence[Fault] = (),
    notes: Sequence[str] = (),
) -> None:
    """Decode all files on all cores, with a progress bar if `stream` is a terminal.

    Args:
        pairs: Pairs of image and mask.
        stream: Stream for progress and notes; stderr by default.
        unlabelled: Images without a mask.
        faults: Faults found before, which are reported together with those found here.
        notes: Lines to print, beside those on ignored frames and on masks whose size differs by a
            few pixels.

    Raises:
        DataError: Lists all faults: unreadable or truncated files, files that are not masks, and
            pairs whose upright image and mask differ in size.  An empty mask is valid.
    """
    files = [*((pair.image, pair.mask) for pair in pairs), *((image, None) for image in unlabelled)]
    if not files and not faults:
        raise DataError("there are no images: give a folder that has some")
    with Progress(max(len(files), 1), stream or sys.stderr) as progress:
        found = check_each(_check, files, progress)
        for note in (*notes, *_notes(found)):
            progress.say(note)
    all_faults = [*faults, *(fault for one in found for fault in one.faults)]
    refuse("the images and masks cannot be used", all_faults)


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


def fault_of(path: Path, error: DataError) -> Fault:
    """The fault of a file that cannot be read."""
    if path.is_symlink() and not path.exists():
        return Fault(FaultKind.ABSENT, str(path))
    return Fault(FaultKind.UNREADABLE, str(error))


def alignment_fault(path: Path, image: ImageHeader, other: str, mask: ImageHeader) -> Fault | None:
    """The fault in the alignment of an image and its mask, or of a prediction and its ground truth.

    `other` names the second file in messages.
    """
    match align(image, mask):
        case Alignment.UNLIKE:
            return Fault(FaultKind.UNLIKE, _sizes(path, image, other, mask))
        case Alignment.TURNED:
            turned, still = ("image", other) if is_sideways(image.orientation) else (other, "image")
            line = f"EXIF rotates the {turned} but not the {still}"
            return Fault(FaultKind.TURNED, f"{_sizes(path, image, other, mask)}: {line}")
        case Alignment.UNCLEAR:
            tags = f"orientation {image.orientation}, of its {other} {mask.orientation}"
            return Fault(FaultKind.UNCLEAR, f"{path}: {tags}")
    return None


def _sizes(path: Path, image: ImageHeader, other: str, mask: ImageHeader) -> str:
    (height, width), (mask_height, mask_width) = image.shape, mask.shape
    return f"{path}: is {width}×{height} pixels, its {other} {mask_width}×{mask_height}"


def _check(files: tuple[Path, Path | None]) -> _Found:
    """Check an image and its mask, if it has one."""
    found = _Found()
    headers = []
    image, mask = files
    for path, is_mask in ((image, False), (mask, True)):
        if path is None:
            continue
        try:
            decoded = decode_file(path)
            if is_mask:
                mask_of(path, decoded)
        except DataError as error:
            found.faults.append(fault_of(path, error))
            continue
        headers.append(decoded.header)
        if decoded.header.is_first_of_several:
            found.of_several.append(path)
    if len(headers) == 2:
        fault = alignment_fault(image, headers[0], "mask", headers[1])
        found.faults += [fault] if fault else []
        found.is_close = align(*headers) is Alignment.CLOSE
    return found


def _notes(found: Sequence[_Found]) -> list[str]:
    notes = []
    if paths := [path for one in found for path in one.of_several]:
        notes.append(first_frames(paths))
    if count := sum(one.is_close for one in found):
        notes.append(
            f"{count} of {len(found)} masks are slightly larger or smaller than their images; they "
            "are taken to cover the same area"
        )
    return notes
