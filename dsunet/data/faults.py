"""What can be wrong with the files of a dataset, by its kind, and as one message."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from dsunet.errors import DataError, listed


class FaultKind(enum.StrEnum):
    """Kinds, in the order in which they are listed; each says what helps."""

    UNPAIRED = "without a partner of the same name; add or remove them"
    TWINS = "names that are there twice, so that pairs are not clear; remove one of each"
    ABSENT = "links that lead nowhere; fetch the data that they stand for (git annex get, git lfs)"
    UNREADABLE = "that cannot be read rightly; repair or remove them"
    UNLIKE = "of another size than their masks; resize or remove them"
    RESIZABLE = "of another size than their truths; resize them, or let --resize resample them"
    TURNED = "of which EXIF turns one and not the other; turn the other too, or drop the EXIF tag"
    UNCLEAR = (
        "that EXIF turns, but not their masks, which fit either way; `mogrify -auto-orient FILE` "
        "turns the pixels where the mask fits the image as it is shown, `exiftool -Orientation= "
        "FILE` drops the tag where it fits the image as it is stored"
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong, in a line that names the file."""

    kind: FaultKind
    line: str


def refuse(line: str, faults: Sequence[Fault]) -> None:
    """Raise DataError with all faults, those of a kind together; if there are none, do nothing."""
    if not faults:
        return
    groups = []
    for kind in FaultKind:
        if lines := [fault.line for fault in faults if fault.kind is kind]:
            groups.append(listed(f"{len(lines)} {kind}", lines).replace("\n", "\n  "))
    raise DataError("\n  ".join([f"{line}:", *groups]))
