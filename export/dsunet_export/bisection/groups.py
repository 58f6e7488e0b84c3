"""The network's layers as a tree, read off the names of nodes: `module.path/OpType`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DEPTH = 3
"""Levels of the tree: encoder (or module of the decoder), block, part of the block."""


@dataclass(frozen=True, slots=True)
class Group:
    """A module's nodes, those of its parts included; with a slash at its end, its own alone."""

    path: str

    @property
    def pattern(self) -> str:
        """What --keep-fp32 takes for all of its nodes and no others."""
        return f"{self.path}*" if self.path.endswith("/") else f"{self.path}[./]*"

    def holds(self, other: Group) -> bool:
        """Whether another group is this one, or a part of it."""
        return other == self or other.path.startswith((f"{self.path}.", f"{self.path}/"))


def group_of(name: str, level: int) -> Group:
    """The group that a node is in, at a level of the tree: 0 is the coarsest.

    `dino.vit.blocks.1.attn.project.key/MatMul` is in `dino`, in `dino.vit.blocks.1` and in
    `dino.vit.blocks.1.attn`; `dino.vit.blocks.1/Add` at last in `dino.vit.blocks.1/`.
    """
    path = name.partition("/")[0].split(".")
    numbers = [index for index, part in enumerate(path) if part.isdecimal()]
    block = numbers[0] + 1 if numbers else 3
    length = (1, block, block + 1)[level]
    whole = ".".join(path[:length])
    return Group(whole if len(path) >= length else f"{whole}/")


def levels_of(names: Iterable[str]) -> list[dict[Group, list[str]]]:
    """For each level, its groups with the names of their nodes, in order."""
    found: list[dict[Group, list[str]]] = [{} for _ in range(DEPTH)]
    for name in names:
        for level, groups in enumerate(found):
            groups.setdefault(group_of(name, level), []).append(name)
    return found


def parts_of(group: Group, finer: Mapping[Group, object]) -> list[Group]:
    """The groups of the next level that make up one of this level."""
    return [part for part in finer if group.holds(part)]
