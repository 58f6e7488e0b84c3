"""Defects of a dataset's files, by kind, and the error that lists them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from dsunet.errors import DataError, message_with_list


class DefectKind(enum.StrEnum):
    """The kinds of defects, in the order of the message, each with its remedy."""

    UNPAIRED = "without a partner of the same name; add or remove them"
    TWINS = "duplicate names, so that pairs are ambiguous; remove one of each"
    ABSENT = "broken links; fetch their data (git annex get, git lfs pull)"
    UNREADABLE = "that cannot be read; repair or remove them"
    OPAQUE = "without a transparent background; give them an alpha channel, or remove them"
    INVISIBLE = "without an opaque pixel; remove them"
    TRANSPARENT = "with transparent pixels, whose background is unknown; flatten them"
    DIFFERENT_SIZE = "of another size than their masks; resize or remove them"
    RESIZABLE = (
        "of another size than their ground truth; resize them, or resample them with --resize"
    )
    ROTATED = "with only one file rotated by EXIF; rotate the other too, or remove the EXIF tag"
    UNCLEAR = (
        "that EXIF rotates, but not their masks, which match either way; if the mask matches the "
        "image as displayed, rotate its pixels with `mogrify -auto-orient FILE`; if it matches the "
        "image as stored, remove the tag with `exiftool -Orientation= FILE`"
    )


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect of a file."""

    kind: DefectKind
    line: str
    """One line that names the file."""


def raise_defects(line: str, defects: Sequence[Defect]) -> None:
    """Raise DataError with all defects, grouped by kind, if there are any."""
    if not defects:
        return
    groups = []
    for kind in DefectKind:
        if lines := [defect.line for defect in defects if defect.kind is kind]:
            groups.append(message_with_list(f"{len(lines)} {kind}", lines).replace("\n", "\n  "))
    raise DataError("\n  ".join([f"{line}:", *groups]))
