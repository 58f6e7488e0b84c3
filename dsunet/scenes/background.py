"""The background of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsunet.scenes.fields import Colours
from dsunet.scenes.materials import Material


@dataclass(frozen=True, slots=True)
class SceneBackground:
    """A background image and its materials, the most prominent one first."""

    colours: Colours
    materials: Sequence[Material]
    sources: tuple[Path, ...] = ()
    """The image files that it was made of."""
