"""Group the layers of the network as a tree, by the names of nodes, `module.path/OpType`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DEPTH = 3
"""Number of levels: encoder (or module of the decoder), block, part of the block."""
DEPTH_TO_MODULES = 4
"""Number of levels with that of single modules, for 8 bits."""


@dataclass(frozen=True, slots=True)
class Group:
    """The nodes of a module and its submodules; of the module alone if `path` ends in a slash."""

    path: str

    @property
    def pattern(self) -> str:
        """Pattern for --keep-fp32 that matches exactly the nodes of this group."""
        return f"{self.path}*" if self.path.endswith("/") else f"{self.path}[./]*"

    def contains(self, other: Group) -> bool:
        """Return whether another group is this one or part of it."""
        return other == self or other.path.startswith((f"{self.path}.", f"{self.path}/"))


def group_of(name: str, level: int) -> Group:
    """Return the group of a node at a level of the tree; 0 is the coarsest.

    `dino.vit.blocks.1.attn.project.key/MatMul` is in `dino`, `dino.vit.blocks.1`,
    `dino.vit.blocks.1.attn` and `dino.vit.blocks.1.attn.project.key/`.  `dino.vit.blocks.1/Add` is
    in `dino.vit.blocks.1/` at level 2.
    """
    path = name.partition("/")[0].split(".")
    numbers = [index for index, part in enumerate(path) if part.isdecimal()]
    block = numbers[0] + 1 if numbers else 3
    length = (1, block, block + 1, len(path) + 1)[level]
    whole = ".".join(path[:length])
    return Group(whole if len(path) >= length else f"{whole}/")


def group_levels(names: Iterable[str], depth: int) -> list[dict[Group, list[str]]]:
    """Return the groups of each level with the names of their nodes, in order."""
    found: list[dict[Group, list[str]]] = [{} for _ in range(depth)]
    for name in names:
        for level, groups in enumerate(found):
            groups.setdefault(group_of(name, level), []).append(name)
    return found


def parts_of(group: Group, finer: Mapping[Group, object]) -> list[Group]:
    """Return the groups of the next level that are part of a group."""
    return [part for part in finer if group.contains(part)]
