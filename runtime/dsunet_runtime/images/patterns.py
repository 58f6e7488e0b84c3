"""Patterns of image names, such as `photos/**/*.jpg`, for shells that do not expand them."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from dsunet_runtime.images.folder import SUFFIXES, is_real_folder, is_same, visible

_ANY_FOLDERS = "**"


def is_pattern(path: Path) -> bool:
    """Whether a path has wildcards (`*`, `?`, `[…]`) and is not a file itself."""
    return _has_wildcards(str(path)) and not path.exists() and not path.is_symlink()


def root(pattern: Path) -> Path:
    """Return the longest leading part of a pattern that is a folder, even one with wildcards."""
    return next(parent for parent in pattern.parents if parent.is_dir() or parent == parent.parent)


def matching(pattern: Path, results: Path | None) -> list[Path]:
    """Return the images that match a pattern, sorted.

    Only files with the suffix of an image match.  `**` stands for any number of folders, also none.
    Hidden entries do not match, nor do links to folders in the place of `**`.

    Args:
        pattern: A path with wildcards.
        results: A folder that does not match, because results are written there.

    Raises:
        OSError: A folder cannot be read.
    """
    start = root(pattern)
    *folders, last = pattern.relative_to(start).parts
    if last == _ANY_FOLDERS:
        folders, last = [*folders, last], "*"
    found = [start]
    for name in folders:
        found = _deeper(found, results) if name == _ANY_FOLDERS else _named(found, name, results)
    files = [entry for folder in found for entry in visible(folder) if fnmatch(entry.name, last)]
    return sorted({entry for entry in files if entry.suffix.lower() in SUFFIXES})


def _has_wildcards(text: str) -> bool:
    return any(character in text for character in "*?[")


def _named(folders: Iterable[Path], name: str, results: Path | None) -> list[Path]:
    entries = (entry for folder in folders for entry in visible(folder))
    return [e for e in entries if fnmatch(e.name, name) and e.is_dir() and not is_same(e, results)]


def _deeper(folders: Iterable[Path], results: Path | None) -> list[Path]:
    """Return the folders and all folders below them."""
    found = []
    waiting = list(folders)
    while waiting:
        folder = waiting.pop()
        found.append(folder)
        entries = [entry for entry in visible(folder) if is_real_folder(entry)]
        waiting += [entry for entry in entries if not is_same(entry, results)]
    return found
