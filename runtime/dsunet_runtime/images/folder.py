"""The images of a folder, with or without its subfolders, and counts of its other entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dsunet_runtime.files import resolved
from dsunet_runtime.message_text import counted, printable

# fmt: off
SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".blp", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".fit",
    ".fits", ".flc", ".fli", ".ftc", ".ftu", ".gbr", ".gif", ".icb", ".icns", ".ico", ".im",
    ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo",
    ".msp", ".pbm", ".pcd", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".pxr", ".qoi",
    ".ras", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm",
    ".xpm",
})
# fmt: on
"""Suffixes of images, in any case: all formats that Pillow decodes without plugins.

Vector graphics, videos, and formats of which Pillow reads only the header are not included.
"""

_COMMON = ".jpg .jpeg .png .bmp .gif .tif .tiff .webp"
_LISTED = 6


def visible(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder that are not hidden.  Raises OSError."""
    return (entry for entry in folder.iterdir() if not entry.name.startswith("."))


def is_real_folder(path: Path) -> bool:
    """Whether a path is a folder, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def is_same(folder: Path, other: Path | None) -> bool:
    """Whether two paths name one folder."""
    return other is not None and resolved(folder) == resolved(other)


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The content of a folder, without hidden entries."""

    path: Path
    images: tuple[Path, ...]
    """Entries with the suffix of an image, sorted, including unreadable ones and broken links."""
    others: Mapping[str, int]
    """Number of other files by suffix."""
    subfolders: int

    @classmethod
    def read(cls, path: Path, *, recursive: bool = False, results: Path | None = None) -> Self:
        """Read a folder.

        Args:
            path: The folder.
            recursive: Whether to read its subfolders, too.  Links to folders are not followed.
            results: A subfolder that is not read, because results are written there.

        Raises:
            OSError: It cannot be read.
        """
        images, others, subfolders = [], Counter[str](), 0
        folders = [path]
        while folders:
            for entry in visible(folders.pop()):
                if recursive and is_real_folder(entry):
                    if not is_same(entry, results):
                        folders.append(entry)
                elif entry.suffix.lower() in SUFFIXES:
                    images.append(entry)
                elif entry.is_dir():
                    subfolders += 1
                else:
                    others[entry.suffix.lower()] += 1
        return cls(path, tuple(sorted(images)), others, subfolders)

    @property
    def left_out(self) -> str | None:
        """A line with the counts of unused entries; None if there are none."""
        parts = self._left_out()
        return f"{self.path}: left out {'; '.join(parts)}" if parts else None

    @property
    def no_images(self) -> str:
        """The message for a folder without images."""
        parts = [f"no images in this folder (looked for {_COMMON} and others)"]
        if left_out := "; ".join(self._left_out()):
            parts.append(f"left out {left_out}")
        return f"{self.path}: {'; '.join(parts)}"

    def _left_out(self) -> list[str]:
        parts = []
        if self.others:
            total = sum(self.others.values())
            ranked = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))
            shown = [
                f"{printable(suffix, 20) or 'no suffix'} ({n})" for suffix, n in ranked[:_LISTED]
            ]
            rest = [f"{len(ranked) - _LISTED} more kinds"] if len(ranked) > _LISTED else []
            parts.append(f"{counted(total, 'file')}: {', '.join([*shown, *rest])}")
        if self.subfolders:
            parts.append(counted(self.subfolders, "subfolder"))
        return parts
