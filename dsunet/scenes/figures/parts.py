"""The parts of figures."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dsunet.scenes.outlines import Points


class Role(enum.Enum):
    """The role of a part's material."""

    MAIN = enum.auto()  # the figure's own material
    SECOND = enum.auto()  # another of its materials
    THIRD = enum.auto()
    SKIN = enum.auto()
    DARK = enum.auto()  # eyes, wheels, windows


@dataclass(frozen=True, slots=True)
class Part:
    """Polygons of one material.

    A detail is painted only where earlier parts are; a hole removes from them.
    """

    polygons: list[Points]
    role: Role = Role.MAIN
    detail: bool = False
    hole: bool = False


class Stance(enum.Enum):
    """How a figure may be placed."""

    FREE = enum.auto()  # any way round
    UPRIGHT = enum.auto()  # on its feet, more or less
    FROM_BELOW = enum.auto()  # cut off by the lower border


@dataclass(frozen=True, slots=True)
class Figure:
    """Parts, from back to front."""

    parts: list[Part]
    stance: Stance
